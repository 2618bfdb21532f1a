import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.runs import RunFolder
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.workflows.predict import predict_images
from tests.conftest import Hearing
from tests.support.dicoms import dicom
from tests.support.predicting import CPU, LABELS, predict
from tests.support.sealing import change_thresholds


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]


def test_every_input_gets_a_row_in_order(trained_once, images):
    table = predict(trained_once, images[::-1]).table
    assert table["path"].tolist() == [str(path) for path in images[::-1]]
    assert table[LABELS].to_numpy().min() >= 0
    assert table[LABELS].to_numpy().max() <= 1
    assert list(table.columns) == ["path", *LABELS, "positive", "warning", "error"]


def test_positive_names_the_labels_at_or_over_their_threshold(trained_once, images):
    run = RunFolder(trained_once.workspace.runs / "tiny")
    thresholds = json.loads(run.thresholds.read_text())["thresholds"]
    for row in predict(trained_once, images).table.to_dict("records"):
        expected = [
            label
            for label in LABELS
            if thresholds[label] is not None and float(row[label]) >= thresholds[label]
        ]
        assert row["positive"] == ";".join(expected)


def test_a_blank_picture_gets_its_scores_and_no_decision(trained, images, tmp_path):
    Image.new("L", (300, 320), 255).save(tmp_path / "white.png")
    change_thresholds(
        RunFolder(trained.workspace.runs / "tiny"), thresholds=dict.fromkeys(LABELS, 0.0)
    )
    inputs, output = [images[0], tmp_path / "white.png"], tmp_path / "t.csv"
    table = predict(trained, inputs).table
    assert table["positive"][0].split(";") == LABELS
    assert table["positive"][1] == ""
    assert table["warning"][1] == "blank: every pixel is 255"
    assert table.loc[1, LABELS].notna().all()
    predict(trained, inputs, output=output)
    predict(trained, [*inputs, images[1]], output=output, resume=True)
    assert pd.read_csv(output, keep_default_na=False)["positive"][1] == ""


def test_what_a_folder_holds_besides_images_is_counted_and_said(trained_once, images, tmp_path):
    shutil.copy(images[0], tmp_path / "IM0001")
    (tmp_path / "notes.txt").write_text("none")
    hearing = Hearing()
    result = predict_images(CPU, [str(tmp_path)], trained_once.workspace, hearing)
    assert result.table["path"].tolist() == [str(tmp_path / "IM0001")]
    assert "passed over, being no images: 1 .txt" in hearing.notes
    predict_images(CPU, [str(images[0])], trained_once.workspace, silent := Hearing())
    assert not any("passed over" in text for text in silent.notes)


def test_an_odd_shape_is_scored_with_a_warning(trained_once, tmp_path):
    Image.fromarray(np.zeros((50, 800), np.uint8)).save(tmp_path / "strip.png")
    table = predict(trained_once, [tmp_path / "strip.png"]).table
    assert "800x50" in table["warning"][0]
    assert table["error"][0] == ""
    assert not np.isnan(table["Edema"][0])


def test_the_csv_is_read_back_exactly(trained_once, images, tmp_path):
    output = tmp_path / "out" / "scores.csv"
    result = predict(trained_once, images, output=output)
    read = read_predictions(output, LABELS).scores
    assert (read.to_numpy() == result.table[LABELS].to_numpy()).all()
    assert read.index.tolist() == result.table["path"].tolist()


def test_an_existing_output_is_kept_without_force(trained_once, images, tmp_path):
    output = tmp_path / "scores.csv"
    output.write_text("mine")
    with pytest.raises(DataError, match="--force"):
        predict(trained_once, images, output=output)
    assert output.read_text() == "mine"
    predict(trained_once, images, output=output, force=True)
    assert output.read_text().startswith("path,")


def test_an_output_that_cannot_be_is_told_before_the_work(trained_once, images, tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        predict(trained_once, images, output=tmp_path / "x.csv", force=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="file is a file"):
        predict(trained_once, images, output=tmp_path / "file" / "x.csv")


def test_json_without_output_holds_the_rows(trained_once, images, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"")
    result = predict(trained_once, [images[0], tmp_path / "bad.jpg"])
    values = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert values["images"] == 2
    assert values["failed"] == 1
    assert values["predictions"][1]["Edema"] is None
    assert 0 <= values["predictions"][0]["Edema"] <= 1


@pytest.mark.parametrize("cells", [["0.5", "x"], ["", "0.1"], ["inf", "0.2"]])
def test_scores_that_are_no_numbers_are_named(tmp_path, cells):
    frame = pd.DataFrame({"path": ["a", "b"], "Edema": cells})
    frame.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match="1 rows have scores that are not numbers"):
        read_predictions(tmp_path / "p.csv", ["Edema"])


