import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.config import PredictConfig
from cxrtool.errors import DataError, UsageError
from cxrtool.labels import CHEXPERT_LABELS
from cxrtool.predictions import decisions, prediction_frame, read_scores
from cxrtool.runs import RunFolder
from cxrtool.workflows.predict import list_images, predict_images

LABELS = list(CHEXPERT_LABELS)
CPU = PredictConfig(device="cpu", precision="fp32", workers=0)


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]


def predict(trained, inputs, **options):
    config = replace(CPU, **options)
    return predict_images(config, [str(path) for path in inputs], trained.workspace)


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


def test_a_score_at_the_threshold_is_positive_and_without_threshold_none_is():
    score = np.array([[0.25, 0.9]], np.float32)
    assert decisions(score, ["a", "b"], {"a": 0.25, "b": None}).tolist() == [[True, False]]


def test_processes_and_batches_change_nothing(trained_once, images):
    alone = predict(trained_once, images, batch_size=1).table
    together = predict(trained_once, images, batch_size=3, workers=2).table
    assert np.abs(alone[LABELS].to_numpy() - together[LABELS].to_numpy()).max() < 1e-5
    assert alone["path"].equals(together["path"])


def test_a_bad_file_gets_a_row_and_the_others_their_scores(trained_once, images, tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    inputs = [images[0], tmp_path / "text.jpg", tmp_path / "gone.jpg", images[1]]
    result = predict(trained_once, inputs)
    assert (result.images, result.failed) == (4, 2)
    assert result.table["error"].tolist() == [
        "",
        "not a JPEG, PNG or TIFF image",
        "no such file",
        "",
    ]
    assert result.table.loc[[1, 2], LABELS].isna().all(axis=None)
    assert result.table.loc[[1, 2], "positive"].tolist() == ["", ""]
    alone = predict(trained_once, images[:2]).table
    both = result.table.loc[[0, 3], LABELS].to_numpy()
    assert np.abs(both - alone[LABELS].to_numpy()).max() < 1e-5


def test_an_odd_shape_is_scored_with_a_warning(trained_once, tmp_path):
    Image.fromarray(np.zeros((50, 800), np.uint8)).save(tmp_path / "strip.png")
    table = predict(trained_once, [tmp_path / "strip.png"]).table
    assert "800x50" in table["warning"][0]
    assert table["error"][0] == ""
    assert not np.isnan(table["Edema"][0])


def test_the_csv_is_read_back_exactly(trained_once, images, tmp_path):
    output = tmp_path / "out" / "scores.csv"
    result = predict(trained_once, images, output=output)
    read = read_scores(output, LABELS)
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


def test_folders_globs_and_tables_stand_for_their_images(tmp_path):
    for name in ("a/1.jpg", "a/b/2.PNG", "a/notes.txt", "a/.hidden.jpg", "a/dir.jpg/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    pd.DataFrame({"path": ["b/2.PNG", "1.jpg"]}).to_csv(tmp_path / "a" / "t.csv", index=False)
    folder = [path for _, path in list_images([str(tmp_path / "a")])]
    assert folder == [tmp_path / "a" / "1.jpg", tmp_path / "a" / "b" / "2.PNG"]
    matched = [path for _, path in list_images([str(tmp_path / "a" / "*")])]
    assert matched == [tmp_path / "a" / "1.jpg"]
    table = list_images([str(tmp_path / "a" / "t.csv")])
    assert table == [("b/2.PNG", tmp_path / "a" / "b/2.PNG"), ("1.jpg", tmp_path / "a" / "1.jpg")]
    assert list_images(["gone.jpg"])[0][0] == "gone.jpg"


def test_a_name_with_brackets_is_a_file_first(tmp_path):
    (tmp_path / "x[PA].jpg").write_bytes(b"")
    assert list_images([str(tmp_path / "x[PA].jpg")])[0][1] == tmp_path / "x[PA].jpg"


def test_chexperts_own_table_and_a_manifest_find_their_images(trained_once):
    for table in (trained_once.data / "valid.csv", trained_once.workspace.manifest):
        images = list_images([str(table)])
        assert len(images) > 5
        assert all(path.is_file() for _, path in images)


def test_an_empty_input_is_wrong_use_and_not_the_whole_folder():
    with pytest.raises(UsageError, match="input is empty"):
        list_images([""])


def test_an_output_that_cannot_be_is_told_before_the_work(trained_once, images, tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        predict(trained_once, images, output=tmp_path, force=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="file is a file"):
        predict(trained_once, images, output=tmp_path / "file" / "x.csv")


def test_an_input_that_stands_for_nothing_is_named(tmp_path):
    with pytest.raises(DataError, match="no images"):
        list_images([str(tmp_path)])
    (tmp_path / "t.csv").write_text("file\nx.jpg\n")
    with pytest.raises(DataError, match="no column path"):
        list_images([str(tmp_path / "t.csv")])


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
        read_scores(tmp_path / "p.csv", ["Edema"])


def test_a_row_without_scores_has_no_decision():
    frame = prediction_frame(["a"], np.full((1, 1), np.nan, np.float32), ["Edema"], {"Edema": 0.0})
    assert frame["positive"].tolist() == [""]


@pytest.mark.slow
def test_predict_loads_no_fastai(trained_once, images):
    code = (
        "import sys\n"
        "from cxrtool.cli import app\n"
        f"app(['predict', {str(images[0])!r}, '-w', {str(trained_once.workspace.folder)!r}],"
        " standalone_mode=False)\n"
        "assert 'torch' in sys.modules and 'fastai' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "probability" in done.stdout
