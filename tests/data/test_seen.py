"""Rows that a run has seen, by their pictures or their patients."""

import json

import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.config import PrepareConfig, SplitConfig
from cxrtool.core.errors import DataError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import seal_of
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from tests.conftest import Listening
from tests.support.ancestors import evaluate, of_part, people_of
from tests.support.copies import copy_folder


@pytest.fixture(scope="module")
def renamed(drawn, tmp_path_factory):
    """The first patients' pictures under other names, laid out and labelled as before."""
    folder, count = tmp_path_factory.mktemp("renamed"), 14
    table = pd.read_csv(drawn.folder / "train.csv", dtype=str, keep_default_na=False)
    table = table[table["Path"].str.contains("frontal")]
    rows = []
    for _, row in table.iterrows():
        number = int(row["Path"].split("patient")[1][:5])
        if number > count:
            break
        path = row["Path"].replace(f"patient{number:05d}", f"patient{number + 500:05d}")
        rows.append({**row, "Path": path})
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Saved again: not a byte of the file is the same.
        Image.open(drawn.folder.parent / row["Path"]).save(target, quality=80)
    pd.DataFrame(rows).to_csv(folder / "CheXpert-v1.0-small" / "train.csv", index=False)
    return folder / "CheXpert-v1.0-small"


def prepare(data, folder, **options):
    workspace = Workspace(folder)
    prepare_manifest(PrepareConfig(data=data, workers=0, cache=False, **options), workspace)
    split_manifest(SplitConfig(sizes="40,20,40"), workspace, seed=3)
    return workspace


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Other people who have the numbers of those in the tests' data."""
    folder = tmp_path_factory.mktemp("strangers")
    other = draw_dataset(folder, patients=14, seed=8, valid_patients=1)
    return prepare(other.folder, folder / "cxr")


def test_the_same_pictures_under_other_names_are_refused(trained_once, renamed, tmp_path):
    workspace = prepare(renamed, tmp_path / "other")
    pd.read_csv(workspace.split).assign(split="test").to_csv(workspace.split, index=False)
    run = RunFolder(trained_once.workspace.runs / "tiny")
    rows = of_part(workspace, "test")
    numbers = rows["patient_id"].str.removeprefix("patient").astype(int) - 500
    seen = numbers.map("patient{:05d}".format).isin(
        set.union(*people_of(trained_once.workspace, "tiny"))
    )
    assert 0 < seen.sum() < len(rows)
    told = rf"{seen.sum()} of {len(rows)} images in test are pictures that the run was .* new to it"
    with pytest.raises(DataError, match=told):
        evaluate(workspace, run.path)


def test_other_people_of_the_same_numbers_are_scored(trained_once, strangers, tmp_path):
    workspace = strangers
    people = set(of_part(workspace, "test")["patient_id"])
    assert people & people_of(trained_once.workspace, "tiny")[0]
    run = copy_folder(trained_once.workspace.runs / "tiny", tmp_path / "tiny")
    listening = Listening()
    result = evaluate(workspace, run, listening)
    assert not result.protocol.trained_on
    assert not any("trained or chosen" in text for text in listening.warnings)


def test_fingerprints_that_a_workspace_lacks_are_made(trained_once, renamed, tmp_path):
    workspace = prepare(renamed, tmp_path / "other", check_images="none")
    assert not workspace.pictures.exists()
    with pytest.raises(DataError, match="images in test are pictures"):
        evaluate(workspace, trained_once.workspace.runs / "tiny")
    assert workspace.pictures.is_file()


def test_a_run_whose_key_is_missing_says_so_and_its_pictures_still_count(trained, tmp_path):
    workspace = trained.workspace
    stale = copy_folder(workspace.folder, tmp_path / "elsewhere")
    alone = copy_folder(workspace.runs / "tiny", tmp_path / "alone" / "runs" / "tiny")
    secret = workspace.patients_key.read_text()
    Workspace(stale).patients_key.unlink()
    split = pd.read_csv(Workspace(stale).split)
    split.loc[split["split"] == "train", "split"] = "test"
    split.to_csv(Workspace(stale).split, index=False)
    with pytest.raises(DataError, match="images in test are pictures") as refused:
        evaluate(Workspace(stale), alone)
    assert "patients in test" not in str(refused.value)
    listening = Listening()
    result = evaluate(Workspace(stale), alone, listening, force=True)
    told = [text for text in listening.warnings if "key that is not here" in text]
    assert len(told) == 1
    assert "their pictures are compared" in told[0]
    assert told[0] in result.warnings
    # As the message says: once it is appended, the ids are checked.
    place = told[0].rpartition(">> ")[2]
    with open(place, "a") as file:  # noqa: PTH123
        file.write(secret)
    with pytest.raises(DataError, match="patients in test are among those"):
        evaluate(Workspace(stale), alone)


def of_before(workspace):
    """Make the run `tiny` one of version 0.1: ids alone, which count everywhere."""
    run = RunFolder(workspace.runs / "tiny")
    patients = json.loads(run.patients.read_text())
    kept = {"format": patients["format"]}
    kept |= dict(zip(("train", "valid"), map(sorted, people_of(workspace, "tiny")), strict=True))
    run.patients.write_text(json.dumps(kept))
    run.pictures.unlink()
    model = json.loads(run.model.read_text())
    del model["sha256"]["pictures.safetensors"]
    model["sha256"]["patients.json"] = sha256(run.patients)
    del model["sealed"]
    model["sealed"] = seal_of(model)
    run.model.write_text(json.dumps(model))
    return run


def test_a_run_of_before_is_known_by_its_patients_everywhere(trained, strangers):
    of_before(trained.workspace)
    evaluate(trained.workspace, "tiny")
    with pytest.raises(DataError, match="patients in test are among those"):
        evaluate(strangers, trained.workspace.runs / "tiny")