@pytest.mark.slow
def test_predict_loads_no_fastai(trained_once, images):
    code = (
        "import sys\n"
        "from cxrtool.cli.app import app\n"
        f"app(['predict', {str(images[0])!r}, '-w', {str(trained_once.workspace.folder)!r},"
        " '--engine', 'torch'], standalone_mode=False)\n"
        "assert 'torch' in sys.modules and 'fastai' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "probability" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "name the table with --output"),
        ({"output": Path("x.csv"), "json_lines": True}, "for stdout"),
        ({"output": Path("x.xlsx")}, "end it in"),
        ({"heatmap_labels": "Edema"}, "goes with --heatmaps"),
        ({"heatmaps": Path("h"), "run": ["tiny", "other"]}, "name one --run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(trained_once, images, options, message):
    with pytest.raises(UsageError, match=message):
        predict(trained_once, images, **options)


@pytest.fixture
def command(warm, trained_once):
    """`predict` in a process of its own; its status and what it said, in bytes and in text."""

    def run(*words):
        options = ["-w", trained_once.workspace.folder, "--engine", "torch", "--device", "cpu"]
        done = subprocess.run([warm, "predict", *words, *options], capture_output=True)
        return done.returncode, done.stdout, done.stderr.decode()

    return run


@pytest.mark.slow
def test_what_is_printed_suits_its_number_and_its_reader(command, images, tmp_path):
    code, out, err = command(*images)
    assert (code, "scoring with tiny (torch on cpu" in err) == (0, True)
    assert [line.split(",")[0] for line in out.decode().splitlines()] == [
        "path",
        *map(str, images),
    ]
    code, out, _ = command(*images, "--json-lines", "-q")
    assert [json.loads(line)["path"] for line in out.splitlines()] == list(map(str, images))
    (tmp_path / "bad\nname.jpg").write_text("text")
    code, out, err = command(images[0], tmp_path / "bad\nname.jpg")
    assert code == 1
    assert "probability" in out.decode()
    assert r"bad\nname.jpg: could not be read: not a JPEG" in out.decode()
    assert "Traceback" not in err


@pytest.mark.slow
def test_two_processes_share_a_list_and_write_one_table(trained_once, warm, images, tmp_path):
    alone, both = tmp_path / "alone.csv", tmp_path / "both.csv"
    (tmp_path / "bad.jpg").write_text("text")
    inputs = [*images, tmp_path / "bad.jpg"]
    predict(trained_once, inputs, output=alone, batch_size=1)
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node",
                "2",
            ),
            *("--no-python", warm, "predict", *map(str, inputs), "--output", str(both)),
            *("-w", str(trained_once.workspace.folder), "--engine", "torch", "--device", "cpu"),
            *("--precision", "fp32", "--batch-size", "1"),
        ],
        capture_output=True,
        text=True,
    )
    assert "5 images, 1 failed" in done.stdout
    assert done.stdout.count("written:") == 1
    first, second = (pd.read_csv(path, keep_default_na=False) for path in (alone, both))
    assert first[["path", "positive", "error"]].equals(second[["path", "positive", "error"]])
    scores = (pd.to_numeric(table["Edema"]) for table in (first, second))
    assert np.nanmax(np.abs(next(scores) - next(scores))) < 1e-6
    assert list(tmp_path.glob("*.rows-*")) == []


def test_tables_lead_back_to_an_archive_and_to_their_model(trained_once, tmp_path):
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    uids = [generate_uid() for _ in range(2)]
    for at, uid in enumerate(uids):
        dicom(tmp_path / f"{at}.dcm", pixels, StudyInstanceUID=uid, AccessionNumber=f"A{at}")
    given = {"ids": True, "provenance": True}
    for name in ("t.csv", "t.jsonl", "t.json"):
        table = predict(trained_once, [tmp_path], output=tmp_path / name, **given).table
        assert table["study_instance_uid"].tolist() == uids
        assert table["accession_number"].tolist() == ["A0", "A1"]
        assert set(table["model"]) == {"tiny"}
        weights = sha256(RunFolder(trained_once.workspace.runs / "tiny").weights)
        assert set(table["weights_sha256"]) == {weights}
    plain = predict(trained_once, [tmp_path / "0.dcm"]).table
    assert list(plain.columns) == ["path", *LABELS, "positive", "warning", "error"]
    # A finished table is added to with the same columns only.
    dicom(tmp_path / "2.dcm", pixels, StudyInstanceUID=uids[0])
    output = tmp_path / "t.csv"
    with pytest.raises(DataError, match="the same --ids"):
        predict(trained_once, [tmp_path], output=output, resume=True)
    more = predict(trained_once, [tmp_path], output=output, resume=True, **given)
    assert more.table["study_instance_uid"].tolist() == [*uids, uids[0]]


def test_rows_of_studies_are_of_their_frontal_images(trained_once, tmp_path):
    folder = trained_once.data / "train"
    images = sorted(folder.rglob("*.jpg"))
    rows = predict(trained_once, [folder], unit="study")
    studies = sorted({str(image.parent) for image in images})
    assert rows.table["path"].tolist() == studies
    lateral = [image for image in images if image.stem.endswith("lateral")]
    assert rows.laterals == len(lateral) > 0
    assert rows.images == len(images) - len(lateral)
    single = predict(trained_once, [folder]).table.set_index("path")
    for path, row in rows.table.set_index("path").iterrows():
        own = [one for one in single.index if one.startswith(path) and "frontal" in one]
        if own:
            np.testing.assert_allclose(
                row[LABELS].to_numpy(float), single.loc[own, LABELS].to_numpy().mean(0), rtol=1e-6
            )
    output = tmp_path / "t.csv"
    written = predict(trained_once, [folder], unit="study", output=output)
    pd.testing.assert_frame_equal(written.table, rows.table)
    with pytest.raises(DataError, match="a table of studies cannot be added to"):
        predict(trained_once, [folder], unit="study", output=output, resume=True)
    with pytest.raises(UsageError, match="--unit study"):
        predict(trained_once, [folder], aggregate="max")


def test_a_result_says_what_failed_and_why(trained_once, images, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"x")
    good = predict(trained_once, images)
    assert (good.status, good.as_json()["failures"]) == ("done", [])
    some = predict(trained_once, [images[0], tmp_path / "bad.jpg"])
    assert some.status == "some failed"
    assert [one["path"] for one in some.as_json()["failures"]] == [str(tmp_path / "bad.jpg")]
    assert "JPEG" in some.as_json()["failures"][0]["error"]
    assert predict(trained_once, [tmp_path / "bad.jpg"]).status == "all failed"
