import csv
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING, SUPPORT_DEVICES
from cxrtool.data.phantoms import dataset as dataset
from cxrtool.data.phantoms import draw_dataset
from cxrtool.data.phantoms.anatomy import draw_build
from cxrtool.data.phantoms.film import draw_exposure
from cxrtool.data.phantoms.findings import draw_radiograph
from cxrtool.data.phantoms.tables import RATES, draw_label_rows, radiologists_row

ROOT = "CheXpert-v1.0-small"
FINDINGS = [label for label in CHEXPERT_LABELS if label != NO_FINDING]


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


@pytest.fixture(scope="module")
def label_rows():
    return {
        rates: [
            row
            for patient in range(1500)
            for row in draw_label_rows(np.random.default_rng([5, patient]), 2, rates)
        ]
        for rates in RATES
    }


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


@pytest.mark.parametrize("rates", sorted(RATES))
@pytest.mark.parametrize("label", FINDINGS)
def test_rates_are_those_that_were_asked_for(label_rows, rates, label):
    values = np.array([row[label] for row in label_rows[rates]])
    rate = RATES[rates][label]
    rest = 1 - rate.positive - rate.uncertain
    for value, expected in (
        (1, rate.positive),
        (-1, rate.uncertain),
        (0, rest * rate.negative_among_rest),
    ):
        # Two studies of one patient are alike, so 3000 rows count for fewer.
        slack = 5 * math.sqrt(expected * (1 - expected) / 1800) + 1e-3
        assert np.mean(values == value) == pytest.approx(expected, abs=slack)


def test_chexperts_rates_are_its_tables():
    pneumothorax = RATES["chexpert"]["Pneumothorax"]
    negatives = pneumothorax.negative_among_rest * (1 - 0.0923 - 0.0142)
    assert pneumothorax.positive == pytest.approx(0.0923)
    assert negatives * 223_414 == pytest.approx(56_341)


def test_the_demo_has_enough_of_every_finding():
    present = {label: rate.positive + rate.uncertain for label, rate in RATES["demo"].items()}
    assert min(present.values()) >= 0.10
    assert max(present.values()) <= 0.30


@pytest.mark.parametrize("rates", sorted(RATES))
def test_no_finding_says_that_nothing_but_devices_was_seen(label_rows, rates):
    for row in label_rows[rates]:
        seen = any(row[f] in (1, -1) for f in FINDINGS if f != SUPPORT_DEVICES)
        assert math.isnan(row[NO_FINDING]) if seen else row[NO_FINDING] == 1


def test_radiologists_leave_nothing_open():
    row = dict.fromkeys(CHEXPERT_LABELS, math.nan) | {"Edema": -1.0, "Fracture": 1.0}
    judged = radiologists_row(row)
    assert judged == {f: float(f in {"Edema", "Fracture"}) for f in CHEXPERT_LABELS}


def test_findings_tend_to_stay_with_their_patient():
    pairs = [draw_label_rows(np.random.default_rng(k), 2, "demo") for k in range(1500)]
    first, second = (np.array([p[i]["Fracture"] in (1, -1) for p in pairs]) for i in (0, 1))
    assert second[first].mean() > 2 * second[~first].mean()


def draw_pair(label, strength, lateral, number):
    """The same image with a finding and without it, and the finding's boxes as a mask."""
    rng = np.random.default_rng([3, number])
    build = draw_build(rng, female=number % 2 == 0, age=60)
    exposure = draw_exposure(rng, lateral=lateral, portable=number % 3 > 0)
    plain, none = draw_radiograph(build, exposure, {}, (3, number))
    shown, boxes = draw_radiograph(build, exposure, {label: strength}, (3, number))
    assert not none
    assert {name for name, _ in boxes} == {label}
    inside = np.zeros((plain.height, plain.width), bool)
    for _, (x0, y0, x1, y1) in boxes:
        inside[max(0, int(y0) - 8) : int(y1) + 8, max(0, int(x0) - 8) : int(x1) + 8] = True
    change = np.abs(np.asarray(shown, float) - np.asarray(plain, float))
    return change, inside, boxes


@pytest.mark.parametrize("lateral", [False, True])
@pytest.mark.parametrize("label", FINDINGS)
def test_a_finding_is_seen_in_its_box_and_hardly_outside(label, lateral):
    for number in range(3):
        change, inside, _ = draw_pair(label, 1.0, lateral, number)
        assert (change[inside] > 12).sum() > 40
        assert (change[~inside] > 12).mean() < 0.002
        assert change[~inside].sum() < 0.15 * change.sum()


@pytest.mark.parametrize("label", FINDINGS)
def test_uncertain_findings_are_fainter_but_there(label):
    clear, faint = (
        np.mean([draw_pair(label, s, False, n)[0].sum() for n in range(4)]) for s in (1.0, 0.55)
    )
    assert 0.15 * clear < faint < 0.9 * clear


@pytest.mark.parametrize("label", ["Lung Lesion", "Pneumothorax", "Fracture", "Pleural Effusion"])
def test_small_findings_are_small_and_wander(label):
    centres = []
    for number in range(8):
        change, _, boxes = draw_pair(label, 1.0, False, number)
        for _, (x0, y0, x1, y1) in boxes:
            assert (x1 - x0) * (y1 - y0) < 0.15 * change.size
        x0, _, x1, _ = boxes[0][1]
        centres.append((x0 + x1) / 2 / change.shape[1])
    assert min(centres) < 0.45 < 0.55 < max(centres)


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
