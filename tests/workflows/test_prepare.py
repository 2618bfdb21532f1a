import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core import files as files
from cxrtool.core.config import PrepareConfig, SplitConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.locks import locked
from cxrtool.core.workspace import Workspace
from cxrtool.data import image_checks as prepare_images
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import mean_and_deviation, read_manifest, read_pixels
from cxrtool.data.sources import chexpert as chexpert
from cxrtool.data.sources.declared import Declaration, Table, column
from cxrtool.data.sources.detect import FORMATS
from cxrtool.data.sources.findings import FindingColumns
from cxrtool.images.cache import ImageCache
from cxrtool.images.reading import read_for_scoring
from cxrtool.images.resizing import load_pixels
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from tests.conftest import Hearing, Listening
from tests.support.dicoms import dicom
from tests.support.lossless import wavy

LABELS = list(CHEXPERT_LABELS)


@pytest.fixture
def data(drawn, tmp_path):
    """A data set of the test's own, to be damaged."""
    return shutil.copytree(drawn.folder, tmp_path / "CheXpert-v1.0-small")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "cxr")


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch):
    """Figures take most of the time here, and other tests look at them."""
    for name in ("draw_label_counts", "draw_ages", "draw_cooccurrence"):
        monkeypatch.setattr(
            f"cxrtool.data.figures.{name}", lambda *given: given[-1].write_bytes(b"x")
        )


def run(data, workspace, **options):
    options = {"workers": 0, "cache_size": 32, **options}
    if options.get("check_images", "full") != "full":
        del options["cache_size"]
    return prepare_manifest(PrepareConfig(data=data, **options), workspace)


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
    run(data, together, workers=2)
    for name in ("manifest", "pixels", "problems"):
        assert getattr(alone, name).read_bytes() == getattr(together, name).read_bytes()
    for name in ("images.npy", "index.csv"):
        assert (alone.cache / name).read_bytes() == (together.cache / name).read_bytes()
    seals = [json.loads((one.cache / "cache.json").read_text()) for one in (alone, together)]
    for seal in seals:
        del seal["images_modified"]
    assert seals[0] == seals[1]


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


def test_images_without_a_row_and_columns_without_a_use_are_told(data, workspace):
    edit(data / "train.csv", lambda frame: frame.assign(Report="well"))
    first = next((data / "train").rglob("*.jpg"))
    shutil.copy(first, first.with_name("stray.jpg"))
    hearing = Hearing()
    prepare_manifest(PrepareConfig(data=data, cache=False), workspace, hearing)
    stray = first.with_name("stray.jpg").relative_to(data).as_posix()
    assert f"1 image in {data} are in no row of train.csv, valid.csv: {stray}" in hearing.notes
    assert "columns of train.csv that are not used: Report" in hearing.notes


def test_where_findings_were_drawn_is_kept_of_the_images_that_stay(data, workspace):
    hearing = Hearing()
    prepare_manifest(PrepareConfig(data=data, cache=False), workspace, hearing)
    boxes, drawn = pd.read_csv(workspace.boxes), pd.read_csv(data / "boxes.csv")
    kept = read_manifest(workspace.manifest)["path"]
    named = drawn["Path"].str.split("/", n=1).str[1]
    assert boxes["path"].tolist() == named[named.isin(kept)].tolist()
    assert boxes["label"].tolist() == drawn["Label"][named.isin(kept)].tolist()
    assert (boxes["x1"] <= boxes["width"]).all()
    told = f"{len(boxes):,} of {len(drawn):,} boxes are kept, of {boxes['path'].nunique():,} images"
    assert told in hearing.notes
    (data / "boxes.csv").unlink()
    run(data, workspace)
    assert not workspace.boxes.exists()


