"""Rows of one model and of several: order, failures, means, views, thresholds."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cxrtool.core.errors import UsageError
from cxrtool.data.logits import logits_of, probabilities_of
from cxrtool.images.decoding import VIEWS
from cxrtool.images.reading import load_pixels
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.scorer import Scorer

LABELS = ("Edema", "Fracture")


class Brightness:
    """An engine whose probabilities are an image's mean and its darkest pixel."""

    name, device, precision = "pretended", "cpu", "fp32"

    def __init__(self, depth=1, batch=4):
        self.depth, self.batch = depth, batch
        self.sizes, self.in_flight, self.most = [], 0, 0

    def submit(self, pixels):
        self.sizes.append(len(pixels))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        scores = np.stack([pixels.mean((1, 2)), pixels.min((1, 2))], 1) / 255

        def fetch():
            self.in_flight -= 1
            return logits_of(scores)

        return fetch


@pytest.fixture
def uneven(tmp_path):
    """Pictures that are brighter towards the right, of different brightness."""
    made = []
    for number in range(1, 5):
        made.append(tmp_path / f"uneven-{number}.png")
        ramp = np.linspace(10 * number, 60 * number, 40).astype(np.uint8)
        Image.fromarray(np.tile(ramp, (50, 1))).save(made[-1])
    return made


def scorer(engine=None, **changes):
    made = Scorer(
        name="a",
        labels=LABELS,
        image_sizes=(32,),
        raw_thresholds={"Edema": 0.5, "Fracture": None},
        calibration=None,
        without={},
        fingerprint="0",
        engine=engine or Brightness(),
    )
    return replace(made, **changes)


LEVELS = {f"{number}.png": 20 + 22 * number for number in range(10)}
"""Of the pictures' middles: half of them are over the threshold."""
SLOPE = 20
"""What a picture's sides are brighter and darker: nothing is decided of one grey."""


@pytest.fixture
def files(tmp_path):
    made = []
    for name, level in LEVELS.items():
        made.append(tmp_path / name)
        ramp = np.linspace(level - SLOPE, level + SLOPE, 40).round().astype(np.uint8)
        Image.fromarray(np.tile(ramp, (50, 1))).save(made[-1])
    made.insert(3, tmp_path / "gone.png")
    return made


def rows(ensemble, files, **options):
    names = [file.name for file in files]
    found = list(ensemble.score(names, files, **options))
    assert [one.index for one in found] == list(range(len(files)))
    return [one.row for one in found]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_each_file_gets_its_own_row_in_order(files, workers, depth):
    engine = Brightness(depth)
    found = rows(Ensemble(members=(scorer(engine),)), files, workers=workers)
    for row, file in zip(found, files, strict=True):
        assert row.path == file.name
        if file.name == "gone.png":
            assert (row.scores, row.positive, row.error) == (None, (), "no such file")
        else:
            level = LEVELS[file.name]
            expected = level / 255, (level - SLOPE) / 255
            assert row.scores == pytest.approx(expected, abs=1.5 / 255)
            assert row.positive == (("Edema",) if level >= 0.5 * 255 else ())
    assert len({row.positive for row in found}) == 2
    assert engine.most == depth
    assert engine.in_flight == 0


def test_a_batch_is_as_large_as_asked_for_or_as_the_engine_likes(files):
    for asked, sizes in ((None, [3, 4, 3]), (100, [10])):
        engine = Brightness()
        rows(Ensemble(members=(scorer(engine),)), files, batch_size=asked)
        assert engine.sizes == sizes


def test_files_that_all_fail_are_rows_and_nothing_is_scored(tmp_path):
    engine = Brightness()
    found = rows(Ensemble(members=(scorer(engine),)), [tmp_path / "a.png", tmp_path / "b.png"])
    assert [row.error for row in found] == ["no such file"] * 2
    assert engine.sizes == []


def test_several_models_are_their_mean_whatever_the_order_of_their_labels(uneven):
    one = scorer(name="one")
    other = scorer(
        name="other",
        labels=LABELS[::-1],
        image_sizes=(16,),
        raw_thresholds={"Edema": 0.3, "Fracture": 0.1},
    )
    both = Ensemble(members=(one, other))
    assert both.name == "one + other"
    assert both.thresholds == {"Edema": pytest.approx(0.4), "Fracture": None}
    alone = [rows(Ensemble(members=(member,)), uneven) for member in (one, other)]
    for row, first, second in zip(rows(both, uneven), *alone, strict=True):
        assert abs(first.scores[0] - first.scores[1]) > 0.05
        mean = [
            (first.scores[0] + second.scores[1]) / 2,
            (first.scores[1] + second.scores[0]) / 2,
        ]
        assert row.scores == pytest.approx(mean, rel=1e-12)
        assert probabilities_of(row.logits) == pytest.approx(mean, rel=1e-9)
        assert row.positive == (("Edema",) if mean[0] >= 0.4 else ())


def test_models_of_other_labels_are_no_ensemble():
    other = scorer(
        labels=("Edema", "Pneumonia"), raw_thresholds=dict.fromkeys(("Edema", "Pneumonia"))
    )
    with pytest.raises(UsageError, match=r"not have the same labels \(Fracture, Pneumonia\)"):
        Ensemble(members=(scorer(), other))


def test_with_views_the_score_is_their_mean_and_an_engine_is_given_as_many_images(files):
    engine = Brightness(batch=10)
    ensemble = Ensemble(members=(scorer(engine),), tta=True)
    found = rows(ensemble, [file for file in files if file.name != "gone.png"])
    assert set(engine.sizes) == {10}
    bright, darkest = found[-1].scores
    level = LEVELS["9.png"]
    assert 0.9 * level / 255 < bright < level / 255
    # Three of the views, the turned ones and the smaller one, have black corners.
    assert darkest == pytest.approx(2 / 5 * (level - SLOPE) / 255, abs=1.5 / 255)
    assert len(VIEWS) == 5
    assert "five views" in ensemble.description


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


def test_what_the_network_saw_is_kept_for_heat_maps(uneven):
    ensemble = Ensemble(members=(scorer(),), tta=True)
    for one in ensemble.score([file.name for file in uneven], uneven):
        # The image itself, and none of its other views.
        assert np.array_equal(one.pixels, load_pixels(uneven[one.index], 32))


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
