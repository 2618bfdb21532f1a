"""Anybody's predictions against anybody's labels, and comparisons of runs and of tables."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.config import CompareConfig, EvaluateConfig, SplitConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.json_files import write_json
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.evaluation.operating_points import stored_point
from cxrtool.evaluation.thresholds import Rule
from cxrtool.workflows.compare import compare_runs
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.evaluate_tables import evaluate_tables
from cxrtool.workflows.split import split_manifest
from tests.conftest import Listening
from tests.support.copies import copy_folder
from tests.support.sealing import change_model

FIVE = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]
PARTS = range(64_741, 64_861)


@pytest.fixture
def tables(tmp_path):
    """CheXpert's test labels in their form, and two models' predictions of five of them."""
    rng = np.random.default_rng(0)
    studies = [f"CheXpert-v1.0/test/patient{number}/study1" for number in PARTS]
    truth = pd.DataFrame(rng.integers(0, 2, (120, 14)), columns=list(CHEXPERT_LABELS))
    truth.insert(0, "Study", studies)
    (tmp_path / "groundtruth.csv").write_text(truth.to_csv(index=False).rstrip("\n"))
    for name, noise in (("a", 1.0), ("b", 3.0)):
        logits = truth[FIVE].to_numpy() + rng.normal(0, noise, (120, 5))
        scores = pd.DataFrame(1 / (1 + np.exp(-logits)), columns=FIVE)
        scores.insert(0, "Study", studies)
        scores.sample(frac=1, random_state=1).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def scored(folder, *names, **options):
    files = [folder / f"{name}.csv" for name in names]
    values = {"predictions": files, "truth": folder / "groundtruth.csv", "bootstrap": 100}
    return evaluate_tables(EvaluateConfig(**{**values, **options}), seed=1)


def test_the_leaderboards_files_work_as_they_are(tables):
    found = scored(tables, "a").as_json()
    truth = pd.read_csv(tables / "groundtruth.csv").set_index("Study")
    scores = pd.read_csv(tables / "a.csv").set_index("Study").loc[truth.index]
    # 120 studies in the test set's layout are not its 500.
    assert found["protocol"]["name"] == "other"
    assert found["protocol"]["labels_by"] == "whoever made groundtruth.csv"
    assert any("laid out as CheXpert's test.csv" in note for note in found["notes"])
    assert (found["unit"], found["n"], found["patients"]) == ("study", 120, 120)
    assert sorted(found["labels"]) == sorted(FIVE)
    for label, figures in found["labels"].items():
        assert figures["auroc"] == pytest.approx(roc_auc_score(truth[label], scores[label]))
        assert figures["threshold"] is None
    assert found["references"]["same"] == []
    assert all("not CheXpert" in reference["why"] for reference in found["references"]["other"])


def test_several_files_are_compared_and_averaged(tables):
    found = scored(tables, "a", "b").as_json()
    assert [one["run"] for one in found["results"]] == ["a.csv", "b.csv", "mean of 2 files"]
    both = [pd.read_csv(tables / f"{name}.csv").set_index("Study") for name in "ab"]
    truth = pd.read_csv(tables / "groundtruth.csv").set_index("Study")
    mean = (both[0] + both[1]) / 2
    expected = roc_auc_score(truth["Edema"], mean["Edema"].loc[truth.index])
    assert found["results"][2]["labels"]["Edema"]["auroc"] == pytest.approx(expected)
    apart = found["differences"][0]
    assert (apart["run"], apart["baseline"]) == ("b.csv", "a.csv")
    means = [one["mean_auroc"] for one in found["results"]]
    assert apart["mean"]["auroc"] == pytest.approx(means[1] - means[0])
    assert apart["mean"]["auroc_ci"][1] < 0


def test_scores_of_any_range_give_the_same_auroc_and_a_mean_of_ranks(tables):
    plain = scored(tables, "a", "b").as_json()["results"]
    frame = pd.read_csv(tables / "a.csv")
    frame[FIVE] = frame[FIVE].rank()
    frame.to_csv(tables / "ranks.csv", index=False)
    found = scored(tables, "ranks", "b").as_json()["results"]
    for label in FIVE:
        assert found[0]["labels"][label]["auroc"] == plain[0]["labels"][label]["auroc"]
        assert found[0]["labels"][label]["brier"] is None
        assert found[2]["labels"][label]["auroc"] > plain[1]["labels"][label]["auroc"]
    with pytest.raises(DataError, match=r"calibrated|probabilit"):
        scored(
            tables,
            "ranks",
            valid_predictions=[tables / "ranks.csv"],
            calibrate="temperature",
        )


def test_thresholds_come_from_valid_predictions(tables):
    truth, scores = (pd.read_csv(tables / name) for name in ("groundtruth.csv", "a.csv"))
    held_out = truth["Study"][:60]
    truth[~truth["Study"].isin(held_out)].to_csv(tables / "groundtruth.csv", index=False)
    pd.read_csv(tables / "groundtruth.csv")
    valid_truth = tables / "valid_truth.csv"
    truth[truth["Study"].isin(held_out)].to_csv(valid_truth, index=False)
    found = scored(
        tables,
        "a",
        valid_predictions=[tables / "a.csv"],
        valid_truth=valid_truth,
        operating_point="sensitivity=0.9",
    ).as_json()
    assert found["operating_point"] == {"rule": "sensitivity=0.9", "chosen_on": "valid"}
    of_valid = scores.set_index("Study").loc[held_out, "Edema"]
    positive = truth.set_index("Study").loc[held_out, "Edema"] == 1
    threshold = found["labels"]["Edema"]["threshold"]
    assert (of_valid[positive] >= threshold).mean() >= 0.9
    assert (of_valid[positive] > threshold).mean() < 0.9
    assert found["warnings"] == [] or "chosen on" not in found["warnings"][0]
    seen = scored(tables, "a", valid_predictions=[tables / "a.csv"]).as_json()
    assert any("too good" in warning for warning in seen["warnings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth": None}, "--truth"),
        ({"run": "tiny"}, "leave the run out"),
        ({"keep": True}, "there is none"),
        ({"operating_point": "f1"}, "--valid-predictions"),
        ({"calibrate": "platt"}, "--valid-predictions"),
        ({"valid_predictions": [Path("x.csv")] * 2}, "give one each"),
        ({"split": "valid"}, "--split goes with a run"),
        ({"valid_truth": Path("x.csv")}, "--valid-truth goes with"),
        ({"force": True}, "name a folder"),
        ({"report": False}, "name a folder"),
        ({"aggregate": "max"}, "--unit study"),
        ({"by": "sex"}, "--by sex: the truth has no column"),
        ({"device": "cpu"}, "--device goes with a run"),
        ({"batch_size": 7}, "--batch-size goes with a run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tables, options, message):
    with pytest.raises(UsageError, match=message):
        scored(tables, "a", **options)


def test_a_name_is_not_a_group_where_others_are(tables):
    truth = pd.read_csv(tables / "groundtruth.csv").assign(site="a")
    truth.to_csv(tables / "groundtruth.csv", index=False)
    with pytest.raises(UsageError, match="'sex' is not known: there are site"):
        scored(tables, "a", by="sex")


def test_what_was_not_aggregated_is_not_said_to_be(tables):
    assert scored(tables, "a").as_json()["aggregate"] is None


def test_thresholds_of_another_scale_are_refused(tables):
    frame = pd.read_csv(tables / "a.csv")
    frame[FIVE] = np.log(frame[FIVE] / (1 - frame[FIVE]))
    frame.to_csv(tables / "logits.csv", index=False)
    for one, other in (("a", "logits"), ("logits", "a")):
        with pytest.raises(DataError, match=rf"{other}\.csv: its scores .* on one scale"):
            scored(tables, one, valid_predictions=[tables / f"{other}.csv"])
    found = scored(tables, "logits", valid_predictions=[tables / "logits.csv"]).as_json()
    assert found["labels"]["Edema"]["sensitivity"] > 0


def test_what_could_not_be_chosen_or_fitted_is_told(tables):
    truth = pd.read_csv(tables / "groundtruth.csv")
    truth.assign(Edema=0).to_csv(tables / "valid_truth.csv", index=False)
    options = {
        "valid_predictions": [tables / "a.csv"],
        "valid_truth": tables / "valid_truth.csv",
    }
    found = scored(tables, "a", **options, calibrate="platt").as_json()
    assert found["labels"]["Edema"]["threshold"] is None
    [told] = [text for text in found["warnings"] if "no threshold" in text]
    assert told.startswith("no threshold for Edema (valid: no positive)")
    [told] = [text for text in found["warnings"] if "platt" in text]
    assert told.startswith("platt left the probabilities of Edema as they were: ")
    # Of 120 studies none has 100 positives.
    found = scored(tables, "a", **options, calibrate="isotonic").as_json()
    told = [text for text in found["warnings"] if text.startswith("isotonic left")]
    assert all(any(label in text for text in told) for label in FIVE)


def test_where_nothing_has_both_classes_it_is_told(tables):
    truth = pd.read_csv(tables / "groundtruth.csv")
    truth.assign(**dict.fromkeys(CHEXPERT_LABELS, 0)).to_csv(
        tables / "groundtruth.csv", index=False
    )
    found = scored(tables, "a").as_json()
    assert found["mean_auroc"] is None
    assert found["warnings"] == [
        "no label has both a positive and a negative here: there is nothing to score"
    ]


@pytest.mark.parametrize("number", ["1", "99", "-5", "1000000000"])
def test_draws_that_give_no_interval_are_refused(tables, number):
    words = ["--predictions", str(tables / "a.csv"), "--truth", str(tables / "groundtruth.csv")]
    done = CliRunner().invoke(app, ["evaluate", *words, "--bootstrap", number])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, ["evaluate", *words, "--bootstrap", "0"])
    assert "no intervals, 120 patients" in done.output


def test_only_an_output_folder_is_written(tables, monkeypatch):
    before = sorted(tables.rglob("*"))
    scored(tables, "a")
    assert sorted(tables.rglob("*")) == before
    found = scored(tables, "a", output=tables / "out")
    assert (tables / "out" / "report.html") in found.written
    page = (tables / "out" / "report.html").read_text()
    assert "a.csv" in page
    assert str(tables) not in page
    written = json.loads((tables / "out" / "metrics.json").read_text())
    assert written["mean_auroc"] == found.results[0].mean_auroc.value
    with pytest.raises(DataError, match="not empty"):
        scored(tables, "a", output=tables / "out")
    scored(tables, "a", output=tables / "plain", report=False)
    assert {path.suffix for path in (tables / "plain").iterdir()} == {".json", ".csv"}


def test_tables_are_compared_with_nothing_else_at_hand(tables):
    files = [str(tables / "a.csv"), str(tables / "b.csv")]
    config = CompareConfig(truth=tables / "groundtruth.csv", bootstrap=100, output=tables / "out")
    found = compare_runs(config, files, None, seed=1)
    assert list(found.tables) == ["aurocs", "other_references", "differences"]
    for name in ("aurocs.tex", "aurocs.md", "differences.csv", "compare.json", "aurocs.png"):
        assert (tables / "out" / name).stat().st_size > 100
    with pytest.raises(UsageError, match="named twice"):
        compare_runs(config, files[:1] * 2, None, seed=1)
    with pytest.raises(UsageError, match="cannot be mixed"):
        compare_runs(config, [files[0], "tiny"], None, seed=1)


def test_a_run_is_compared_as_it_is_evaluated(trained):
    config = CompareConfig(bootstrap=100, device="cpu", precision="fp32", workers=0)
    found = compare_runs(config, ["tiny"], trained.workspace, seed=1)
    alone = evaluate_run(
        EvaluateConfig(run="tiny", bootstrap=100, report=False), trained.workspace, seed=1
    )
    for label, figures in found.results[0].labels.items():
        assert figures.auroc.value == alone.labels[label].auroc.value
        assert figures.auroc.interval == alone.labels[label].auroc.interval
    assert found.differences == []


def write_fold(trained, name, fold):
    """A copy of the finished run that was trained without the fold, with scores of it."""
    run = RunFolder(trained.workspace.runs / name)
    copy_folder(trained.workspace.runs / "tiny", run.path)
    manifest = read_manifest(trained.workspace.manifest)
    parts = read_split(trained.workspace.split, manifest, fold)
    patients = {p: sorted(set(manifest["patient_id"][parts == p])) for p in ("train", "valid")}
    write_json(run.patients, patients)
    # Its pictures are the ones of the run that was copied: known by ids, as runs without them are.
    run.pictures.unlink()
    guarded = dict.fromkeys(path.name for path in (run.weights, run.labels, run.patients))
    change_model(run, fold=fold, split_sha256=sha256(trained.workspace.split), sha256=guarded)
    run.predictions("valid").unlink()


class Notes(Listening):
    """A reporter that keeps the notes too."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_folds_are_told_that_their_images_differ_and_not_to_change_the_policy(trained):
    split_manifest(SplitConfig(folds=2, force=True), trained.workspace, seed=1)
    for fold in (0, 1):
        write_fold(trained, f"f{fold}", fold)
    config = CompareConfig(split="valid", bootstrap=0, device="cpu", precision="fp32", workers=0)
    listening = Notes()
    found = compare_runs(config, ["f0", "f1"], trained.workspace, seed=1, reporter=listening)
    assert found.differences == []
    told = [text for text in listening.notes if "no difference is taken" in text]
    assert len(told) == 1
    assert "1 pair of 1: the images differ" in told[0]
    assert "--split test" in told[0]
    assert not any("--uncertainty" in text for text in listening.notes)