def test_half_of_the_images_missing_is_a_warning(data, workspace):
    table = pd.read_csv(data / "train.csv")
    frontal = table["Path"][table["Frontal/Lateral"] == "Frontal"].str.split("/", n=1).str[1]
    whole = Listening()
    prepare_manifest(PrepareConfig(data=data, cache=False), workspace, whole)
    assert not any("is the copy whole" in text for text in whole.warnings)
    for path in frontal[::2]:
        (data / path).unlink()
    half = Listening()
    result = prepare_manifest(PrepareConfig(data=data, cache=False), workspace, half)
    missing = len(frontal[::2])
    assert result.problems["missing image"] == missing
    told = f"{missing} of {result.images + missing} images are missing or cannot be read"
    assert any(told in text for text in half.warnings)


def test_a_path_that_cannot_be_read_and_a_path_given_twice_are_listed(data, workspace):
    def change(frame):
        frame.loc[0, "Path"] = "what/is/this.jpg"
        return pd.concat([frame, frame.iloc[[1]]])

    edit(data / "train.csv", change)
    result = run(data, workspace)
    assert result.problems == {"unreadable path": 1, "duplicate path": 1}
    assert "train.csv line 2" in problems(workspace)["where"].tolist()


def test_a_row_with_an_unknown_label_value_is_listed_and_left_out(data, workspace):
    def change(frame):
        frame.loc[5, "Edema"] = "maybe"
        frame.loc[7, "Support Devices"] = "1.00"
        return frame

    before = run(data, workspace).rows
    edit(data / "train.csv", change)
    result = run(data, workspace)
    assert result.problems == {"label value": 1}
    listed = problems(workspace).iloc[0]
    assert listed.tolist() == ["label value", "train.csv line 7", "Edema: 'maybe'", "no"]
    assert result.rows == before - 1


def test_with_nothing_but_unknown_label_values_only_the_problems_are_written(data, workspace):
    for name in ("train", "valid"):
        edit(data / f"{name}.csv", lambda frame: frame.assign(Edema="positive"))
    with pytest.raises(DataError, match=r"no row can be used .*train\.csv line 2: Edema"):
        run(data, workspace)
    assert [path.name for path in workspace.folder.iterdir()] == ["problems.csv"]
    assert set(problems(workspace)["kind"]) == {"label value"}


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
    monkeypatch.setattr("cxrtool.workflows.prepare.open_source", None)
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


def test_without_a_single_image_only_the_problems_are_written(data, workspace):
    shutil.rmtree(data / "train")
    shutil.rmtree(data / "valid")
    with pytest.raises(DataError, match=r"none of .* images can be used"):
        run(data, workspace)
    assert [path.name for path in workspace.folder.iterdir()] == ["problems.csv"]


def frontal(data, n):
    """The first n frontal images of train.csv."""
    table = pd.read_csv(data / "train.csv")
    paths = table["Path"][table["Frontal/Lateral"] == "Frontal"].str.split("/", n=1).str[1]
    return paths.tolist()[:n]


def test_what_stands_out_is_listed_and_kept(data, workspace):
    before = run(data, workspace).images
    colour, small, copy, other, large = frontal(data, 5)
    with Image.open(data / colour) as image:
        image.convert("RGB").save(data / colour)
        image.resize((90, 80)).save(data / small)
        image.resize((900, 800)).save(data / large)
    shutil.copy(data / copy, data / other)
    result = run(data, workspace)
    assert result.images == before
    kinds = {"mode stands out", "size stands out", "picture twice", "near-duplicate"}
    assert set(result.problems) == kinds
    listed = problems(workspace)
    sizes = listed[listed["kind"] == "size stands out"].set_index("where")["detail"]
    assert sizes[large].startswith("900x800")
    listed = listed[listed["where"] != large].set_index("kind")
    assert (listed["kept"] == "yes").all()
    assert listed.loc["mode stands out", "where"] == colour
    assert listed.loc["size stands out", "detail"].startswith("90x80")
    assert listed.loc["picture twice", "where"] == other
    assert listed.loc["picture twice", "detail"].endswith(copy)


def test_a_picture_of_two_patients_is_told_as_such(data, workspace):
    table = pd.read_csv(data / "train.csv")
    table = table[table["Frontal/Lateral"] == "Frontal"]
    first = table["Path"].iloc[0].split("/", 1)[1]
    other = table["Path"][~table["Path"].str.contains(first.split("/")[1])].iloc[0]
    shutil.copy(data / first, data / other.split("/", 1)[1])
    run(data, workspace)
    assert problems(workspace)["detail"].tolist() == [
        f"the same size and pixel sums as another patient's {first}"
    ]


