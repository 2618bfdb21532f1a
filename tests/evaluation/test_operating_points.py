"""Where no threshold can be chosen, and thresholds of before."""

import json

import numpy as np
import pytest

from cxrtool.core import run_cards
from cxrtool.core.config import EvaluateConfig
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.evaluation import intervals as intervals
from cxrtool.evaluation import operating_points as points
from cxrtool.evaluation.operating_points import choose_point
from cxrtool.evaluation.thresholds import Rule
from cxrtool.workflows.evaluate import evaluate_run
from tests.conftest import Listening
from tests.support.samples_of import QUICK, sample_of


@pytest.mark.parametrize(("patients", "chosen"), [(9, False), (10, True)])
@pytest.mark.parametrize("of_class", ["positive", "negative"])
def test_no_threshold_is_chosen_among_too_few_patients_of_a_class(
    monkeypatch, patients, chosen, of_class
):
    monkeypatch.setattr(points, "LEAST_PATIENTS", 10)
    rare = np.arange(400) < 100
    # A hundred images of the rarer class are of so many patients.
    whom = np.where(rare, np.arange(400) % patients, np.arange(400))
    logits = np.random.default_rng(2).normal(0, 1, (400, 1))
    sample = sample_of(logits, (rare == (of_class == "positive"))[:, None], whom)
    point = choose_point(Rule("f1"), sample, "valid")
    assert np.isnan(point.thresholds[0]) != chosen
    told = {} if chosen else {"label 0": f"valid has {patients} patients with a {of_class}"}
    assert point.without == told


def test_runs_of_version_0_1_are_judged_by_the_same_number_of_images():
    assert run_cards.LEAST_PATIENTS == intervals.LEAST_PATIENTS == 10


def test_thresholds_of_version_0_1_stay_and_those_of_few_images_are_told(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    stored = json.loads(run.thresholds.read_text())
    assert read_card(run).without == {}
    for file, keys in (
        (run.thresholds, ("without", "weights_sha256", "sealed")),
        (run.model, ("sealed", "identity")),
    ):
        values = {key: value for key, value in read_json(file).items() if key not in keys}
        write_json(file, {key: value for key, value in values.items() if key != "format"})
    card = read_card(run)
    assert card.thresholds == stored["thresholds"]
    counts, images = read_json(run.labels)["train"], read_json(run.model)["images"]["valid"]
    for label, counted in counts.items():
        expected = round(images * counted["positives"] / counted["n"])
        assert (label in card.without) == (expected < 10)
        assert f"valid had about {expected} positive" in card.without[label]
    told = Listening()
    config = EvaluateConfig(run="tiny", split="test", **QUICK)
    evaluate_run(config, trained.workspace, seed=1, reporter=told)
    assert any(text.startswith("thresholds that say little: ") for text in told.warnings)


def test_where_patients_are_few_too_scores_that_are_no_scale_are_the_reason(monkeypatch):
    """More patients would not mend it, and whoever predicts with the run has to know."""
    monkeypatch.setattr(points, "LEAST_PATIENTS", 10)
    sample = sample_of([[40.0, 0.1], [39.0, 0.2], [-41.0, 0.3]], [[1, 1], [0, 0], [0, 0]])
    point = choose_point(Rule("youden"), sample, "valid")
    assert "saturated" in point.without["label 0"]
    assert "1 patient with a positive" in point.without["label 1"]