def test_one_network_under_two_policies_is_told_of_the_policy(trained):
    copy_folder(trained.workspace.runs / "tiny", trained.workspace.runs / "zeros")
    run = RunFolder(trained.workspace.runs / "zeros")
    labels = json.loads(run.labels.read_text())
    write_json(run.labels, {**labels, "uncertainty": "zeros"})
    change_model(run)
    told = {}
    for policy in (None, "ones"):
        listening = Notes()
        config = CompareConfig(
            uncertainty=policy, bootstrap=0, device="cpu", precision="fp32", workers=0
        )
        compare_runs(config, ["tiny", "zeros"], trained.workspace, seed=1, reporter=listening)
        told[policy] = [text for text in listening.notes if "no difference is taken" in text]
    assert len(told[None]) == 1
    assert "--uncertainty POLICY" in told[None][0]
    assert told["ones"] == []


def test_compare_warns_of_few_positives_as_evaluate_does(trained, tables):
    listening = Listening()
    config = CompareConfig(bootstrap=0, device="cpu", precision="fp32", workers=0)
    compare_runs(config, ["tiny"], trained.workspace, seed=1, reporter=listening)
    alone = Listening()
    evaluate(trained, reporter=alone)
    few = [text for text in alone.warnings if "patients with a positive" in text]
    assert few
    assert set(few) <= set(listening.warnings)
    truth = pd.read_csv(tables / "groundtruth.csv")
    truth["Edema"] = (np.arange(len(truth)) < 3).astype(int)
    truth.to_csv(tables / "groundtruth.csv", index=False)
    listening = Listening()
    files = [str(tables / "a.csv"), str(tables / "b.csv")]
    config = CompareConfig(truth=tables / "groundtruth.csv", bootstrap=0)
    compare_runs(config, files, None, seed=1, reporter=listening)
    told = [text for text in listening.warnings if "patients with a positive" in text]
    assert len(told) == 1  # of both tables, once
    assert "Edema" in told[0]


