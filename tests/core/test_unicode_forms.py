import json
import os
import shutil
import unicodedata

import pandas as pd
import pytest

from cxrtool.core.config import EvaluateConfig, PrepareConfig
from cxrtool.core.new_runs import check_new_name
from cxrtool.core.runs import RunFolder, find_run
from cxrtool.core.unicode_forms import normal, on_disk
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import named_ones, parse_policy
from cxrtool.inference.inputs import list_images
from cxrtool.workflows.prepare import prepare_manifest
from tests.support.calling import call

NFC, NFD = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


@pytest.fixture(params=["NFC", "NFD"])
def films(request, drawn, tmp_path):
    """A table that writes its names in one form beside images whose names have the other."""
    other = "NFD" if request.param == "NFC" else "NFC"
    lines = [f"path,patient_id,{unicodedata.normalize(request.param, 'Ödem')}"]
    images = sorted((drawn.folder / "train").rglob("*frontal.jpg"))[:4]
    for number, image in enumerate(images):
        name = f"Müller/{number}.jpg"
        place = tmp_path / unicodedata.normalize(other, name)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(image, place)
        lines.append(f"{unicodedata.normalize(request.param, name)},p{number},{number % 2}")
    table = tmp_path / "films.csv"
    table.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return table


def test_prepare_finds_images_under_either_form_and_names_them_as_they_are(films, tmp_path):
    workspace = Workspace(tmp_path / "cxr")
    settings = PrepareConfig(
        data=films, format="csv", label_columns=unicodedata.normalize("NFD", "Ödem"), workers=0
    )
    result = prepare_manifest(settings, workspace)
    assert (result.images, list(result.labels)) == (4, [normal("Ödem")])
    paths = pd.read_csv(workspace.manifest)["path"]
    assert all((films.parent / path).is_file() for path in paths)


def test_two_rows_that_name_one_image_in_two_forms_are_one(films, tmp_path):
    text = films.read_text("utf-8").splitlines()
    form = "NFC" if unicodedata.is_normalized("NFD", text[1]) else "NFD"
    more = unicodedata.normalize(form, text[1])
    films.write_text("\n".join([*text, more, ""]), encoding="utf-8")
    workspace = Workspace(tmp_path / "cxr")
    result = prepare_manifest(
        PrepareConfig(
            data=films, format="csv", label_columns="Ödem", workers=0, check_images="none"
        ),
        workspace,
    )
    assert (result.images, result.problems) == (4, {"duplicate path": 1})
    assert pd.read_csv(workspace.manifest)["path"].is_unique


def test_a_folder_of_many_names_is_read_once(tmp_path, monkeypatch):
    names = [f"{NFD}{number}" for number in range(20)]
    for name in names:
        (tmp_path / name).touch()
    os.utime(tmp_path, (1, 1))
    read, listed = os.listdir, []
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or read(folder))
    found = [on_disk(tmp_path / normal(name)) for name in names]
    assert found == [tmp_path / name for name in names]
    assert listed == [tmp_path]


def test_a_name_that_is_new_is_found_at_once(tmp_path):
    for number in range(20):
        assert on_disk(tmp_path / f"{NFC}{number}") == tmp_path / f"{NFC}{number}"
        (tmp_path / f"{NFD}{number}").touch()
        assert on_disk(tmp_path / f"{NFC}{number}") == tmp_path / f"{NFD}{number}"


def test_predict_finds_the_images_of_a_table_under_either_form(films):
    found = list_images([str(films)])
    assert len(found) == 4
    assert all(on_disk(films.parent / name).is_file() for name in found.names)
    assert all(file == str(on_disk(films.parent / file)) for file in found.files)


@pytest.mark.parametrize("asked", [NFC, NFD])
def test_a_glob_matches_names_in_either_form(films, asked):
    assert len(list_images([str(films.parent / asked / "*.jpg")])) == 4


def test_scores_and_truth_meet_whatever_form_their_keys_have(tmp_path):
    from cxrtool.workflows.evaluate_tables import evaluate_tables

    names = [f"Müller{number}.png" for number in range(8)]
    for file, form, cells in (
        ("truth.csv", "NFC", [0, 1] * 4),
        ("scores.csv", "NFD", [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.6, 0.4]),
    ):
        rows = [
            f"{unicodedata.normalize(form, name)},{cell}"
            for name, cell in zip(names, cells, strict=True)
        ]
        head = f"path,{unicodedata.normalize(form, 'Ödem')}"
        (tmp_path / file).write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    settings = EvaluateConfig(
        predictions=[tmp_path / "scores.csv"], truth=tmp_path / "truth.csv", bootstrap=0
    )
    [found] = evaluate_tables(settings, seed=1).results
    told = json.loads(json.dumps(found.as_json()))
    assert told["n"] == 8
    assert [one["auroc"] for one in told["labels"].values()] == [15 / 16]


def test_what_is_nowhere_stays_as_it_is(tmp_path):
    assert on_disk(tmp_path / NFD / "a") == tmp_path / NFD / "a"
    assert normal("plain") == "plain"
    assert NFC != NFD


NFC, NFD = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


def test_names_are_found_under_either_unicode_form(tmp_path):
    assert NFC != NFD
    for there, wanted in ((NFC, NFD), (NFD, NFC)):
        folder = tmp_path / there.encode().hex()
        file = folder / there / "runs" / there / "a.txt"
        file.parent.mkdir(parents=True)
        file.touch()
        assert on_disk(folder / wanted / "runs" / wanted / "a.txt") == file
        assert on_disk(folder / wanted / "new") == folder / there / "new"
        assert find_run(folder / there / "runs", wanted) == RunFolder(file.parent)
        with pytest.raises(Exception, match="exists in"):
            check_new_name(folder / there / "runs", wanted, force=False)
        assert "is missing" in call("split", "-w", folder / wanted).stderr
        assert named_ones("--labels", f"{wanted}, Edema", ["Edema", there]) == [there, "Edema"]
        assert parse_policy(f"ones,{wanted}=zeros", [there]) == {there: "zeros"}
    assert normal(NFD) == NFC
