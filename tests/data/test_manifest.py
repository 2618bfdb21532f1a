import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.manifest import (
    ABOUT,
    mean_and_deviation,
    read_manifest,
    read_pixels,
    read_split,
    write_manifest,
)


def manifest(n=4):
    frame = pd.DataFrame(
        {
            "path": [f"train/patient0000{i}/study1/view1_frontal.jpg" for i in range(n)],
            "patient_id": [f"patient0000{i}" for i in range(n)],
            "study_id": [f"patient0000{i}/study1" for i in range(n)],
            "view": "frontal",
            "orientation": "AP",
            "sex": "Female",
            "age": range(40, 40 + n),
            "source": "train",
        },
        columns=list(ABOUT),
    )
    frame["No Finding"] = np.array([1, 0, -1, np.nan] * n, np.float32)[:n]
    frame["Edema"] = np.array([np.nan, -1, 0, 1] * n, np.float32)[:n]
    return frame


def split_of(frame, parts):
    return frame[["path", "patient_id"]].assign(split=parts)


@pytest.fixture
def path(tmp_path):
    write_manifest(manifest(), tmp_path / "manifest.csv")
    return tmp_path / "manifest.csv"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_manifest_is_read_back_as_it_was_written(path):
    read = read_manifest(path)
    expected = manifest()
    labels = ["No Finding", "Edema"]
    np.testing.assert_array_equal(read[labels], expected[labels])
    assert read[["path", "patient_id"]].equals(expected[["path", "patient_id"]].astype(str))


def test_labels_are_written_as_1_0_minus_1_and_blank(path):
    cells = [line.split(",")[-2:] for line in path.read_text().splitlines()[1:]]
    assert cells == [["1", ""], ["0", "-1"], ["-1", "0"], ["", "1"]]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",1,\n", ",7,\n", r"1 label value .*line 2, No Finding: '7'"),
        ("patient00001/study1/view1_frontal.jpg,patient00001", "x,", r"no patient_id \(lines 3\)"),
        ("train/patient00001/study1/v", "../patient00001/study1/v", r"not inside .*lines 3"),
        ("train/patient00001/study1/v", "train/patient00000/study1/v", r"given twice \(lines 3\)"),
        ("orientation", "position", "no column orientation"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_named(path, old, new, told):
    edit(path, old, new)
    with pytest.raises(DataError, match=told):
        read_manifest(path)


def test_a_table_with_a_byte_order_mark_and_crlf_is_read(path):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_manifest(path)["path"].iloc[0].startswith("train/")


def test_an_empty_or_missing_table_is_named(tmp_path):
    (tmp_path / "m.csv").write_text("")
    for name in ("m.csv", "gone.csv"):
        with pytest.raises(DataError, match=name):
            read_manifest(tmp_path / name)


def test_the_split_follows_the_manifests_order(tmp_path):
    frame = manifest()
    table = split_of(frame, ["train", "valid", "test", "expert"])
    table.iloc[::-1].to_csv(tmp_path / "split.csv", index=False)
    parts = read_split(tmp_path / "split.csv", frame)
    assert parts.tolist() == ["train", "valid", "test", "expert"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.assign(split="train, valid"), "unknown split"),
        (lambda t: t.iloc[:3], "1 of its paths are missing"),
        (lambda t: t.assign(path=t["path"] + "x"), "4 paths are not in it"),
        (lambda t: t.assign(patient_id="someone"), "4 rows name another patient"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "1 paths are given twice"),
        (lambda t: t.drop(columns="split"), "no column split"),
    ],
)
def test_what_is_wrong_with_a_split_is_named(tmp_path, change, told):
    frame = manifest()
    change(split_of(frame, "train")).to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(DataError, match=told):
        read_split(tmp_path / "split.csv", frame)


def pixel_table(images):
    rows = [
        (f"{i}", image.shape[1], image.shape[0], "L", image.sum(), (image**2).sum())
        for i, image in enumerate(images)
    ]
    columns = ["path", "width", "height", "mode", "pixel_sum", "pixel_square_sum"]
    return pd.DataFrame(rows, columns=columns)


def test_mean_and_deviation_are_those_of_all_pixels():
    images = list(np.random.default_rng(0).integers(0, 256, (5, 30, 20)).astype(np.int64))
    mean, std = mean_and_deviation(pixel_table(images))
    everything = np.stack(images) / 255
    assert mean == pytest.approx(everything.mean())
    assert std == pytest.approx(everything.std())


def test_each_image_counts_the_same_whatever_its_size():
    small, large = np.full((10, 10), 0), np.full((100, 100), 255)
    assert mean_and_deviation(pixel_table([small, large]))[0] == pytest.approx(0.5)


def test_an_image_without_pixel_sums_is_named(tmp_path):
    frame = manifest()
    table = pixel_table([np.zeros((2, 2), int)] * 3).assign(path=frame["path"][:3])
    table.to_csv(tmp_path / "pixels.csv", index=False)
    with pytest.raises(DataError, match="lacks 1 images"):
        read_pixels(tmp_path / "pixels.csv", frame)
