"""Shares of readers all the way: from a table of readers to a loss, thresholds and scores."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import DataError
from cxrtool.core.runs import RunFolder
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.evaluation.metrics import auroc_per_label
from cxrtool.training.losses import MaskedCrossEntropy
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.evaluate_tables import evaluate_tables
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Hearing
from tests.support.calling import call
from tests.support.readers import LABELS, prepare_readers, reader_table

NAME = "soft"


@pytest.fixture(scope="module")
def seen():
    """What the loss was given, batch by batch."""
    return []


@pytest.fixture(scope="module")
def heard():
    return Hearing()


@pytest.fixture(scope="module")
def soft(drawn, tmp_path_factory, seen, heard):
    """A workspace of shares with a finished run."""
    workspace, _ = prepare_readers(drawn, tmp_path_factory.mktemp("soft"))
    config = replace(TINY, name=NAME, epochs=1)
    plain = MaskedCrossEntropy.forward

    def listen(self, logits, targets):
        seen.append(targets.detach().cpu().numpy())
        return plain(self, logits, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskedCrossEntropy, "forward", listen)
        train_model(config, workspace, seed=1, reporter=heard)
    return workspace


def rows_of(workspace, part):
    manifest = read_manifest(workspace.manifest)
    return manifest[read_split(workspace.split, manifest) == part]


def shares_of(workspace, part):
    return rows_of(workspace, part)[list(LABELS)].to_numpy(dtype=float)


def test_the_manifest_holds_the_share_of_each_images_readers(soft, drawn):
    counted = reader_table(drawn.folder).groupby("image")[list(LABELS)].mean()
    manifest = read_manifest(soft.manifest).set_index("path")[list(LABELS)]
    np.testing.assert_allclose(manifest, counted.loc[manifest.index].round(3), atol=1e-6)
    assert set(np.unique(manifest)) == {0, 0.25, 0.5, 0.75, 1}


def test_the_loss_sees_the_shares(soft, seen, heard):
    known = {tuple(row) for row in np.float32(shares_of(soft, "train"))}
    trained = np.concatenate(seen[: -(-len(shares_of(soft, "train")) // TINY.batch_size) - 1])
    assert {tuple(row) for row in trained} <= known
    assert np.isin(trained, (0.25, 0.75)).mean() > 0.1
    shares = shares_of(soft, "train")
    between = ((shares > 0) & (shares < 1)).sum()
    told = f"targets are shares of readers: {between:,} of {shares.size:,} lie between 0 and 1; "
    assert any(note.startswith(told) for note in heard.notes), heard.notes


def test_valid_has_the_loss_of_shares_and_the_auroc_of_majorities(soft):
    run = RunFolder(soft.runs / NAME)
    history = pd.read_csv(run.history).iloc[-1]
    logits = read_predictions(run.predictions("valid"), LABELS).logits
    logits = logits.loc[rows_of(soft, "valid")["path"]].to_numpy()
    shares = shares_of(soft, "valid")
    loss = (np.logaddexp(0, logits) - shares * logits).mean()
    assert history["valid_loss"] == pytest.approx(loss, abs=1e-5)
    hard = (np.logaddexp(0, logits) - (shares > 0.5) * logits).mean()
    assert history["valid_loss"] != pytest.approx(hard, abs=1e-3)
    aurocs = auroc_per_label(shares > 0.5, logits, shares != 0.5)
    np.testing.assert_allclose(history[list(LABELS)].to_numpy(dtype=float), aurocs, atol=1e-6)
    others = auroc_per_label(shares >= 0.5, logits, np.ones(shares.shape, bool))
    assert not np.allclose(aurocs, others)


def test_a_run_counts_what_most_readers_say(soft):
    counts = json.loads(RunFolder(soft.runs / NAME).labels.read_text())["train"]
    shares = shares_of(soft, "train")
    for at, label in enumerate(LABELS):
        assert counts[label]["positives"] == (shares[:, at] > 0.5).sum()
        assert counts[label]["n"] == (shares[:, at] != 0.5).sum()


def test_parts_are_balanced_by_the_majority(soft):
    positive = read_manifest(soft.manifest)[list(LABELS)].to_numpy() > 0.5
    for part in ("train", "valid", "test"):
        found = (shares_of(soft, part) > 0.5).mean(axis=0)
        np.testing.assert_allclose(found, positive.mean(axis=0), atol=0.1)


@pytest.fixture
def own(soft, tmp_path):
    """A workspace of the test's own with the run."""
    return type(soft)(shutil.copytree(soft.folder, tmp_path / "cxr"))


def test_evaluate_scores_the_majority_and_says_so(own):
    result = evaluate_run(EvaluateConfig(run=NAME, device="cpu", workers=0), own, seed=1)
    shares = shares_of(own, "test")
    scores = read_predictions(RunFolder(own.runs / NAME).predictions("test"), LABELS).logits
    scores = scores.loc[rows_of(own, "test")["path"]].to_numpy()
    aurocs = auroc_per_label(shares > 0.5, scores, shares != 0.5)
    for at, label in enumerate(LABELS):
        found = result.labels[label]
        assert found.auroc.value == pytest.approx(aurocs[at])
        assert found.n == (shares[:, at] != 0.5).sum()
        assert found.positives == (shares[:, at] > 0.5).sum()
    halves = int((shares == 0.5).sum())
    assert result.divided == halves > 0
    assert result.protocol.readers == "soft"
    run = RunFolder(own.runs / NAME)
    written = json.loads(run.metrics("test").read_text())
    assert (written["divided"], written["protocol"]["readers"]) == (halves, "soft")
    page = " ".join(run.report("test").read_text().split())
    assert "several readers labelled an image: the majority" in page
    assert f"Left out are {halves} label values" in page
    done = call("evaluate", NAME, "-w", own.folder, "--no-report", "--bootstrap", 0)
    assert done.exit_code == 0, done.stderr
    assert "several readers: the majority" in done.stdout
    assert f"left out: {halves} label values" in done.stdout


def test_the_manifest_is_a_truth_that_predictions_are_scored_against(own, tmp_path):
    result = evaluate_run(EvaluateConfig(run=NAME, device="cpu", workers=0), own, seed=1)
    table = RunFolder(own.runs / NAME).predictions("test")
    config = EvaluateConfig(predictions=[table], truth=own.manifest)
    found = evaluate_tables(config, seed=1).results[0]
    for label in LABELS:
        assert found.labels[label].auroc.value == result.labels[label].auroc.value
        assert found.labels[label].n == result.labels[label].n
    assert (found.divided, found.protocol.readers) == (result.divided, "soft")
    alone = shutil.copy(own.manifest, tmp_path / "manifest.csv")
    with pytest.raises(DataError, match=r"label values other than 1, 0, -1 or blank"):
        evaluate_tables(EvaluateConfig(predictions=[table], truth=alone), seed=1)


def test_by_study_the_greatest_share_counts(own):
    config = EvaluateConfig(run=NAME, device="cpu", workers=0, unit="study")
    result = evaluate_run(config, own, seed=1)
    rows = rows_of(own, "test")
    shares = rows[list(LABELS)].where(rows[list(LABELS)] != 0.5)
    of_study = shares.groupby(rows["study_id"]).max()
    for label in LABELS:
        assert result.labels[label].positives == (of_study[label] > 0.5).sum()
        assert result.labels[label].n == of_study[label].notna().sum()
