"""Curves of a label: ROC, precision and recall, reliability, distributions."""

import dataclasses

import numpy as np
import pytest

from cxrtool.core.numbers import Estimate
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.calibration_measures import CalibrationCurve
from cxrtool.reports.figures.curves import (
    distributions_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from cxrtool.reports.figures.series import Curve, ReaderPoint, Reliability, Scores
from tests.support.drawn_scores import curve, legend, panel, reliability, scores, texts

pytestmark = pytest.mark.filterwarnings("error")
NOTHING = np.array([])


def undefined():
    return Curve(x=NOTHING, y=NOTHING, point=None, area=Estimate(), note="no positive among 9")


@pytest.mark.parametrize("labels", [CHEXPERT_LABELS, ["Edema"], [f"L{n}" for n in range(20)]])
def test_each_label_has_a_panel_with_its_curve(labels):
    curves = {label: curve(number) for number, label in enumerate(labels)}
    figure = roc_figure(curves)
    panels = {axes.get_label(): axes for axes in figure.axes if axes.get_label() in curves}
    assert set(panels) == set(labels)
    for label, axes in panels.items():
        lines = [line.get_xydata() for line in axes.get_lines()]
        wanted = np.column_stack([curves[label].x, curves[label].y])
        assert any(line.shape == wanted.shape and np.allclose(line, wanted) for line in lines)
        assert any(np.allclose(line, [[0.3, 0.7]]) for line in lines if len(line) == 1)


def test_a_label_that_is_not_defined_says_why():
    figure = roc_figure({"Edema": curve(0), "Fracture": undefined()})
    assert "no positive among 9" in texts(figure).replace("\n", " ")


def test_human_readers_are_marks_with_their_intervals():
    reader = ReaderPoint(x=0.2, y=0.8, x_ends=(0.1, 0.3), y_ends=(0.7, 0.9))
    figure = roc_figure({"Edema": curve(0, readers=(reader,)), "Fracture": curve(1)})
    drawn, other = (panel(figure, label) for label in ("Edema", "Fracture"))
    marks = [line.get_xydata().tolist() for line in drawn.get_lines()]
    assert [[0.2, 0.8]] in marks
    segments = [one.tolist() for of in drawn.collections for one in of.get_segments()]
    assert segments == [[[0.1, 0.8], [0.3, 0.8]], [[0.2, 0.7], [0.2, 0.9]]]
    assert not other.collections
    assert "human reader, 95 % intervals" in legend(figure)


def test_the_prevalence_is_drawn_in_a_precision_recall_curve():
    figure = precision_recall_figure({"Edema": curve(0, baseline=0.123)})
    heights = [line.get_ydata() for axes in figure.axes for line in axes.get_lines()]
    assert any(np.allclose(height, 0.123) for height in heights)


def test_an_average_precision_is_the_area_under_the_line_drawn():
    recall, precision = np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 2 / 3])
    drawn = curve(0, x=recall, y=precision, baseline=0.5)
    axes = panel(precision_recall_figure({"Edema": drawn}), "Edema")
    [line] = [one for one in axes.lines if len(one.get_xdata()) == 3]
    assert line.get_drawstyle() == "steps-pre"
    assert panel(roc_figure({"Edema": curve(0)}), "Edema").lines[1].get_drawstyle() == ("default")


def test_only_a_roc_curve_has_a_diagonal():
    def diagonals(figure):
        return sum(line.get_xydata().tolist() == [[0, 0], [1, 1]] for line in figure.axes[0].lines)

    assert diagonals(roc_figure({"Edema": curve(0)})) == 1
    assert diagonals(precision_recall_figure({"Edema": curve(0, baseline=0.1)})) == 0
    assert diagonals(reliability_figure({"Edema": reliability(0)})) == 1


def test_figures_are_told_with_their_interval_or_without():
    curves = {"Edema": curve(0, area=Estimate(0.8712, (0.8418, 0.8991)))}
    assert "AUROC 0.871 (0.842–0.899)" in texts(roc_figure(curves))
    shown = texts(roc_figure({"Edema": curve(0, area=Estimate(0.8))}))
    assert "AUROC 0.800" in shown
    assert "(" not in shown


def test_a_legend_stands_once_and_names_only_what_is_drawn():
    both = roc_figure({"Edema": curve(0), "Fracture": curve(1)})
    assert legend(both) == ["ROC curve", "operating point", "chance"]
    assert all(axes.get_legend() is None for axes in both.axes)
    without = roc_figure({"Edema": curve(0, point=None)})
    assert "operating point" not in legend(without)


