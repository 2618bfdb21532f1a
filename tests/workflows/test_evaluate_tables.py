"""Anybody's predictions against anybody's labels, and comparisons of runs and of tables."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.workflows.evaluate_tables import evaluate_tables
from tests.support.evaluating_tables import FIVE, evaluate


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


def test_readers_stand_beside_a_model_in_json_and_on_the_page(tables):
    truth = pd.read_csv(tables / "groundtruth.csv")
    truth.to_csv(tables / "Ada.csv", index=False)
    (1 - truth[FIVE]).assign(Study=truth["Study"]).to_csv(tables / "Bea.csv", index=False)
    names = [tables / "Ada.csv", tables / "Bea.csv"]
    found = scored(tables, "a", readers=names, output=tables / "out")
    readers = found.as_json()["readers"]
    assert readers["names"] == ["Ada", "Bea"]
    assert sorted(readers["labels"]) == sorted(FIVE)
    ada, bea = (readers["labels"]["Edema"]["readers"][name] for name in ("Ada", "Bea"))
    assert (ada["sensitivity"], ada["specificity"]) == (1, 1)
    assert (bea["sensitivity"], bea["specificity"]) == (0, 0)
    assert ada["difference"] < 0 < bea["difference"]
    assert readers["labels"]["Edema"]["kappa"] < 0
    page = (tables / "out" / "report.html").read_text()
    assert "<b>5 of 10</b> points of 2 readers lie above" in page
    assert "readers" not in scored(tables, "a").as_json()


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
        ({"calibrate": "prior"}, "--calibrate prior is of a run"),
        ({"prevalence": "Edema=0.1"}, "give --calibrate platt"),
        ({"prevalence": "Edema=0.1", "calibrate": "none"}, "give --calibrate platt"),
        ({"prevalence": "Edema=0.1", "calibrate": "platt"}, "--valid-predictions"),
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


def test_probabilities_of_a_table_are_moved_from_the_prevalence_of_its_valid_rows(tables):
    options = {"valid_predictions": [tables / "a.csv"], "calibrate": "platt"}
    plain = scored(tables, "a", **options).as_json()["labels"]
    found = scored(
        tables,
        "a",
        "b",
        **{**options, "valid_predictions": [tables / "a.csv"] * 2},
        prevalence="Edema=0.02",
    ).as_json()["results"]
    for one in (found[0]["labels"]["Edema"], found[2]["labels"]["Edema"]):
        assert one["target_prevalence"] == 0.02
        low, high = one["target_ppv_ci"]
        assert 0 < low < one["target_ppv"] < high < 1
    edema, before = found[0]["labels"]["Edema"], plain["Edema"]
    truth = pd.read_csv(tables / "groundtruth.csv")["Edema"].mean()
    moved = np.log(0.02 / 0.98) - np.log(truth / (1 - truth))
    intercept = before["calibration_intercept"] - moved
    assert edema["calibration_intercept"] == pytest.approx(intercept, abs=1e-3)
    assert (edema["auroc"], edema["ppv"]) == (before["auroc"], before["ppv"])
    others = [label for label in plain if label != "Edema"]
    assert all(found[0]["labels"][label] == plain[label] for label in others)
    with pytest.raises(UsageError, match="'Edma' is not known: did you mean Edema"):
        scored(tables, "a", **options, prevalence="Edma=0.1")


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


@pytest.mark.parametrize("option", ["truth", "valid_truth", "output"])
def test_what_belongs_to_tables_is_refused_for_a_run(trained, tmp_path, option):
    with pytest.raises(UsageError, match="goes with --predictions"):
        evaluate(trained, **{option: tmp_path / "x"})


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