def test_a_blank_image_is_left_out(data, workspace):
    victim = frontal(data, 1)[0]
    Image.new("L", (300, 300), 9).save(data / victim)
    assert run(data, workspace).problems == {"blank image": 1}
    assert victim not in set(read_manifest(workspace.manifest)["path"])


def test_contradictions_are_listed_and_kept(data, workspace):
    def change(frame):
        frame[LABELS] = ""
        frame["No Finding"] = "1"
        frame.loc[3, "Edema"] = "1"
        frame.loc[4, "Support Devices"] = "1"
        frame.loc[5, "Edema"] = "-1"
        return frame

    edit(data / "train.csv", change)
    (data / "valid.csv").unlink()
    result = run(data, workspace, views="all")
    assert result.problems == {"contradiction": 1}
    listed = problems(workspace).iloc[0]
    assert listed["detail"] == "No Finding beside Edema"
    assert result.images == result.rows


def test_a_view_that_the_path_contradicts_is_listed(data, workspace):
    def change(frame):
        row = frame.index[frame["Frontal/Lateral"] == "Frontal"][0]
        frame.loc[row, "Frontal/Lateral"] = "Lateral"
        return frame

    edit(data / "train.csv", change)
    assert run(data, workspace, check_images="none").problems == {"view contradicts path": 1}


def test_everything_is_told_at_once(data, workspace):
    for name in ("train", "valid"):
        edit(data / f"{name}.csv", lambda frame: frame.drop(columns="Edema"))
    with pytest.raises(DataError, match=r"train\.csv has no column Edema.*\n.*valid\.csv has no"):
        run(data, workspace)


def test_a_path_that_climbs_out_is_refused(data, workspace):
    def change(frame):
        frame.loc[2, "Path"] = (
            "CheXpert-v1.0-small/../../train/patient00001/study1/view1_frontal.jpg"
        )
        return frame

    edit(data / "train.csv", change)
    with pytest.raises(DataError, match=r"climb out of the data folder .*lines 4"):
        run(data, workspace)
    assert not workspace.folder.exists()


def test_a_table_that_is_cut_off_is_refused(data, workspace):
    text = (data / "train.csv").read_text()
    (data / "train.csv").write_text(text[: len(text) - 25])
    with pytest.raises(DataError, match=r"1 of .* lines do not have the header's 19 fields"):
        run(data, workspace)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_and_line_ends_give_the_same_manifest(data, tmp_path, encoding):
    first, second = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    run(data, first, check_images="none")
    text = (data / "train.csv").read_text().replace("\n", "\r\n")
    (data / "train.csv").write_bytes(text.encode(encoding))
    run(data, second, check_images="none")
    assert first.manifest.read_bytes() == second.manifest.read_bytes()


def test_strict_makes_any_problem_an_error_and_still_lists_it(data, workspace):
    victim = frontal(data, 1)[0]
    (data / victim).write_bytes(b"broken")
    with pytest.raises(DataError, match=r"--strict: no manifest .*1 broken image, .*problems\.csv"):
        run(data, workspace, strict=True)
    assert problems(workspace)["where"].tolist() == [victim]
    assert not workspace.manifest.exists()


def test_strict_is_content_with_good_data(data, workspace):
    assert run(data, workspace, strict=True).problems == {}


def test_a_table_alone_can_be_prepared(data, workspace):
    whole = run(data, workspace)
    shutil.rmtree(data / "train")
    shutil.rmtree(data / "valid")
    result = run(data, workspace, check_images="none")
    assert (result.images, result.labels) == (whole.images, whole.labels)
    assert (result.mean, result.std, result.cache_size) == (None, None, None)
    assert not workspace.pixels.exists()


