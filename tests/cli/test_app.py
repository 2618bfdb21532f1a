import json
import shutil
from pathlib import Path

import pytest

from cxrtool.cli import app as cli
from cxrtool.cli.app import app
from cxrtool.cli.show.scores import show_triage
from cxrtool.core import config as config
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.verdicts import VERDICTS, TriageScores, VerdictScores
from tests.conftest import TINY
from tests.support.calling import call
from tests.support.nih import draw_nih

COMMANDS = {
    "prepare": config.PrepareConfig,
    "split": config.SplitConfig,
    "train": config.TrainConfig,
    "models": config.ModelsConfig,
    "features": config.FeaturesConfig,
    "tune": config.TuneConfig,
    "evaluate": config.EvaluateConfig,
    "certify": config.CertifyConfig,
    "compare": config.CompareConfig,
    "predict": config.PredictConfig,
    "gui": config.GuiConfig,
    "listen": config.ListenConfig,
    "export": config.ExportConfig,
    "runs": config.RunsConfig,
    "demo": config.DemoConfig,
}

TINY_FLAGS = [
    *("--arch", "resnet18", "--weights", "none", "--image-size", "32", "--batch-size", "16"),
    *("--workers", "0", "--precision", "fp32", "--device", "cpu"),
]


def test_the_commands_are_those_of_the_help():
    assert {command.callback.__name__ for command in app.registered_commands} == set(COMMANDS)


def test_version():
    assert call("--version").output.strip() == f"cxrtool {cli.__version__}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["split"], "cxrtool prepare"),
        (["train"], "cxrtool prepare"),
        (["evaluate"], "cxrtool train"),
        (["predict", "x.jpg"], "cxrtool train"),
        (["prepare"], "no CheXpert data found"),
    ],
)
def test_in_an_empty_folder_each_command_says_what_comes_first(
    tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--arch", "densenet12"], "did you mean densenet121"),
        (["train", "--epochs", "0"], "0 is below 1, the smallest"),
        (["train", "--epochs", "many"], "is not a whole number"),
        (["train", "--uncertainty", "maybe"], "maybe"),
        (["split", "--sizes", "90,10"], "three positive numbers"),
        (["train", "--nonsense"], "No such option"),
        (["trian"], "train"),
        (["predict"], "Missing argument"),
    ],
)
def test_wrong_use_is_exit_2_with_a_hint(prepared, arguments, told):
    options = ["-w", prepared.folder] if len(arguments) > 1 and arguments[0] == "split" else []
    done = call(*arguments, *options)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


JSON_KEYS = {
    "prepare": {
        *("rows", "images", "patients", "sex", "view", "orientation", "labels", "problems"),
        *("mean", "std", "seconds"),
    },
    "split": {"sizes", "fractions", "patients_in_two_splits", "ld", "lpd", "seconds"},
    "train": {"run", "epochs", "best_epoch", "valid_mean_auroc", "images_per_second", "seconds"},
    "evaluate": {"protocol", "unit", "n", "mean_auroc", "defined", "labels", "subgroups"},
    "predict": {"images", "failed", "seconds", "images_per_second", "output"},
}


