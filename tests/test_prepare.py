import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.config import PrepareConfig
from cxrtool.errors import DataError
from cxrtool.labels import CHEXPERT_LABELS
from cxrtool.manifest import mean_and_deviation, read_manifest, read_pixels
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workspace import Workspace

LABELS = list(CHEXPERT_LABELS)


@pytest.fixture
def data(drawn, tmp_path):
    """A data set of the test's own, to be damaged."""
    return shutil.copytree(drawn.folder, tmp_path / "CheXpert-v1.0-small")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "cxr")


def run(data, workspace, **options):
    return prepare_manifest(PrepareConfig(data=data, workers=0, **options), workspace)


def tables(data):
    parts = [pd.read_csv(data / f"{name}.csv") for name in ("train", "valid")]
    return pd.concat(parts, ignore_index=True)


def edit(path, change):
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(frame).to_csv(path, index=False)


def test_the_manifest_holds_the_frontal_rows_with_their_raw_labels(data, workspace):
    run(data, workspace)
    manifest = read_manifest(workspace.manifest)
    table = tables(data)
    frontal = table[table["Frontal/Lateral"] == "Frontal"].reset_index(drop=True)
    np.testing.assert_array_equal(manifest[LABELS], frontal[LABELS].to_numpy(np.float32))
    assert ("CheXpert-v1.0-small/" + manifest["path"]).tolist() == frontal["Path"].tolist()
    assert (manifest["study_id"].str.split("/").str[0] == manifest["patient_id"]).all()
    assert manifest["source"].tolist() == frontal["Path"].str.split("/").str[1].tolist()
    assert set(manifest["view"]) == {"frontal"}


def test_counts_are_those_of_the_tables(data, workspace):
    result = run(data, workspace).as_json()
    table = tables(data)
    assert result["rows"] == len(table)
    assert result["view"] == table["Frontal/Lateral"].str.lower().value_counts().to_dict()
    assert result["sex"] == table["Sex"].value_counts().to_dict()
    assert result["orientation"] == table["AP/PA"].value_counts().to_dict()
    frontal = table[table["Frontal/Lateral"] == "Frontal"]
    assert result["images"] == len(frontal)
    for label in LABELS:
        counts = result["labels"][label]
        assert counts["positive"] == (frontal[label] == 1).sum()
        assert counts["negative"] == (frontal[label] == 0).sum()
        assert counts["uncertain"] == (frontal[label] == -1).sum()
        assert counts["blank"] == frontal[label].isna().sum()
    assert result["problems"] == {}
    assert json.loads(workspace.data_info.read_text())["format"] == 1


def test_lateral_views_on_request(data, workspace):
    assert (
        run(data, workspace, views="lateral").images
        == (tables(data)["Frontal/Lateral"] == "Lateral").sum()
    )


def test_mean_and_deviation_are_those_of_the_pixels(data, workspace):
    result = run(data, workspace)
    paths = read_manifest(workspace.manifest)["path"]
    images = [np.asarray(Image.open(data / path), dtype=float) / 255 for path in paths]
    mean = np.mean([image.mean() for image in images])
    square = np.mean([(image**2).mean() for image in images])
    assert result.mean == pytest.approx(mean)
    assert result.std == pytest.approx(np.sqrt(square - mean**2))


def test_any_part_of_the_images_has_its_own_mean(data, workspace):
    run(data, workspace)
    manifest = read_manifest(workspace.manifest).iloc[3:8]
    mean, _ = mean_and_deviation(read_pixels(workspace.pixels, manifest))
    images = [np.asarray(Image.open(data / path)) for path in manifest["path"]]
    assert mean == pytest.approx(np.mean([image.mean() for image in images]) / 255)


def test_processes_give_the_same(data, tmp_path):
    alone, together = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    run(data, alone)
    prepare_manifest(PrepareConfig(data=data, workers=2), together)
    for name in ("manifest", "pixels", "problems"):
        assert getattr(alone, name).read_bytes() == getattr(together, name).read_bytes()


@pytest.mark.parametrize("prefix", ["", "elsewhere/", "a/b/CheXpert-v1.0/"])
def test_the_tables_own_prefix_does_not_matter(data, workspace, prefix):
    for name in ("train", "valid"):
        edit(
            data / f"{name}.csv",
            lambda f: f.assign(Path=f["Path"].str.replace("CheXpert-v1.0-small/", prefix)),
        )
    result = run(data, workspace)
    assert result.problems == {}
    assert read_manifest(workspace.manifest)["path"].str.startswith(("train/", "valid/")).all()