def test_headers_tell_missing_and_odd_files_but_not_cut_off_ones(data, workspace):
    missing, odd, cut = frontal(data, 3)
    (data / missing).unlink()
    Image.fromarray(np.zeros((20, 900), np.uint8)).save(data / odd)
    (data / cut).write_bytes((data / cut).read_bytes()[:2000])
    result = run(data, workspace, check_images="header")
    assert result.problems == {"missing image": 1, "odd shape": 1}
    assert result.mean is None


@pytest.mark.parametrize("check", ["full", "header"])
def test_what_speaks_against_a_dicom_is_a_problem_in_the_words_of_predict(
    tmp_path, workspace, check
):
    headers = [
        {},
        {"ViewPosition": "LL"},
        {"BodyPartExamined": "HAND"},
        {"Modality": "CT"},
        {"PatientOrientation": ["F", "L"]},
        {"PresentationIntentType": "FOR PROCESSING"},
    ]
    pixels = wavy(40, 56, 12)
    for number, elements in enumerate(headers):
        dicom(tmp_path / f"{number}.dcm", pixels + np.uint16(number), 16, **elements)
    rows = [{"path": f"{n}.dcm", "patient_id": f"P{n}", "Edema": n % 2} for n in range(6)]
    pd.DataFrame(rows).to_csv(tmp_path / "own.csv", index=False)
    result = run(tmp_path / "own.csv", workspace, format="csv", check_images=check)
    warned = {f"{n}.dcm": read_for_scoring(tmp_path / f"{n}.dcm")[1] for n in range(1, 6)}
    assert all(warned.values())
    problems = pd.read_csv(workspace.problems)
    told = problems[problems["kind"] == "read with a warning"]
    assert dict(zip(told["where"], told["detail"], strict=True)) == warned
    assert result.problems["read with a warning"] == 5


@pytest.mark.parametrize("check", ["header", "none"])
def test_a_cache_needs_every_image_decoded(data, workspace, check):
    with pytest.raises(UsageError, match=f"leave --check-images {check} out"):
        run(data, workspace, check_images=check, cache=True)


def test_the_cache_is_of_the_images_in_the_manifest(data, workspace):
    (data / frontal(data, 1)[0]).write_bytes(b"broken")
    result = run(data, workspace)
    cache = ImageCache(workspace.cache)
    assert cache.fingerprint == sha256(workspace.pixels)
    assert result.cache_size == cache.image_size == 32
    paths = read_manifest(workspace.manifest)["path"].tolist()
    expected = np.stack([load_pixels(data / path, 32) for path in paths])
    np.testing.assert_array_equal(cache.read(cache.rows_of(paths)), expected)


def test_without_a_cache_none_is_made_and_the_sums_are_the_same(data, tmp_path):
    first, second = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    run(data, first)
    assert run(data, second, cache=False).cache_size is None
    assert first.pixels.read_bytes() == second.pixels.read_bytes()
    assert not second.cache.exists()


def test_repeating_it_gives_the_same(data, workspace):
    first = run(data, workspace)
    names = ("manifest", "pixels", "problems")
    before = [getattr(workspace, name).read_bytes() for name in names]
    second = run(data, workspace)
    assert before == [getattr(workspace, name).read_bytes() for name in names]
    assert {**first.as_json(), "seconds": 0} == {**second.as_json(), "seconds": 0}


def test_a_source_that_only_this_program_knows_is_prepared_twice(tmp_path, workspace, monkeypatch):
    ward = Declaration(
        name="ward",
        title="the ward's",
        tables={"train": (Table("ward.csv", ("film", "who")),)},
        path=column("film"),
        patient=column("who"),
        findings=FindingColumns(("fluid",)),
        meaning={"Pleural Effusion": ("fluid",)},
        labels_by={"train": "the ward"},
    )
    monkeypatch.setitem(FORMATS, "ward", ward.source)
    (tmp_path / "ward.csv").write_text("film,who,fluid\na,p,1\n")
    for names, label in (("own", "fluid"), ("chexpert", "Pleural Effusion")):
        config = PrepareConfig(data=tmp_path, check_images="none", label_names=names)
        assert prepare_manifest(config, workspace).labels[label]["positive"] == 1


