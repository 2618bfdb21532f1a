"""Ranks come from logits, and labels whose scores are no scale are told and have no threshold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.json_files import read_json
from cxrtool.core.runs import RunFolder
from cxrtool.data.logits import logits_of, mean_logits, probabilities_of
from cxrtool.evaluation.operating_points import choose_point, fit_calibration
from cxrtool.evaluation.sample import by_study
from cxrtool.evaluation.saturation import (
    DECISIONS,
    EQUAL,
    Collapses,
    collapse_of,
    collapse_warnings,
)
from cxrtool.evaluation.scoring import assess
from cxrtool.evaluation.thresholds import Rule
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.evaluate_tables import evaluate_tables
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening
from tests.support.samples_of import QUICK, sample_of


def test_a_saturated_network_scores_the_same_in_training_and_in_evaluate(prepared):
    trained = train_model(replace(TINY, name="sat", lr=10.0), prepared, seed=42)
    run = RunFolder(prepared.runs / "sat")
    told = Listening()
    config = EvaluateConfig(run="sat", split="valid", force=True, **QUICK)
    found = evaluate_run(config, prepared, seed=1, reporter=told)
    assert found.mean_auroc.value == pytest.approx(trained.valid_mean_auroc, abs=1e-12)
    history = pd.read_csv(run.history).set_index("epoch")
    for label, figures in found.labels.items():
        assert figures.auroc.value == pytest.approx(history[label].iloc[trained.best_epoch - 1])
    # By what float32 makes of the probabilities it is another number, or none.
    table = pd.read_csv(run.predictions("valid"))
    saturated = [
        label
        for label in found.labels
        if collapse_of(table[label], table[f"{label}:logit"]).startswith("it is saturated")
    ]
    assert saturated
    assert any(
        table[label].astype(np.float32).nunique() < table[f"{label}:logit"].nunique()
        for label in saturated
    )
    thresholds, without = (read_json(run.thresholds)[key] for key in ("thresholds", "without"))
    for label in saturated:
        assert thresholds[label] is None
        assert "it is saturated" in without[label]
    assert any("saturated: most probabilities" in text for text in told.warnings)
    assert any("no threshold for" in text and saturated[0] in text for text in told.warnings)


def test_ranks_are_those_of_logits_where_probabilities_are_all_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(600, 100, (200, 2))
    targets = rng.random((200, 2)) < probabilities_of((logits - 600) / 50)
    sample = sample_of(logits, targets)
    assert (sample.scores == 1).all()
    found = assess(sample, np.full(2, np.nan), None)
    plain = assess(sample_of((logits - 600) / 100, targets), np.full(2, np.nan), None)
    for label in sample.labels:
        assert found.labels[label].auroc == plain.labels[label].auroc
        assert found.labels[label].auprc == plain.labels[label].auprc
        assert found.labels[label].auroc.value > 0.7


def test_a_studys_logit_is_that_of_its_mean_probability_also_where_it_is_one():
    rng = np.random.default_rng(1)
    logits, study = rng.normal(0, 3, (60, 2)), np.repeat(np.arange(20), 3)
    expected = logits_of(
        np.stack([probabilities_of(logits[study == n]).mean(0) for n in range(20)])
    )
    assert mean_logits(logits, study, 20) == pytest.approx(expected)
    sample = replace(sample_of(logits, logits > 0, study), studies=study.astype(str))
    for aggregate in ("mean", "max"):
        merged = by_study(sample, aggregate)
        assert probabilities_of(merged.logits) == pytest.approx(merged.scores)
    high = by_study(replace(sample, logits=logits + 900, scores=np.ones((60, 2))), "mean")
    order = [int(key) for key in high.keys]
    least = np.array([logits[study == n].min(axis=0) for n in order])
    # Of shares all but 1, that of 1 - p counts: the mean hangs on the least sure image.
    assert np.corrcoef(high.logits[:, 0], least[:, 0])[0, 1] > 0.95
    assert len(np.unique(high.logits)) == high.logits.size


@pytest.mark.parametrize(
    ("logits", "known", "expected"),
    [
        ([3.0] * 30, True, EQUAL),
        ([900.0] * 15 + [-900.0] * 15, False, DECISIONS),
        ([900.0] * 15 + [-900.0] * 15, True, "it is saturated: 30 of 30"),
        ([20.0] * 15 + list(range(-15, 0)), True, "it is saturated: 15 of 30"),
        ([20.0] * 14 + list(range(-16, 0)), True, ""),
        ([-12.0, -11.0] * 15, True, ""),
    ],
)
def test_scores_that_are_no_scale_are_told_from_those_that_are(logits, known, expected):
    values = np.array(logits)
    found = collapse_of(probabilities_of(values), values if known else None)
    assert found.startswith(expected) if expected else found == ""
    rows = Collapses(1)
    for value in logits:
        rows.add([value])
    if known:
        assert rows.found(least=10) == [found]
        assert rows.found(least=31) == [""]
    sample = sample_of(values[:, None], np.arange(30)[:, None] % 2 == 0, known=known)
    point = choose_point(Rule("youden"), sample, "valid")
    assert np.isnan(point.thresholds[0]) == bool(expected)
    assert bool(point.without) == bool(expected)
    left_out = fit_calibration("platt", sample, "valid").left_out
    assert ("label 0" in left_out and left_out["label 0"] == found) or not expected
    assert len(collapse_warnings({"label 0": found})) == bool(expected)


def test_decisions_that_are_given_as_scores_are_told(tmp_path):
    rng = np.random.default_rng(3)
    truth = pd.DataFrame({"path": [f"{n}.png" for n in range(60)]})
    for label in ("Edema", "Fracture"):
        truth[label] = rng.integers(0, 2, 60)
    truth.to_csv(tmp_path / "truth.csv", index=False)
    given = truth.assign(Edema=rng.integers(0, 2, 60), Fracture=rng.random(60))
    given.to_csv(tmp_path / "given.csv", index=False)
    told = Listening()
    config = EvaluateConfig(
        predictions=[tmp_path / "given.csv"], truth=tmp_path / "truth.csv", bootstrap=0
    )
    result = evaluate_tables(config, seed=1, reporter=told).results[0]
    warned = [text for text in told.warnings if "only 0 and 1: decisions" in text]
    assert [text.split(":")[0] for text in warned] == ["Edema"]
    assert set(warned) <= set(result.warnings)
    # Truth and scores in one table of a run: ranks are those of its logits.
    odds = rng.normal(900, 50, 60)
    ours = given.assign(Fracture=1.0, Edema=1.0)
    ours["Edema:logit"], ours["Fracture:logit"] = odds, odds[::-1]
    ours.to_csv(tmp_path / "ours.csv", index=False)
    config = replace(config, predictions=[tmp_path / "ours.csv"])
    figures = evaluate_tables(config, seed=1).results[0].labels
    plain = given.assign(Edema=odds, Fracture=odds[::-1])
    plain.to_csv(tmp_path / "plain.csv", index=False)
    config = replace(config, predictions=[tmp_path / "plain.csv"])
    expected = evaluate_tables(config, seed=1).results[0].labels
    assert {label: one.auroc.value for label, one in figures.items()} == {
        label: one.auroc.value for label, one in expected.items()
    }