def test_valid_csv_may_be_missing(data, workspace):
    (data / "valid.csv").unlink()
    run(data, workspace)
    assert set(read_manifest(workspace.manifest)["source"]) == {"train"}


def test_columns_in_another_order_give_the_same_manifest(data, tmp_path):
    first, second = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    run(data, first)
    edit(data / "train.csv", lambda frame: frame[sorted(frame.columns)])
    run(data, second)
    assert first.manifest.read_bytes() == second.manifest.read_bytes()


def problems(workspace):
    return pd.read_csv(workspace.problems)


def test_bad_images_are_listed_and_left_out_and_the_rest_goes_on(data, workspace):
    table = pd.read_csv(data / "train.csv")
    paths = table["Path"][table["Frontal/Lateral"] == "Frontal"].str.split("/", n=1).str[1]
    broken, missing, odd = (data / path for path in paths[:3])
    broken.write_bytes(broken.read_bytes()[:400])
    missing.unlink()
    Image.fromarray(np.zeros((20, 900), np.uint8)).save(odd)
    whole = len(paths) + (pd.read_csv(data / "valid.csv")["Frontal/Lateral"] == "Frontal").sum()
    result = run(data, workspace)
    assert result.images == whole - 3
    assert result.problems == {"broken image": 1, "missing image": 1, "odd shape": 1}
    listed = dict(zip(problems(workspace)["kind"], problems(workspace)["where"], strict=True))
    assert listed == dict(zip(result.problems, paths[:3], strict=True))
    kept = set(read_manifest(workspace.manifest)["path"])
    assert kept.isdisjoint(paths[:3])


def test_a_path_that_cannot_be_read_and_a_path_given_twice_are_listed(data, workspace):
    def change(frame):
        frame.loc[0, "Path"] = "what/is/this.jpg"
        return pd.concat([frame, frame.iloc[[1]]])

    edit(data / "train.csv", change)
    result = run(data, workspace)
    assert result.problems == {"unreadable path": 1, "duplicate path": 1}
    assert "train.csv line 2" in problems(workspace)["where"].tolist()


def test_an_unknown_label_value_is_named_and_nothing_is_written(data, workspace):
    def change(frame):
        frame.loc[5, "Edema"] = "maybe"
        return frame

    edit(data / "train.csv", change)
    with pytest.raises(DataError, match=r"train\.csv: 1 label .*line 7, Edema: 'maybe'"):
        run(data, workspace)
    assert not workspace.folder.exists()


@pytest.mark.parametrize("age", ["59.5", "inf", "1e30", "old", "-4", ""])
def test_an_age_that_is_none_is_blank_and_a_fraction_is_rounded(data, workspace, age):
    def change(frame):
        frame.loc[0, "Age"] = age
        return frame

    edit(data / "train.csv", change)
    run(data, workspace)
    first = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)["age"].iloc[0]
    assert first == ("60" if age == "59.5" else "")


def test_an_output_that_cannot_be_is_told_before_the_work(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("cxrtool.workflows.prepare.read_chexpert", None)
    with pytest.raises(DataError, match="file is a file"):
        run(data, Workspace(tmp_path / "file" / "cxr"))


def test_a_missing_column_is_named(data, workspace):
    edit(data / "train.csv", lambda frame: frame.drop(columns=["Edema", "Sex"]))
    with pytest.raises(DataError, match="no column Sex, Edema"):
        run(data, workspace)


def test_no_data_set_says_where_was_looked(tmp_path, workspace, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"data/CheXpert-v1\.0-small/train\.csv.*CXRTOOL_DATA"):
        prepare_manifest(PrepareConfig(), workspace)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        run(tmp_path / "nowhere", workspace)


@pytest.mark.parametrize("place", ["CheXpert-v1.0-small", "data/CheXpert-v1.0"])
def test_the_data_set_is_found_beside_the_user(drawn, tmp_path, workspace, monkeypatch, place):
    shutil.copytree(drawn.folder, tmp_path / "here" / place)
    monkeypatch.chdir(tmp_path / "here")
    assert prepare_manifest(PrepareConfig(workers=0), workspace).images > 0


def test_without_a_single_image_nothing_is_written(data, workspace):
    shutil.rmtree(data / "train")
    shutil.rmtree(data / "valid")
    with pytest.raises(DataError, match=r"none of .* images can be used"):
        run(data, workspace)
    assert not workspace.folder.exists()


def test_figures_are_drawn(prepared_once):
    for name in ("labels.png", "ages.png"):
        with Image.open(prepared_once.figures / name) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 5
