"""What weighted sampling does to probabilities is told where they are read, once, until mended."""

import re
import shlex
from dataclasses import replace

import pytest

from cxrtool.core.config import EvaluateConfig, PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.run_cards import (
    calibration_words,
    prevalence_remark,
    read_card,
    sampling_remark,
    shifted_labels,
)
from cxrtool.core.runs import RunFolder
from cxrtool.gui.model_card import facts_of_run
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.predict import predict_images
from tests.conftest import TINY, Listening
from tests.support.calling import call

ADVICE = "evaluate tiny --calibrate platt --keep"


def advised(texts):
    return [text for text in texts if ADVICE in text]


def predicted(trained):
    """The warnings of `predict` on an image."""
    image = next(trained.data.rglob("*.jpg"))
    listening = Listening()
    predict_images(PredictConfig(workers=0), [str(image)], trained.workspace, listening)
    return advised(listening.warnings)


def evaluated(trained, **given):
    """The warnings of `evaluate`, heard and in its result."""
    listening = Listening()
    config = EvaluateConfig(split="valid", bootstrap=0, report=False, workers=0, **given)
    result = evaluate_run(config, trained.workspace, seed=1, reporter=listening)
    return advised(listening.warnings), advised(result.warnings)


def test_only_shares_that_clearly_differ_count():
    shares = {"more": (0.01, 0.08), "less": (0.3, 0.2), "as it is": (0.3, 0.33), "none": (0, 0)}
    assert shifted_labels(shares) == ("more", "less")


def test_predict_evaluate_and_the_page_say_it_once_until_the_run_is_calibrated(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    assert read_card(run).shifted
    assert len(predicted(trained)) == 1
    heard, kept = evaluated(trained)
    assert (len(heard), len(kept)) == (1, 1)
    assert len(advised(facts_of_run(run, "cpu").warnings)) == 1
    assert evaluated(trained, calibrate="platt", keep=True) == ([], [])
    assert predicted(trained) == []
    assert evaluated(trained) == ([], [])
    assert advised(facts_of_run(run, "cpu").warnings) == []


def test_a_temperature_does_not_mend_base_rates(trained_once):
    run = RunFolder(trained_once.workspace.runs / trained_once.run)
    card = read_card(run)
    assert sampling_remark(run, replace(card, calibration={"method": "temperature"}))
    assert sampling_remark(run, replace(card, calibration={"method": "isotonic"})) is None
    assert sampling_remark(run, replace(card, shifted=())) is None


@pytest.mark.parametrize(("sampling", "told"), [("weighted", True), ("uniform", False)])
def test_a_run_of_version_0_1_is_known_by_its_settings(trained_once, tmp_path, sampling, told):
    card = read_card(RunFolder(trained_once.workspace.runs / trained_once.run))
    run = RunFolder(tmp_path)
    run.config.write_text(f"sampling: {sampling}\n")
    assert (sampling_remark(run, replace(card, shifted=None)) is not None) == told
    run.config.unlink()
    assert sampling_remark(run, replace(card, shifted=None)) is None


@pytest.mark.usefixtures("quick_training")
def test_training_says_it_at_its_end_and_not_of_uniform_sampling(prepared, monkeypatch):
    from cxrtool.workflows.train import train_model

    notes = []
    reporter = Reporter(progress=False)
    monkeypatch.setattr(reporter, "note", notes.append)
    config = replace(TINY, epochs=1, limit=48)
    train_model(replace(config, name="tiny"), prepared, seed=1, reporter=reporter)
    assert advised(notes) == notes[-1:]
    train_model(replace(config, sampling="uniform"), prepared, seed=1, reporter=reporter)
    assert len(advised(notes)) == 1


@pytest.mark.parametrize("folder", ["elsewhere", "two words"])
def test_the_advised_command_is_complete_and_ends_the_advice(trained, folder, tmp_path):
    place = trained.workspace.folder.rename(tmp_path / folder)
    asked = ["evaluate", trained.run, "--bootstrap", 0, "--no-report", "-w", place]
    command = shlex.split(re.search(rf"`cxrtool ({ADVICE}[^`]*)`", call(*asked).stderr)[1])
    done = call(*command, "--bootstrap", 0, "--no-report")
    assert done.exit_code == 0, done.stderr
    assert advised([call(*asked).stderr]) == []


def test_where_probabilities_are_moved_to_is_told_until_it_is_taken_back(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    workspace = trained.workspace
    label = read_card(run).labels[0]
    moved = EvaluateConfig(run=trained.run, prevalence=f"{label}=0.02", keep=True, bootstrap=0)
    evaluate_run(moved, workspace, seed=0)
    stored = read_card(run).calibration
    assert calibration_words(stored) == f"prior, moved to prevalences of {label} 2 %"
    assert f"moved to prevalences of {label} 2 %" in prevalence_remark("a", stored)
    shown = " ".join(value for _, value in facts_of_run(run, "cpu").rows)
    assert f"calibrated (prior, moved to prevalences of {label} 2 %)" in shown
    evaluate_run(replace(moved, prevalence="none"), workspace, seed=0)
    stored = read_card(run).calibration
    assert calibration_words(stored) == "prior"
    assert prevalence_remark("a", stored) is None
    assert calibration_words(None) == "none"
    assert calibration_words({"labels": {}}) == "not known"
