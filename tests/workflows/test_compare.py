"""Runs and tables of predictions side by side."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import CompareConfig, EvaluateConfig, SplitConfig
from cxrtool.core.errors import UsageError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import write_json
from cxrtool.core.runs import RunFolder
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.workflows.compare import compare_runs
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.split import split_manifest
from tests.conftest import Listening, call_chexperts
from tests.support.calling import call
from tests.support.copies import copy_folder
from tests.support.evaluating_tables import evaluate
from tests.support.sealing import change_model


def test_tables_are_compared_with_nothing_else_at_hand(tables):
    files = [str(tables / "a.csv"), str(tables / "b.csv")]
    config = CompareConfig(truth=tables / "groundtruth.csv", bootstrap=100, output=tables / "out")
    found = compare_runs(config, files, None, seed=1)
    assert list(found.tables) == ["aurocs", "differences", "delong", "other_references"]
    for name in (
        "aurocs.tex",
        "aurocs.md",
        "differences.csv",
        "delong.csv",
        "compare.json",
        "aurocs.png",
    ):
        assert (tables / "out" / name).stat().st_size > 100
    with pytest.raises(UsageError, match="named twice"):
        compare_runs(config, files[:1] * 2, None, seed=1)
    with pytest.raises(UsageError, match="cannot be mixed"):
        compare_runs(config, [files[0], "tiny"], None, seed=1)


def test_a_run_is_compared_as_it_is_evaluated(trained):
    config = CompareConfig(bootstrap=100, device="cpu", precision="fp32", workers=0)
    found = compare_runs(config, ["tiny"], trained.workspace, seed=1)
    alone = evaluate_run(
        EvaluateConfig(run="tiny", bootstrap=100, report=False), trained.workspace, seed=1
    )
    for label, figures in found.results[0].labels.items():
        assert figures.auroc.value == alone.labels[label].auroc.value
        assert figures.auroc.interval == alone.labels[label].auroc.interval
    assert found.differences == []


def write_fold(trained, name, fold):
    """A copy of the finished run that was trained without the fold, with scores of it."""
    run = RunFolder(trained.workspace.runs / name)
    copy_folder(trained.workspace.runs / "tiny", run.path)
    manifest = read_manifest(trained.workspace.manifest)
    parts = read_split(trained.workspace.split, manifest, fold)
    patients = {p: sorted(set(manifest["patient_id"][parts == p])) for p in ("train", "valid")}
    write_json(run.patients, patients)
    # Its pictures are the ones of the run that was copied: known by ids, as runs without them are.
    run.pictures.unlink()
    guarded = dict.fromkeys(path.name for path in (run.weights, run.labels, run.patients))
    change_model(run, fold=fold, split_sha256=sha256(trained.workspace.split), sha256=guarded)
    run.predictions("valid").unlink()


class Notes(Listening):
    """A reporter that keeps the notes too."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_folds_are_told_that_their_images_differ_and_not_to_change_the_policy(trained):
    split_manifest(SplitConfig(folds=2, force=True), trained.workspace, seed=1)
    for fold in (0, 1):
        write_fold(trained, f"f{fold}", fold)
    config = CompareConfig(split="valid", bootstrap=0, device="cpu", precision="fp32", workers=0)
    listening = Notes()
    found = compare_runs(config, ["f0", "f1"], trained.workspace, seed=1, reporter=listening)
    assert found.differences == []
    told = [text for text in listening.notes if "no difference is taken" in text]
    assert len(told) == 1
    assert "1 pair of 1: the images differ" in told[0]
    assert "--split test" in told[0]
    assert not any("--uncertainty" in text for text in listening.notes)


def test_one_network_under_two_policies_is_told_of_the_policy(trained):
    copy_folder(trained.workspace.runs / "tiny", trained.workspace.runs / "zeros")
    run = RunFolder(trained.workspace.runs / "zeros")
    labels = json.loads(run.labels.read_text())
    write_json(run.labels, {**labels, "uncertainty": "zeros"})
    change_model(run)
    told = {}
    for policy in (None, "ones"):
        listening = Notes()
        config = CompareConfig(
            uncertainty=policy, bootstrap=0, device="cpu", precision="fp32", workers=0
        )
        compare_runs(config, ["tiny", "zeros"], trained.workspace, seed=1, reporter=listening)
        told[policy] = [text for text in listening.notes if "no difference is taken" in text]
    assert len(told[None]) == 1
    assert "--uncertainty POLICY" in told[None][0]
    assert told["ones"] == []