def evaluate(trained, *, reporter=SILENT, **options):
    values = {"run": "tiny", "bootstrap": 0, "report": False, "workers": 0, "device": "cpu"}
    config = EvaluateConfig(**{**values, **options})
    return evaluate_run(config, trained.workspace, seed=1, reporter=reporter)


@pytest.mark.parametrize("policy", ["ones", "zeros", "ignore"])
def test_points_are_chosen_under_the_policy_of_the_training_whatever_is_scored(trained, policy):
    stored = read_card(RunFolder(trained.workspace.runs / "tiny")).operating_points["f1"]
    found = evaluate(trained, operating_point="f1", uncertainty=policy)
    assert {label: of.threshold for label, of in found.labels.items()} == stored


def test_an_operating_point_is_stored_and_only_kept_if_asked(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    before = read_card(run)
    assert set(before.operating_points) == {"youden", "f1"}
    assert before.thresholds == before.operating_points["youden"]
    found = evaluate(trained, operating_point="specificity=0.8")
    assert found.operating_point.rule == Rule("specificity", 0.8)
    stored = read_card(run)
    assert stored.thresholds == before.thresholds
    assert stored.operating_points["specificity=0.8"] == {
        label: figures.threshold for label, figures in found.labels.items()
    }
    evaluate(trained, operating_point="specificity=0.8", keep=True)
    kept = read_card(run)
    assert kept.operating_point == "specificity=0.8"
    assert kept.thresholds == stored.operating_points["specificity=0.8"]
    assert evaluate(trained).operating_point.rule == Rule("specificity", 0.8)
    values = json.loads(run.thresholds.read_text())
    values["thresholds"]["Edema"] = 0.125
    run.thresholds.write_text(json.dumps(values))
    edited = evaluate(trained)
    assert edited.labels["Edema"].threshold == 0.125
    told = str(edited.operating_point)
    assert told == "specificity=0.8, edited by hand for Edema"
    with pytest.raises(UsageError, match="say what to keep"):
        evaluate(trained, keep=True)
    with pytest.raises(UsageError, match="scores images"):
        evaluate(trained, keep=True, operating_point="f1", unit="study")


def test_a_stored_rule_that_is_unknown_is_named_with_what_to_do(trained):
    card = read_card(RunFolder(trained.workspace.runs / "tiny"))
    told = r"thresholds\.json: .*best.*--operating-point youden --keep"
    with pytest.raises(RunError, match=told):
        stored_point(replace(card, operating_point="best"))
    edited = stored_point(replace(card, edited=("Edema",))).chosen
    assert (edited.rule, edited.edited) == (Rule("youden"), ("Edema",))


def test_a_calibration_changes_probabilities_and_no_rank_nor_decision(trained):
    from cxrtool.core.config import PredictConfig
    from cxrtool.workflows.predict import predict_images

    plain = evaluate(trained)
    image = trained.data / json.loads(json.dumps(sorted(trained.data.rglob("*.jpg"))[0].as_posix()))
    config = PredictConfig(run=["tiny"], device="cpu", precision="fp32", workers=0)
    before = predict_images(config, [str(image)], trained.workspace).table.iloc[0]
    found = evaluate(trained, calibrate="platt", keep=True)
    fitted = found.calibration.labels
    told = found.calibration.left_out
    assert set(fitted) | set(told) == set(found.labels)
    for label, figures in found.labels.items():
        assert figures.auroc.value == plain.labels[label].auroc.value
        assert figures.sensitivity.value == plain.labels[label].sensitivity.value
        assert (figures.brier != plain.labels[label].brier) == (label in fitted)
    after = predict_images(config, [str(image)], trained.workspace).table.iloc[0]
    assert after["positive"] == before["positive"]
    for label in found.labels:
        assert (after[label] != before[label]) == (label in fitted)
    assert evaluate(trained).calibration.method == "platt"
    evaluate(trained, calibrate="none", keep=True)
    assert evaluate(trained).calibration is None


@pytest.mark.parametrize("option", ["truth", "valid_truth", "output"])
def test_what_belongs_to_tables_is_refused_for_a_run(trained, tmp_path, option):
    with pytest.raises(UsageError, match="goes with --predictions"):
        evaluate(trained, **{option: tmp_path / "x"})


def test_studies_have_thresholds_of_their_own_and_a_file_of_their_own(trained):
    images = evaluate(trained)
    found = evaluate(trained, unit="study", aggregate="max")
    assert found.n < images.n
    run = RunFolder(trained.workspace.runs / "tiny")
    assert run.metrics("test-study-max").is_file()
    assert "youden, study max" in read_card(run).operating_points
    assert json.loads(run.metrics("test").read_text())["unit"] == "image"


def test_without_valid_predictions_a_rule_cannot_be_chosen(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    run.predictions("valid").unlink()
    evaluate(trained)
    with pytest.raises(RunError, match=r"valid\.csv is missing"):
        evaluate(trained, operating_point="f1")


def test_the_page_is_whole_and_names_no_path(trained):
    found = evaluate(trained, report=True, bootstrap=100)
    page = Path(found.written[0])
    assert page.name == "report.html"
    text = page.read_text()
    assert str(trained.workspace.folder) not in text
    assert str(trained.data) not in text
    assert "not a medical device" in text.lower()
    for label in CHEXPERT_LABELS:
        assert label in text


def test_commands_print_json_and_tables(tables):
    runner = CliRunner()
    words = ["--predictions", str(tables / "a.csv"), "--truth", str(tables / "groundtruth.csv")]
    done = runner.invoke(app, ["evaluate", *words, "--bootstrap", "100", "--json", "-q"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["n"] == 120
    words = [str(tables / "a.csv"), str(tables / "b.csv"), "--truth", words[-1]]
    for table, shown in (("latex", "\\begin{table}"), ("markdown", "| label |"), ("text", "Edema")):
        done = runner.invoke(app, ["compare", *words, "--bootstrap", "100", "--table", table])
        assert done.exit_code == 0
        assert shown in done.stdout
        if table == "text":
            assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_tables_of_one_name_in_two_folders_get_a_folder_each(tables):
    for folder in ("x", "y"):
        (tables / folder).mkdir()
        (tables / folder / "my scores.csv").write_bytes((tables / "a.csv").read_bytes())
    scored(tables, "x/my scores", "y/my scores", output=tables / "out", report=False)
    found = {path.parent.name for path in (tables / "out").rglob("metrics.json")}
    assert found == {"x-my-scores", "y-my-scores", "mean-of-2-files"}
    scored(tables, "a", "x/my scores", output=tables / "other", report=False)
    assert {path.name for path in (tables / "other").iterdir() if path.is_dir()} == {
        *("a", "my-scores", "mean-of-2-files")
    }