def test_reliability_shows_its_bins_whiskers_and_what_was_before():
    one = dataclasses.replace(reliability(3), before=(np.array([0.2, 0.9]), np.array([0.1, 0.5])))
    figure = reliability_figure({"Edema": one, "Fracture": reliability(4)})
    axes = panel(figure, "Edema")
    drawn = [line.get_xydata() for line in axes.lines]
    assert any(
        np.array_equal(line, np.column_stack([one.bins.predicted, one.bins.observed]))
        for line in drawn
    )
    assert any(np.array_equal(line, [[0.2, 0.1], [0.9, 0.5]]) for line in drawn)
    [whiskers] = [each for each in axes.collections if len(each.get_paths()) == 6]
    ends = np.array([path.vertices for path in whiskers.get_paths()])
    assert np.array_equal(ends[:, 0], np.column_stack([one.bins.predicted, one.bins.low]))
    assert np.array_equal(ends[:, 1], np.column_stack([one.bins.predicted, one.bins.high]))
    assert "before calibration" in legend(figure)
    assert "before calibration" not in legend(reliability_figure({"Edema": reliability(4)}))


def test_a_bin_with_more_images_has_a_larger_dot():
    one = reliability(3)
    count = np.array([5, 900, 40, 40, 1, 300])
    one = dataclasses.replace(one, bins=dataclasses.replace(one.bins, count=count))
    axes = panel(reliability_figure({"Edema": one}), "Edema")
    [sizes] = [each.get_sizes() for each in axes.collections if len(each.get_offsets()) == 6]
    assert np.array_equal(np.argsort(sizes, kind="stable"), np.argsort(count, kind="stable"))
    assert sizes[2] == sizes[3]


def test_distributions_keep_their_scale_and_show_a_threshold_beyond_it():
    one = dataclasses.replace(scores(1), edges=np.linspace(-40, 60, 11), threshold=75.0)
    axes = panel(distributions_figure({"Edema": one}), "Edema")
    steps = [patch.get_data() for patch in axes.patches]
    for shares in (one.positive, one.negative):
        assert any(np.array_equal(step.values, shares) for step in steps)
    assert all(np.array_equal(step.edges, one.edges) for step in steps)
    low, high = axes.get_xlim()
    assert low <= -40
    assert high >= 75
    assert any(list(line.get_xdata()) == [75, 75] for line in axes.lines)
    assert axes.get_ylim()[1] >= max(one.positive.max(), one.negative.max())


def test_a_class_without_images_is_said_and_the_other_one_drawn():
    one = dataclasses.replace(
        scores(1), positive=np.zeros(10), positives=0, threshold=None, note="no positive among 50"
    )
    figure = distributions_figure({"Edema": one})
    assert "no positive among 50" in texts(figure)
    assert any(np.array_equal(p.get_data().values, one.negative) for p in figure.axes[0].patches)
    assert "threshold" not in legend(figure)


NO_SCORES = Scores(
    edges=NOTHING,
    positive=NOTHING,
    negative=NOTHING,
    positives=0,
    negatives=0,
    threshold=None,
    note="no truth",
)


@pytest.mark.parametrize(
    ("draw", "empty"),
    [
        (reliability_figure, Reliability(bins=None, note="no truth")),
        (distributions_figure, NO_SCORES),
    ],
)
def test_other_pictures_say_too_what_is_not_defined(draw, empty):
    figure = draw({"Edema": empty})
    assert "no truth" in texts(figure)
    assert not figure.axes[0].lines
    assert not figure.axes[0].patches


def test_an_operating_point_in_a_corner_is_a_whole_dot():
    axes = panel(roc_figure({"Edema": curve(0, point=(0.0, 1.0))}), "Edema")
    [dot] = [line for line in axes.lines if line.get_xydata().tolist() == [[0, 1]]]
    assert not dot.get_clip_on()


def test_a_smooth_curve_of_calibration_is_drawn_with_its_interval_and_said_to_be_there():
    smooth = CalibrationCurve(
        predicted=(0.1, 0.4, 0.7),
        observed=(0.2, 0.35, 0.8),
        low=(0.1, 0.3, 0.7),
        high=(0.3, 0.4, 0.9),
    )
    with_curve = dataclasses.replace(
        reliability(0), curve=smooth, intercept=Estimate(-0.31), slope=Estimate(0.82)
    )
    figure = reliability_figure({"Edema": with_curve, "Fracture": reliability(1)})
    axes, bare = panel(figure, "Edema"), panel(figure, "Fracture")
    assert any(np.array_equal(line.get_ydata(), smooth.observed) for line in axes.lines)
    bands = [one for one in axes.collections if one not in bare.collections]
    assert any(
        np.allclose(band.get_datalim(axes.transData).bounds, [0.1, 0.1, 0.6, 0.8]) for band in bands
    )
    assert "intercept -0.31, slope 0.82" in texts(figure)
    assert "smooth curve, 95 % interval" in legend(figure)
    assert "smooth curve, 95 % interval" not in legend(reliability_figure({"A": reliability(0)}))