def test_a_second_prepare_in_the_same_workspace_is_refused(data, workspace):
    with locked(workspace.folder, "prepare"), pytest.raises(DataError, match=r"another .*prepare"):
        run(data, workspace)
    assert run(data, workspace).images > 0


def test_a_failure_leaves_an_earlier_workspace_whole(data, workspace):
    run(data, workspace)
    before = {path: path.read_bytes() for path in workspace.folder.iterdir() if path.is_file()}
    (data / frontal(data, 1)[0]).write_bytes(b"broken")
    with pytest.raises(DataError, match="strict"):
        run(data, workspace, strict=True)
    del before[workspace.problems]
    assert before == {path: path.read_bytes() for path in before}


def test_an_end_at_the_worst_moment_leaves_nothing_that_looks_whole(data, workspace, monkeypatch):
    run(data, workspace)
    edit(data / "train.csv", lambda frame: frame.iloc[:-5])

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cxrtool.data.summary.write_table", stop)
        with pytest.raises(KeyboardInterrupt):
            run(data, workspace)
    with pytest.raises(DataError, match=r"run `cxrtool prepare -w .*` first"):
        split_manifest(SplitConfig(), workspace, seed=1)
    assert not (workspace.folder / ".lock").exists()


def test_a_changed_manifest_tells_of_the_split_beside_it(data, workspace):
    listening = Listening()
    run(data, workspace)
    workspace.split.write_text("mine")
    prepare_manifest(
        PrepareConfig(data=data, workers=0, views="all", cache=False), workspace, listening
    )
    assert any("split --force" in text for text in listening.warnings)
    assert workspace.split.read_text() == "mine"


