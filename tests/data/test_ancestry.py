"""Whom and what a run has seen: itself, or through the runs it began from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cxrtool.core.config import CompareConfig, SplitConfig
from cxrtool.core.errors import DataError, RunError
from cxrtool.core.patient_keys import PatientKey, read_keys
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.ancestry import Ancestry, Group, find_ancestry, patients_facts, read_seen
from cxrtool.data.manifest import read_manifest
from cxrtool.workflows.compare import compare_runs
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening
from tests.support.ancestors import evaluate, of_part, people_of
from tests.support.copies import copy_folder, own

SHORT = replace(TINY, epochs=1, limit=40)


@pytest.fixture(scope="module")
def generations(trained_once, tmp_path_factory):
    """`tiny`, and `heir`, which began from it on another split."""
    folder = tmp_path_factory.mktemp("generations") / "cxr"
    copy_folder(trained_once.workspace.folder, folder)
    workspace, listening = Workspace(folder), Listening()
    split_manifest(SplitConfig(sizes="60,20,20", force=True), workspace, seed=2)
    train_model(replace(SHORT, weights="tiny", name="heir"), workspace, seed=1, reporter=listening)
    return SimpleNamespace(
        workspace=workspace,
        warnings=listening.warnings,
        tiny=RunFolder(workspace.runs / "tiny"),
        heir=RunFolder(workspace.runs / "heir"),
    )


def test_train_warns_where_what_it_begins_with_has_seen_its_valid(generations):
    tiny, heir = read_card(generations.tiny), read_card(generations.heir)
    both = heir.valid_patients & tiny.train_patients
    assert len(both) > 0
    told = [text for text in generations.warnings if "tiny" in text]
    assert told[0].startswith(f"{len(both)} of {len(heir.valid_patients)} patients in valid")
    assert "images in valid are pictures" in told[1]


def test_an_ancestors_patients_are_refused_as_the_runs_own(generations):
    workspace = generations.workspace
    tiny, (heir, _) = people_of(workspace, "tiny"), people_of(workspace, "heir")
    test = set(of_part(workspace, "test")["patient_id"])
    inherited = test & set.union(*tiny) - heir
    told = rf"{len(inherited)} of {len(test)} patients in test .* the runs it began from \(tiny\)"
    with pytest.raises(DataError, match=told):
        evaluate(workspace, "heir")
    with pytest.raises(DataError, match="the runs it began from"):
        evaluate(workspace, "heir", split="valid")
    with pytest.raises(DataError, match="the runs it began from"):
        compare_runs(CompareConfig(bootstrap=0), ["heir"], workspace, seed=1)
    listening = Listening()
    result = evaluate(workspace, "heir", listening, force=True)
    assert (result.protocol.name, result.protocol.trained_on) == ("other", True)
    assert any("the runs it began from (tiny)" in text for text in listening.warnings)


def test_ancestors_count_over_generations_and_when_they_are_gone(generations, tmp_path):
    folder = copy_folder(generations.workspace.folder, tmp_path / "cxr")
    workspace = Workspace(folder)
    card = read_card(generations.tiny)
    shutil.rmtree(workspace.runs / "tiny")
    found = find_ancestry("heir", workspace.runs)
    assert [one.name for one in found.ancestors] == ["heir", "tiny"]
    assert found.ancestors[1].weights_sha256 == card.weights_sha256
    everybody = [group.train | group.valid for group in found.groups]
    assert card.train_patients | card.valid_patients <= frozenset[str]().union(*everybody)
    with pytest.raises(DataError, match=r"the runs it began from \(tiny\)"):
        evaluate(workspace, "heir")


@pytest.mark.parametrize("place", ["in the run", "a copy", "unknown"])
def test_a_file_of_weights_is_known_by_its_content(generations, tmp_path, place):
    file = generations.tiny.weights
    if place != "in the run":
        file = Path(shutil.copy(file, tmp_path / "mine.safetensors"))
    if place == "unknown":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(bytes(content))
    found = find_ancestry(str(file), generations.workspace.runs)
    assert [one.name for one in found.ancestors] == ([] if place == "unknown" else ["tiny"])


def test_the_ancestor_is_the_run_where_a_file_has_its_name(generations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_bytes(b"a file that no run is of")
    found = find_ancestry("tiny", generations.workspace.runs)
    assert [one.name for one in found.ancestors] == ["tiny"]
    assert find_ancestry("./tiny", generations.workspace.runs).ancestors == ()


def test_a_file_of_a_run_that_has_not_ended_has_seen_its_patients(trained, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    run.model.unlink()
    weights = run.best(7)
    shutil.copy(run.weights, weights)
    for file in (weights, shutil.copy(weights, tmp_path / "copy.safetensors")):
        found = find_ancestry(str(file), trained.workspace.runs)
        assert [(one.name, one.weights_sha256) for one in found.ancestors] == [("tiny", None)]
        assert len(found.groups[0].train) > 0


def test_what_a_run_has_seen_is_bound_to_it(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    content = bytearray(run.pictures.read_bytes())
    content[-1] ^= 1
    own(run.pictures).write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"pictures\.safetensors is not the file"):
        read_card(run)
    run.pictures.unlink()
    with pytest.raises(RunError, match=r"pictures\.safetensors missing"):
        read_card(run)


def test_a_run_keeps_each_picture_once_and_how_it_was_seen(generations):
    tiny, heir = read_seen(generations.tiny), read_seen(generations.heir)
    rows = read_manifest(generations.workspace.manifest)["patient_id"]
    people = set.union(*people_of(generations.workspace, "tiny"))
    assert len(tiny.how) == rows.isin(people).sum()
    assert set(np.unique(tiny.how)) == {1, 2}
    assert tiny.pictures.among(heir.pictures).all()
    # By itself and by the runs it began from: in train (1, 4), in valid (2, 8), in all ways.
    assert {4, 5, 6, 8, 9} <= set(np.unique(heir.how))


def test_what_began_on_the_same_split_is_scored_as_any_other_run(generations, tmp_path):
    """The ancestor chose its epoch on the same valid, and was trained on none of it."""
    folder = copy_folder(generations.workspace.folder, tmp_path / "cxr")
    workspace = Workspace(folder)
    listening = Listening()
    train_model(replace(SHORT, weights="heir", name="child"), workspace, seed=1, reporter=listening)
    card = read_card(RunFolder(workspace.runs / "child"))
    assert [one.name for one in card.ancestors] == ["heir", "tiny"]
    # What tiny has seen counts, and heir's own valid is child's own.
    tiny = read_card(generations.tiny)
    seen = len(card.valid_patients & tiny.train_patients)
    told = next(text for text in listening.warnings if "heir" in text)
    assert told.startswith(f"{seen} of {len(card.valid_patients)} patients")


def test_an_ancestor_of_another_workspace_lends_its_key(trained_once, drawn, tmp_path):
    """Its patients are known when it is gone, and its workspace with it."""
    there = Workspace(copy_folder(trained_once.workspace.folder, tmp_path / "there"))
    here = Workspace(copy_folder(trained_once.workspace.folder, tmp_path / "here"))
    shutil.rmtree(here.runs)
    here.patients_key.unlink()
    split_manifest(SplitConfig(sizes="60,20,20", force=True), here, seed=2)
    tiny, listening = set.union(*people_of(there, "tiny")), Listening()
    config = replace(SHORT, weights=str(there.runs / "tiny"), name="heir")
    train_model(config, here, seed=1, reporter=listening)
    assert any("patients in valid are among those" in text for text in listening.warnings)
    theirs, ours = read_keys(there.patients_key), read_keys(here.patients_key)
    assert ours[1:] == theirs != ours[:1]
    inherited = json.loads((here.runs / "heir" / "patients.json").read_text())["inherited"]
    assert [one["key"] for one in inherited] == [theirs[0].fingerprint]
    shutil.rmtree(there.folder)
    seen = set(of_part(here, "test")["patient_id"]) & tiny - people_of(here, "heir")[0]
    with pytest.raises(DataError, match=rf"{len(seen)} of .* patients in test .* began from"):
        evaluate(here, "heir")


def test_plain_ids_of_an_older_ancestor_are_hashed_and_those_of_another_key_stay():
    older, other = PatientKey(b"o" * 32), PatientKey(b"x" * 32)
    own_hashes, foreign = PatientKey(b"k" * 32), frozenset(other.hashed(["7"]))
    groups = (
        Group(registers=None, train=frozenset({"patient00007"})),
        Group(registers=("nih",), key=other.fingerprint, train=foreign),
    )
    ancestry = Ancestry(groups=groups)
    facts = patients_facts(["patient00001"], ["patient00002"], ["nih"], ancestry, own_hashes)
    assert "patient0" not in json.dumps(facts)
    assert facts["train"] == own_hashes.hashed(["patient00001"]) != older.hashed(["patient00001"])
    first, second = facts["inherited"]
    assert (first["key"], first["train"]) == (facts["key"], own_hashes.hashed(["patient00007"]))
    assert (second["key"], second["train"]) == (other.fingerprint, sorted(foreign))


def test_patients_of_another_register_are_other_people():
    seven, eight = frozenset({"7"}), frozenset({"8"})
    here = Group(registers=("nih", "tables-1"), train=seven, valid=eight)
    assert here.known_in(["folder-2", "tables-1"], chosen=True) == seven | eight
    assert here.known_in(["nih"], chosen=False) == seven
    assert here.known_in(["chexpert"], chosen=True) == frozenset()
    assert Group(registers=None, train=seven).known_in(["chexpert"], chosen=True) == seven
