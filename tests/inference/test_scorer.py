"""A model scores, with its thresholds and its calibration."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from cxrtool.core.runs import RunFolder
from cxrtool.inference.ensemble import Ensemble
from cxrtool.workflows.predict import predict_images
from tests.conftest import Listening
from tests.support.copies import copy_folder
from tests.support.ensembles import rows, scorer
from tests.support.predicting import CPU, LABELS, predict
from tests.support.sealing import change_model, change_thresholds


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]


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


def test_the_same_run_twice_is_one_model_and_two_are_their_mean(trained, images):
    plain = predict(trained, images)
    assert predict(trained, images, run=["tiny", "tiny"]).table.equals(plain.table)
    copy_folder(trained.workspace.runs / "tiny", trained.workspace.runs / "copy")
    both = predict(trained, images, run=["tiny", "copy"])
    assert both.model == "tiny + copy"
    assert np.abs(both.table[LABELS].to_numpy() - plain.table[LABELS].to_numpy()).max() < 1e-6


class Halved:
    """A calibration that halves."""

    def of_scores(self, labels, scores):
        return scores / 2

    def of_thresholds(self, labels, thresholds):
        return thresholds / 2


def test_a_calibration_moves_probabilities_and_thresholds_and_no_decision(files):
    plain = Ensemble(members=(scorer(),))
    calibrated = Ensemble(members=(scorer(calibration=Halved()),))
    assert calibrated.thresholds["Edema"] == 0.25
    for row, other in zip(rows(plain, files), rows(calibrated, files), strict=True):
        assert row.positive == other.positive
        if row.scores is not None:
            assert np.array(other.scores) == pytest.approx(np.array(row.scores) / 2)


def test_calibrated_probabilities_keep_all_their_digits_also_in_a_mean(uneven):
    both = Ensemble(members=(scorer(calibration=Halved()), scorer(name="b", image_sizes=(16,))))
    found = np.array([row.scores for row in rows(both, uneven)])
    assert (found != found.astype(np.float32)).any()


def test_a_scorer_is_shared_by_threads(files):
    ensemble = Ensemble(members=(scorer(),))
    expected = rows(ensemble, files)
    found = [None] * 6

    def work(number):
        found[number] = rows(ensemble, files, workers=1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6