def test_ctrl_c_ends_it_within_a_moment_and_leaves_no_process(data, workspace):
    code = "import cxrtool.data.image_checks as p; p.CHUNK = 2; o = p.decode\n"
    code += "import time\ndef slowly(f):\n    time.sleep(0.1)\n    return o(f)\n"
    # Whoever runs these tests in the background has told all of their processes to ignore it.
    code += "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "p.decode = slowly\nfrom cxrtool.cli.app import main\nmain()"
    arguments = ["prepare", str(data), "-w", str(workspace.folder), "--workers", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        journal = workspace.cache / "journal.csv"
        limit = time.monotonic() + 120
        while not (journal.exists() and len(journal.read_text().splitlines()) > 4):
            assert time.monotonic() < limit
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr.decode().splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr.decode()
    assert not workspace.manifest.exists()
    assert not (workspace.folder / ".lock").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_table_that_lost_its_end_is_noticed_by_its_rows(data, workspace, monkeypatch):
    """A copy that stopped at the end of a line is a whole table to look at."""
    rows = len(pd.read_csv(data / "train.csv"))
    for published, found in ((rows + 1, {"rows missing": 1}), (rows, {}), (3 * rows, {})):
        monkeypatch.setitem(chexpert.ROWS, "train", published)
        assert run(data, workspace, check_images="none").problems == found


def test_a_process_that_dies_is_told(data, workspace, monkeypatch):
    monkeypatch.setattr(prepare_images, "CHUNK", 4)
    monkeypatch.setattr(prepare_images, "decode", lambda file: os._exit(1))
    with pytest.raises(DataError, match=r"process .* was killed.*--workers"):
        run(data, workspace, workers=2)
    assert not workspace.manifest.exists()


def own_table(folder, **columns):
    """A folder with one CSV, called as CheXpert's is, and two images."""
    folder.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    table = {"file": [f"{i}.png" for i in range(4)], "who": list("aabb"), **columns}
    pd.DataFrame(table).to_csv(folder / "train.csv", index=False)
    return folder


def again(workspace, reporter, **options):
    return prepare_manifest(PrepareConfig(workers=0, cache=False, **options), workspace, reporter)


def test_what_was_said_of_a_table_need_not_be_said_again(tmp_path, workspace, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = own_table(tmp_path / "own", heart=[1, 0, 1, 0])
    told = {"columns": "path=file,patient_id=who", "label_columns": "Cardiomegaly=heart"}
    again(workspace, SILENT, data=folder, format="csv", **told)
    before = workspace.manifest.read_bytes()
    for options in ({}, {"data": folder}, {"format": "csv"}):
        again(workspace, SILENT, **options)
        assert workspace.manifest.read_bytes() == before
    assert again(workspace, SILENT, label_columns="Edema=heart").labels.keys() == {"Edema"}


def test_a_column_whose_name_holds_a_comma_is_named_in_quotes(tmp_path, workspace):
    folder = own_table(tmp_path / "own", **{"heart, size": [1, 0, 1, 0]})
    told = {"columns": "path=file,patient_id=who", "label_columns": '"Cardiomegaly=heart, size"'}
    result = again(workspace, SILENT, data=folder, format="csv", **told)
    assert result.labels["Cardiomegaly"]["positive"] == 2


def test_a_label_cannot_have_the_name_of_another_column(tmp_path, workspace):
    folder = own_table(tmp_path / "own", is_valid=[1, 0, 1, 0])
    told = {"columns": "path=file,patient_id=who"}
    with pytest.raises(UsageError, match="cannot be named 'is_valid'"):
        again(workspace, SILENT, data=folder, format="csv", label_columns="is_valid", **told)
    again(workspace, SILENT, data=folder, format="csv", label_columns="Edema=is_valid", **told)
    edit(workspace.manifest, lambda frame: frame.rename(columns={"Edema": "is_valid"}))
    with pytest.raises(DataError, match="cannot be called is_valid"):
        read_manifest(workspace.manifest)


def test_other_data_in_the_same_workspace_is_warned_of(data, tmp_path, workspace):
    run(data, workspace)
    other = shutil.copytree(data, tmp_path / "other")
    listening = Listening()
    again(workspace, listening, data=other)
    assert any(str(data) in text and str(other) in text for text in listening.warnings)


def test_a_last_line_without_an_end_is_noted(data, workspace):
    """Cut inside its last cell, a table has the right number of fields."""
    text = (data / "train.csv").read_text()
    (data / "train.csv").write_text(text.rstrip("\n"))
    assert run(data, workspace, check_images="none").problems == {"no line end": 1}


def test_what_a_kill_left_is_swept_up_and_nothing_else(data, workspace, monkeypatch):
    run(data, workspace)
    left = [
        workspace.folder / ".manifest-part-x1234567" / "manifest.csv",
        workspace.figures / ".labels-part-x1234567" / "labels.png",
        workspace.cache / ".index-part-x1234567" / "index.csv",
    ]
    mine = [workspace.folder / "manifest-part-x1234567.csv", workspace.folder / ".mine.csv"]
    for path in left + mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    monkeypatch.setattr(files, "_swept", set())  # as in another process
    run(data, workspace)
    assert not any(path.parent.exists() for path in left)
    assert all(path.exists() for path in mine)


def test_a_path_that_is_too_long_for_the_system_is_one_broken_image(data, workspace):
    def change(frame):
        digits = "1" * 300
        frame.loc[0, "Path"] = f"CheXpert-v1.0-small/train/patient{digits}/study1/view1_frontal.jpg"
        return frame

    edit(data / "train.csv", change)
    assert run(data, workspace, views="all").problems == {"broken image": 1}


@pytest.mark.parametrize("asked", [{}, {"data": 5}, None])
def test_an_edited_data_json_is_no_obstacle(data, workspace, asked):
    images = run(data, workspace).images
    info = json.loads(workspace.data_info.read_text())
    workspace.data_info.write_text(json.dumps({**info, "asked": asked}))
    assert run(data, workspace).images == images


def test_an_older_cache_outlives_a_prepare_that_fails(data, workspace):
    run(data, workspace)
    shutil.rmtree(data / "train")
    shutil.rmtree(data / "valid")
    with pytest.raises(DataError, match="can be used"):
        run(data, workspace, cache_size=48)
    assert ImageCache(workspace.cache).fingerprint == sha256(workspace.pixels)
