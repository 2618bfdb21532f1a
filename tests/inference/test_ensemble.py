"""Rows of one model and of several: order, failures, means, views, thresholds."""

import numpy as np
import pytest

from cxrtool.core.errors import UsageError
from cxrtool.data.logits import probabilities_of
from cxrtool.evaluation.triage import Limits, Triage, parse_triage
from cxrtool.images.decoding import VIEWS
from cxrtool.images.resizing import load_pixels
from cxrtool.inference.ensemble import Ensemble
from tests.support.ensembles import LABELS, LEVELS, SLOPE, Brightness, rows, scorer


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


def test_what_the_network_saw_is_kept_for_heat_maps(uneven):
    ensemble = Ensemble(members=(scorer(),), tta=True)
    for one in ensemble.score([file.name for file in uneven], uneven):
        # The image itself, and none of its other views.
        assert np.array_equal(one.pixels, load_pixels(uneven[one.index], 32))


def certified(**changes):
    rules = parse_triage("certified-npv=0.9,certified-ppv=0.5")
    triage = Triage(
        rules=rules,
        chosen_on="valid",
        limits={"Edema": Limits(0.3, 0.6)},
        certificates={},
        without={"Fracture": "valid has no positive"},
    )
    return scorer(triage=triage, promises=("words",), **changes)


def test_a_row_has_the_verdicts_of_one_model_s_own_scores(files):
    one = Ensemble(members=(certified(),))
    for row in rows(one, files):
        if row.scores is None:
            assert row.verdicts == ()
        else:
            between = "rule-in" if row.scores[0] >= 0.6 else "read-first"
            assert row.verdicts == (f"Edema:{'rule-out' if row.scores[0] < 0.3 else between}",)
    assert one.without_verdict == {"Fracture": "valid has no positive"}
    assert (one.promises, one.lost_promises) == (("words",), False)


@pytest.mark.parametrize("several", [True, False])
def test_of_a_mean_nothing_is_certified(files, several):
    members = (certified(), certified(name="b"))
    mean = Ensemble(members=members) if several else Ensemble(members=members[:1], tta=True)
    assert (mean.limits, mean.promises, mean.lost_promises) == ({}, (), True)
    assert all(row.verdicts is None for row in rows(mean, files))
    assert not Ensemble(members=(scorer(),)).lost_promises


def test_no_finding_beside_a_finding_is_a_warning_in_its_row(files):
    limits = {"No Finding": 0.5, "Edema": 0.5}
    two = scorer(labels=("No Finding", "Edema"), raw_thresholds=limits)
    told = {len(row.positive): row.warning for row in rows(Ensemble(members=(two,)), files)}
    assert told[2] == "No Finding is yes beside Edema"
    assert told[0] == ""