@pytest.mark.slow
def test_the_chain_as_a_user_types_it(drawn, shell, tmp_path, monkeypatch):
    """In an empty folder, with pipes: each command names the next; JSON is alone on stdout."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "CheXpert-v1.0-small").symlink_to(drawn.folder)
    image = next((drawn.folder / "valid").rglob("*frontal.jpg"))
    train = ["train", *TINY_FLAGS, "--epochs", "1"]
    lines = [
        (["prepare"], "cxrtool split"),
        (["split", "--sizes", "60,20,20"], "cxrtool train"),
        (train, "cxrtool evaluate"),
        (["evaluate", "--workers", "0", "--device", "cpu"], "cxrtool predict"),
        (["predict", image], "Research software"),
    ]
    for arguments, told in lines:
        done = shell(*arguments)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
        assert "\x1b" not in done.stdout + done.stderr
        tables = [line for line in done.stdout.splitlines() if "  " in line.strip()]
        assert all(len(line) <= 80 for line in tables), done.stdout
    for arguments, _ in lines:
        again = [*arguments, "--json"] + (["--force"] if arguments[0] == "split" else [])
        if arguments[0] == "train":  # which has the most to say that is no JSON
            done = shell(*again)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(tmp_path)
            done = call(*again)
            assert done.exit_code == 0, done.stderr
        assert JSON_KEYS[arguments[0]] <= set(json.loads(done.stdout))


def test_verbose_says_more_in_every_command(trained, tmp_path):
    image = next((trained.data / "valid").rglob("*frontal.jpg"))
    data = shutil.copytree(trained.data, tmp_path / "data")
    broken = next((data / "valid").rglob("*frontal.jpg"))
    broken.write_bytes(b"x")
    once = [*TINY_FLAGS, "--epochs", "1", "--limit", "40", "--name", "v"]
    told = {
        "prepare": ([data, "--workers", "0", "--cache-size", "32"], str(broken.relative_to(data))),
        "split": (["--force"], "seed 42, by patient"),
        "train": (once, "Edema: valid AUROC"),
        "evaluate": (["v", "--device", "cpu", "--bootstrap", "0", "--no-report"], "trained on"),
        "predict": ([image, "--run", "v", "--device", "cpu"], "1 image in batches of"),
    }
    for name, (arguments, words) in told.items():
        done = call(name, *arguments, "-w", trained.workspace.folder, "-v")
        assert done.exit_code == 0, done.stderr
        assert words in done.stderr, name


def test_predict_exits_1_when_an_image_failed(trained_once, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"x")
    good = next((trained_once.data / "valid").rglob("*frontal.jpg"))
    done = call("predict", good, tmp_path / "bad.jpg", "-w", trained_once.workspace.folder)
    assert done.exit_code == 1
    assert "not a JPEG" in done.stdout
    assert "1 of 2 images" in done.stderr
    assert "bad.jpg: " in done.stderr.splitlines()[-1]
    assert "not a JPEG" in done.stderr.splitlines()[-1]
    assert "probability" in done.stdout


def test_json_tells_some_failures_from_no_result(trained_once, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"x")
    good = next((trained_once.data / "valid").rglob("*frontal.jpg"))
    place = ("-w", trained_once.workspace.folder, "--json")
    some = call("predict", good, tmp_path / "bad.jpg", *place)
    none = call("predict", tmp_path / "nowhere", *place, "--run", "unknown")
    assert (some.exit_code, none.exit_code) == (1, 1)
    assert json.loads(some.stdout)["status"] == "some failed"
    told = json.loads(none.stdout)
    assert told["status"] == "no result"
    assert told["error"] in none.stderr.replace("\n", " ")


def test_many_images_are_csv_on_stdout(trained_once):
    folder = Path(trained_once.data / "valid")
    done = call("predict", folder, "-w", trained_once.workspace.folder)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("path,No Finding,")
    assert len(lines) == 1 + len(list(folder.rglob("*.jpg")))


def test_many_images_on_a_terminal_are_a_list(trained_once, monkeypatch):
    monkeypatch.setattr("cxrtool.cli.show.predictions.on_terminal", lambda: True)
    folder = Path(trained_once.data / "valid")
    done = call("predict", folder, "-w", trained_once.workspace.folder)
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [
        str(p) for p in sorted(folder.rglob("*.jpg"))
    ]
    assert "--output CSV" in lines[-1]


def test_other_data_are_side_by_side_in_80_columns(trained, tmp_path):
    first = draw_nih(tmp_path / "one", patients=12, seed=3)
    second = draw_nih(tmp_path / "two", patients=8, seed=4).rename(tmp_path / "another-hospital")
    given = ("evaluate", "tiny", "--data", first, "--data", second, "-w", trained.workspace.folder)
    given += ("--bootstrap", "100", "--device", "cpu", "--workers", "0", "--no-report")
    done = call(*given)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    folder = str(trained.workspace.folder)
    assert all(len(line) <= 80 for line in lines if folder not in line and "gap by" not in line)
    said = " ".join(done.stdout.split())
    assert "11 labels in common; 3 are blank in each row there: Enlarged" in said
    assert "0.0 % of the labels blank (absent)" in said
    assert "uncertain as ones, blank as zeros; thresholds: youden" in said
    for caption in ("AUROC (95 % interval", "Difference in AUROC, there less own", "Positives"):
        assert caption in done.stdout
    assert "Sensitivity at the run's thresholds" in done.stdout
    assert lines[-1].startswith("next: cxrtool predict IMAGE --run tiny")
    told = json.loads(call(*given, "--json").stdout)
    assert [one["name"] for one in told["external"]] == ["nih", "another-hospital"]
    assert told["external"][0]["result"]["labels"]["Edema"]["auroc_ci"]
    assert set(told["external"][0]["differences"]["mean"]) >= {"difference", "difference_ci"}


def test_tiny_flags_are_the_tiny_config():
    pairs = dict(zip(TINY_FLAGS[::2], TINY_FLAGS[1::2], strict=True))
    for flag, value in pairs.items():
        assert str(getattr(TINY, flag[2:].replace("-", "_"))) == value


def test_a_triage_of_the_longest_label_fits_80_columns(capsys):
    share = Estimate(0.652, (0.591, 0.708))
    one = VerdictScores(
        rule_out_below=0.5061,
        rule_in_from=0.5502,
        n=250,
        rule_out=share,
        read_first=share,
        rule_in=Estimate(1.0, (0.98, 1.0)),
        positives=dict.fromkeys(VERDICTS, 5),
    )
    words = "NPV of at least 0.95 at 95 % confidence, each label by itself, for patients like A's"
    triage = TriageScores(
        rule_out="certified-npv=0.95",
        rule_in="certified-ppv=0.6",
        chosen_on="valid",
        family="none",
        conditions=(words, words),
        labels={"Enlarged Cardiomediastinum": one},
        certificates={},
        without={},
    )
    show_triage(triage)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert any("65 (59-71)" in line and "100 (98-100)" in line for line in lines)