@pytest.mark.parametrize("kind", ["uncertainty", "blank"])
def test_policies_that_the_data_never_meet_leave_the_truth_the_same(trained, kind):
    """With -1, or with blanks, in one image of test, they do not."""
    workspace = trained.workspace
    other = {"uncertainty": "zeros", "blank": "ignore"}[kind]
    copy_folder(workspace.runs / "tiny", workspace.runs / "other")
    run = RunFolder(workspace.runs / "other")
    write_json(run.labels, {**json.loads(run.labels.read_text()), kind: other})
    change_model(run)
    manifest = pd.read_csv(workspace.manifest)
    labels = list(manifest.columns[manifest.columns.get_loc("source") + 1 :])
    decided = manifest[labels].replace(-1, 1).fillna(0)
    told, found = [], []
    for raw in (0, -1 if kind == "uncertainty" else np.nan):
        manifest[labels] = decided
        test = pd.read_csv(workspace.split).set_index("path")["split"].eq("test")
        row = manifest.index[manifest["path"].map(test)][0]
        manifest.loc[row, labels[3]] = raw
        manifest.to_csv(workspace.manifest, index=False)
        listening = Notes()
        config = CompareConfig(bootstrap=0, device="cpu", precision="fp32", workers=0)
        done = compare_runs(config, ["tiny", "other"], workspace, seed=1, reporter=listening)
        told.append([text for text in listening.notes if "pair" in text])
        found.append(done.differences)
    assert len(found[0]) == 1
    assert found[0][0].mean.auroc.value == 0
    assert "the truth is the same, and the difference is taken" in told[0][0]
    assert (
        f"ones or {other}" in told[0][0] if kind == "uncertainty" else f"or {other}" in told[0][0]
    )
    assert found[1] == []
    assert "no difference is taken" in told[1][0]


def test_ones_own_come_first_and_published_results_are_folded(trained):
    """All are in tables for papers."""
    call_chexperts(trained.workspace)
    copy_folder(trained.workspace.runs / "tiny", trained.workspace.runs / "other")
    words = ["compare", "tiny", "other", "-w", str(trained.workspace.folder), "--bootstrap", "0"]
    plain, all_of_them, latex = (
        call(*words, *more) for more in ([], ["--references"], ["--table", "latex"])
    )
    count = int(re.search(r"^(\d+) published results: --references shows", plain.stdout, re.M)[1])
    assert count > 3
    captions = ("AUROC beside published scores", "Published AUROC")
    assert not any(caption in plain.stdout for caption in captions)
    shown = all_of_them.stdout
    assert "published results:" not in shown
    places = [shown.index(caption) for caption in captions if caption in shown]
    assert places
    assert shown.index("Differences in AUROC") < min(places)
    assert latex.stdout.count(r"\begin{table") >= 3


def test_compare_warns_of_few_positives_as_evaluate_does(trained, tables):
    listening = Listening()
    config = CompareConfig(bootstrap=0, device="cpu", precision="fp32", workers=0)
    compare_runs(config, ["tiny"], trained.workspace, seed=1, reporter=listening)
    alone = Listening()
    evaluate(trained, reporter=alone)
    few = [text for text in alone.warnings if "patients with a positive" in text]
    assert few
    assert set(few) <= set(listening.warnings)
    truth = pd.read_csv(tables / "groundtruth.csv")
    truth["Edema"] = (np.arange(len(truth)) < 3).astype(int)
    truth.to_csv(tables / "groundtruth.csv", index=False)
    listening = Listening()
    files = [str(tables / "a.csv"), str(tables / "b.csv")]
    config = CompareConfig(truth=tables / "groundtruth.csv", bootstrap=0)
    compare_runs(config, files, None, seed=1, reporter=listening)
    told = [text for text in listening.warnings if "patients with a positive" in text]
    assert len(told) == 1  # of both tables, once
    assert "Edema" in told[0]
