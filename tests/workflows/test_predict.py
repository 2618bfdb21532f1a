import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from cxrtool.core.config import PredictConfig
from cxrtool.core.errors import DataError, StoppedError, UsageError
from cxrtool.core.locks import only_writer
from cxrtool.core.runs import RunFolder
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.inputs import list_images
from cxrtool.inference.journal import Journal
from cxrtool.workflows.predict import predict_images
from tests.conftest import Listening
from tests.support.copies import copy_folder
from tests.support.sealing import change_model, change_thresholds

LABELS = list(CHEXPERT_LABELS)
CPU = PredictConfig(device="cpu", precision="fp32", workers=0, engine="torch")


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


def test_labels_that_are_no_scale_and_missing_thresholds_are_told(trained, images, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    weights = load_file(run.weights)
    head = max(name for name in weights if name.endswith(".bias") and len(weights[name]) == 14)
    weights[head][LABELS.index("Edema")] = 500.0
    save_file(weights, run.weights)
    change_model(run)
    change_thresholds(
        run,
        thresholds={**dict.fromkeys(LABELS, 0.5), "Fracture": None},
        without={"Fracture": "valid has 2 patients with a positive"},
    )
    told = Listening()
    config = replace(CPU, batch_size=4)
    predict_images(config, [str(path) for path in images] * 3, trained.workspace, told)
    assert any(text.startswith("Edema: saturated") for text in told.warnings)
    assert any("for Fracture (valid has 2 patients" in text for text in told.warnings)


def test_threads_and_batches_change_nothing(trained_once, images):
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
        "not a JPEG, PNG, TIFF or DICOM image",
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


def test_folders_globs_and_tables_stand_for_their_images(tmp_path):
    for name in ("a/1.jpg", "a/b/2.PNG", "a/notes.txt", "a/.hidden.jpg", "a/dir.jpg/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    pd.DataFrame({"path": ["b/2.PNG", "1.jpg"]}).to_csv(tmp_path / "a" / "t.csv", index=False)
    files = [str(tmp_path / "a" / "1.jpg"), str(tmp_path / "a" / "b" / "2.PNG")]
    assert list_images([str(tmp_path / "a")]).files == files
    assert list_images([str(tmp_path / "a" / "*")]).files == files[:1]
    table = list_images([str(tmp_path / "a" / "t.csv")])
    assert (table.names, table.files) == (["b/2.PNG", "1.jpg"], files[::-1])
    assert list_images(["gone.jpg"]).names == ["gone.jpg"]


def test_a_name_with_brackets_is_a_file_first(tmp_path):
    (tmp_path / "x[PA].jpg").write_bytes(b"")
    assert list_images([str(tmp_path / "x[PA].jpg")]).files == [str(tmp_path / "x[PA].jpg")]


def test_chexperts_own_table_and_a_manifest_find_their_images(trained_once):
    for table in (trained_once.data / "valid.csv", trained_once.workspace.manifest):
        images = list_images([str(table)])
        assert len(images) > 5
        assert all(Path(file).is_file() for file in images.files)


def test_an_empty_input_is_wrong_use_and_not_the_whole_folder():
    with pytest.raises(UsageError, match="input is empty"):
        list_images([""])


def test_an_output_that_cannot_be_is_told_before_the_work(trained_once, images, tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        predict(trained_once, images, output=tmp_path / "x.csv", force=True)
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


def numbered(names):
    return [Path(name).name for name in names]


def test_a_part_of_a_manifests_split_is_scored(trained_once):
    workspace = trained_once.workspace
    split = pd.read_csv(workspace.split)
    wanted = split["path"][split["split"] == "test"]
    found = list_images([str(workspace.manifest)], "test")
    assert sorted(found.names) == sorted(wanted)
    assert all(Path(file).is_file() for file in found.files)
    with pytest.raises(UsageError, match=r"which .* is not"):
        list_images([str(trained_once.data)], "test")
    with pytest.raises(UsageError, match=r"manifest.csv"):
        list_images([str(trained_once.data / "valid.csv")], "test")


def test_links_that_go_round_are_not_followed_and_hidden_folders_not_entered(tmp_path):
    (tmp_path / "a" / ".git").mkdir(parents=True)
    for name in ("a/1.jpg", "a/.git/2.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "round").symlink_to(tmp_path / "a")
    assert numbered(list_images([str(tmp_path / "a")]).names) == ["1.jpg"]


def test_a_table_with_blank_paths_is_refused_and_says_where(tmp_path):
    (tmp_path / "t.csv").write_text("path,x\n1.jpg,1\n ,2\n")
    with pytest.raises(DataError, match=r"1 rows name no file \(lines 3\)"):
        list_images([str(tmp_path / "t.csv")])


def test_an_image_given_twice_has_two_rows_that_say_so(trained_once, images, tmp_path):
    inputs = [images[0], images[1], images[0]]
    for output in (None, tmp_path / "t.csv"):
        result = predict(trained_once, inputs, output=output)
        table = result.table if output is None else pd.read_csv(output, keep_default_na=False)
        assert table["path"].tolist() == [str(path) for path in inputs]
        assert table["warning"].tolist() == ["given 2 times", "", "given 2 times"]
        assert table["Edema"][0] == table["Edema"][2]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_rows_that_are_done_are_not_scored_again(
    trained_once, images, tmp_path, monkeypatch, ending
):
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"t.{ending}"
    inputs = [images[0], tmp_path / "late.jpg", *images[1:]]
    (tmp_path / "late.jpg").write_bytes(images[3].read_bytes())
    predict(trained_once, inputs, output=whole, batch_size=1)
    (tmp_path / "late.jpg").unlink()

    class Killed(BaseException):
        pass

    scored = []
    real = Journal._know

    def know(self, path, failed, place):
        if len(scored) == 2:
            raise Killed
        scored.append(path)
        real(self, path, failed, place)

    monkeypatch.setattr(Journal, "_know", know)
    with pytest.raises(Killed):
        predict(trained_once, inputs, output=output, batch_size=1)
    monkeypatch.undo()
    assert not output.exists()
    (tmp_path / "late.jpg").write_bytes(images[3].read_bytes())
    again = []
    score = Ensemble.score

    def counted(self, names, files, **options):
        again.extend(files)
        return score(self, names, files, **options)

    monkeypatch.setattr(Ensemble, "score", counted)
    result = predict(trained_once, inputs, output=output, resume=True, batch_size=1)
    assert output.read_bytes() == whole.read_bytes()
    assert str(images[0]) not in again
    assert str(tmp_path / "late.jpg") in again  # it could not be read before
    assert (result.images, result.failed) == (5, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["late.jpg", whole.name, output.name]
    )


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_a_finished_table_with_rows_that_failed_is_resumed_to_the_undisturbed_one(
    trained_once, images, tmp_path, ending
):
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"t.{ending}"
    (tmp_path / "torn.jpg").write_bytes(images[0].read_bytes()[:300])
    Image.fromarray(np.zeros((50, 800), np.uint8)).save(tmp_path / "strip.png")
    night = [images[0], tmp_path / "torn.jpg", tmp_path / "gone.jpg", tmp_path / "strip.png"]
    predict(trained_once, [*night, images[1]], output=whole, batch_size=1)
    for inputs in (night, night, [*night, images[1]]):
        result = predict(trained_once, inputs, output=output, resume=True, batch_size=1)
        assert result.failed == 2
    assert output.read_bytes() == whole.read_bytes()


def test_a_resumed_table_has_the_digits_of_an_undisturbed_one(
    trained_once, images, tmp_path, monkeypatch
):
    """A network's last digits hang on the batch that an image is in."""
    inputs = [*images, tmp_path / "gone.jpg", *sorted(images[0].parents[2].rglob("*.jpg"))[-4:]]
    whole, output = tmp_path / "whole.csv", tmp_path / "t.csv"
    predict(trained_once, inputs, output=whole, batch_size=4)
    real = Journal._know
    for stop in range(1, len(inputs), 2):

        def know(self, path, failed, place, stop=stop):
            real(self, path, failed, place)
            if len(self) + len(self._failed) == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "_know", know)
            with pytest.raises(StoppedError):
                predict(trained_once, inputs, output=output, batch_size=4)
        predict(trained_once, inputs, output=output, batch_size=4, resume=True)
        assert output.read_bytes() == whole.read_bytes()
        output.unlink()


def test_a_table_that_is_being_written_is_refused_to_a_second_predict(
    trained_once, images, tmp_path
):
    output = tmp_path / "t.csv"
    with (
        only_writer(output),
        pytest.raises(DataError, match=r"another process is writing .*t\.csv"),
    ):
        predict(trained_once, images, output=output, force=True)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_table_is_gone_on_with_by_the_same_model_alone(
    trained, images, tmp_path, monkeypatch
):
    output = tmp_path / "t.csv"
    predict(trained, images[:3], output=output)
    before = output.read_text().splitlines()
    with pytest.raises(DataError, match=r"exists: --resume .*--force"):
        predict(trained, images, output=output)
    predict(trained, images, output=output, resume=True)
    assert output.read_text().splitlines()[:4] == before
    assert len(output.read_text().splitlines()) == 5
    # Another model, or other thresholds: rows of two kinds would stand in one table.
    table = pd.read_csv(output, keep_default_na=False)
    table["Edema"] = 0.9
    table["positive"] = "Edema"
    run = RunFolder(trained.workspace.runs / "tiny")
    limits = json.loads(run.thresholds.read_text())
    limits["thresholds"] = {**dict.fromkeys(LABELS), "Edema": 0.8}
    run.thresholds.write_text(json.dumps(limits))
    with pytest.raises(DataError, match="decided by other thresholds"):
        predict(trained, images, output=output, resume=True)
    table.to_csv(output, index=False)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            predict(trained, images, output=output, resume=True)
    with pytest.raises(DataError, match=r"gives .* other probabilities"):
        predict(trained, images, output=output, resume=True)
    assert pd.read_csv(output)["Edema"].tolist() == [0.9] * 4
    assert list(tmp_path.glob("*.rows-*")) == []


def test_a_stop_keeps_what_is_done_and_says_how_to_go_on(
    trained_once, images, tmp_path, monkeypatch
):
    real = Journal._know

    def know(self, path, failed, place):
        real(self, path, failed, place)
        if len(self) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "_know", know)
    with pytest.raises(StoppedError, match=r"stopped after 2 of 4 images.*--resume"):
        predict(trained_once, images, output=tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "name it with --output"),
        ({"output": Path("x.csv"), "json_lines": True}, "for stdout"),
        ({"output": Path("x.xlsx")}, "end it in"),
        ({"heatmap_labels": "Edema"}, "goes with --heatmaps"),
        ({"heatmaps": Path("h"), "run": ["tiny", "other"]}, "name one --run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(trained_once, images, options, message):
    with pytest.raises(UsageError, match=message):
        predict(trained_once, images, **options)


def test_rows_are_told_as_they_are_made(trained_once, images):
    heard = []

    class Hearing:
        def begin(self, ensemble, images):
            heard.append((ensemble.labels, images))

        def row(self, row):
            heard.append(row)

    config = replace(CPU, batch_size=1)
    inputs = [str(path) for path in images]
    result = predict_images(config, inputs, trained_once.workspace, listener=Hearing())
    assert heard[0] == (tuple(LABELS), 4)
    assert [row.path for row in heard[1:]] == inputs
    assert result.rows == []  # they are not kept as well


def test_the_same_run_twice_is_one_model_and_two_are_their_mean(trained, images):
    plain = predict(trained, images)
    assert predict(trained, images, run=["tiny", "tiny"]).table.equals(plain.table)
    copy_folder(trained.workspace.runs / "tiny", trained.workspace.runs / "copy")
    both = predict(trained, images, run=["tiny", "copy"])
    assert both.model == "tiny + copy"
    assert np.abs(both.table[LABELS].to_numpy() - plain.table[LABELS].to_numpy()).max() < 1e-6


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
def test_two_processes_share_a_list_and_write_one_table(trained_once, images, tmp_path):
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
            *("-m", "cxrtool", "predict", *map(str, inputs), "--output", str(both)),
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
