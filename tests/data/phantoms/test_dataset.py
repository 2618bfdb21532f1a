"""The drawn data set has CheXpert's layout."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.data.phantoms import dataset as dataset
from cxrtool.data.phantoms import draw_dataset
from tests.support.phantoms import FINDINGS

ROOT = "CheXpert-v1.0-small"


def read_table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def all_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    calls = []
    folder = tmp_path_factory.mktemp("drawn")
    result = draw_dataset(folder, patients=14, seed=7, valid_patients=6, on_image=calls.append)
    return result, calls


def test_the_layout_is_that_of_chexpert_small(drawn):
    result, calls = drawn
    assert result.folder.name == ROOT
    train, valid = (read_table(result.folder / f"{s}.csv") for s in ("train", "valid"))
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
    assert list(train[0]) == list(valid[0]) == header
    assert result.images == len(train) + len(valid) == sum(calls)
    assert result.frontal == sum(r["Frontal/Lateral"] == "Frontal" for r in train + valid)
    paths = [row["Path"] for row in train + valid]
    assert f"{ROOT}/train/patient00001/study1/view1_frontal.jpg" in paths
    assert f"{ROOT}/valid/patient64541/study1/view1_frontal.jpg" in paths
    on_disk = {path.relative_to(result.folder.parent) for path in result.folder.rglob("*.jpg")}
    assert {Path(path) for path in paths} == on_disk
    assert len({path.split("/")[2] for path in paths}) == 20
    assert "not patients" in (result.folder / "README.txt").read_text(encoding="utf-8")
    assert [path.name for path in result.folder.parent.iterdir()] == [ROOT]


def test_rows_describe_their_images(drawn):
    result, _ = drawn
    for split in ("train", "valid"):
        for row in read_table(result.folder / f"{split}.csv"):
            assert row["Sex"] in {"Male", "Female"}
            assert 18 <= int(row["Age"]) <= 90
            view = row["Path"].rsplit("_", 1)[1].removesuffix(".jpg")
            assert row["Frontal/Lateral"].lower() == view
            assert row["AP/PA"] in ({""} if view == "lateral" else {"AP", "PA"})
            with Image.open(result.folder.parent / row["Path"]) as image:
                assert image.mode == "L"
                assert min(image.size) == 320
                assert 360 <= max(image.size) <= 400


def test_values_are_those_of_each_table(drawn):
    result, _ = drawn
    train, valid = (read_table(result.folder / f"{s}.csv") for s in ("train", "valid"))
    assert {row[label] for row in train for label in FINDINGS} <= {"1.0", "0.0", "-1.0", ""}
    assert {row[NO_FINDING] for row in train} <= {"1.0", ""}
    assert {row[label] for row in valid for label in CHEXPERT_LABELS} == {"1.0", "0.0"}


def test_boxes_lie_inside_their_images_and_belong_to_a_finding(drawn):
    result, _ = drawn
    rows = {
        row["Path"]: row
        for s in ("train", "valid")
        for row in read_table(result.folder / f"{s}.csv")
    }
    boxes = read_table(result.folder / "boxes.csv")
    assert list(boxes[0]) == ["Path", "Label", "x0", "y0", "x1", "y1"]
    for box in boxes:
        with Image.open(result.folder.parent / box["Path"]) as image:
            width, height = image.size
        assert 0 <= int(box["x0"]) < int(box["x1"]) <= width
        assert 0 <= int(box["y0"]) < int(box["y1"]) <= height
        assert rows[box["Path"]][box["Label"]] in {"1.0", "-1.0"}
    shown = {(box["Path"], box["Label"]) for box in boxes}
    said = {
        (p, label) for p, r in rows.items() for label in FINDINGS if r[label] in {"1.0", "-1.0"}
    }
    assert shown == said


def test_the_same_seed_draws_the_same_whatever_the_workers(drawn, tmp_path):
    result, _ = drawn
    calls = []
    again = draw_dataset(
        tmp_path, patients=14, seed=7, valid_patients=6, workers=2, on_image=calls.append
    )
    assert all_files(again.folder) == all_files(result.folder)
    assert sum(calls) == result.images


def test_a_patient_does_not_depend_on_how_many_there_are(drawn, tmp_path):
    result, _ = drawn
    few = draw_dataset(tmp_path, patients=3, seed=7, valid_patients=1)
    everything, some = all_files(result.folder), all_files(few.folder)
    images = {name: data for name, data in some.items() if name.endswith(".jpg")}
    assert images.items() <= everything.items()
    lines = read_table(few.folder / "train.csv")
    assert lines == read_table(result.folder / "train.csv")[: len(lines)]


def test_another_seed_draws_others(drawn, tmp_path):
    result, _ = drawn
    other = draw_dataset(tmp_path, patients=2, seed=8, valid_patients=0)
    name = "train/patient00001/study1/view1_frontal.jpg"
    assert (other.folder / name).read_bytes() != (result.folder / name).read_bytes()


def test_an_existing_data_set_is_refused_and_kept(drawn):
    result, _ = drawn
    before = all_files(result.folder)
    with pytest.raises(DataError, match="exists already"):
        draw_dataset(result.folder.parent, patients=1)
    assert all_files(result.folder) == before


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_half_written_stays(tmp_path, workers, error):
    def give_up(count):
        raise error

    with pytest.raises(error):
        draw_dataset(tmp_path, patients=3, valid_patients=0, workers=workers, on_image=give_up)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_drawing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(dataset, "_write_tables", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_dataset(tmp_path, patients=1, valid_patients=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [{"patients": 0}, {"rates": "none"}, {"workers": -1}, {"valid_patients": -1}, {"seed": -1}],
)
def test_bad_arguments_are_named(tmp_path, bad):
    with pytest.raises(UsageError):
        draw_dataset(tmp_path / "new", **{"patients": 1, **bad})
    assert not (tmp_path / "new").exists()
