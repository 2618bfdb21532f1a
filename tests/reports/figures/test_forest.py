"""Forests: estimates with their intervals, a row a label."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cxrtool.core.errors import UsageError
from cxrtool.core.numbers import Estimate
from cxrtool.reports.figures.forest import comparison_figure, forest_figure
from tests.support.drawn_scores import drawn_forest, forest, legend, panel, texts

pytestmark = pytest.mark.filterwarnings("error")


def test_no_interval_of_a_forest_is_cut_off():
    figure = drawn_forest({"Edema": 0.31, "Fracture": 0.02})
    limits = [axes.get_xlim() for axes in figure.axes]
    assert len(limits) == 2
    assert len(set(limits)) == 1
    assert limits[0][0] <= 0.02
    assert limits[0][1] >= 0.97


def test_a_forest_draws_each_row_at_the_height_of_its_name():
    figure = drawn_forest({"Edema": 0.31, "Fracture": 0.31})
    axes = panel(figure, "Edema")
    names = {one.get_text(): one for one in axes.texts}
    whiskers = [line.get_xydata().tolist() for line in axes.lines]
    assert [[0.6, 0], [0.8, 0]] in whiskers
    assert [[0.31, 2], [0.97, 2]] in whiskers
    # all, sex, Female, Male: a heading has a line of its own
    heights = [1 - (row + 0.5) / 4 for row in range(4)]
    assert [names[name].xy[1] for name in ("all", "sex", "Female", "Male")] == heights
    assert [[0.7, 0], [0.7, 1]] in whiskers  # the line at the AUROC of all
    assert sum(one.get_text() == "Female" for each in figure.axes for one in each.texts) == 1


def test_too_few_patients_are_hollow_grey_and_marked():
    figure = drawn_forest()
    axes = panel(figure, "Edema")
    dots = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() == "o"}
    assert dots[3].get_markerfacecolor() == "white"
    assert np.ptp(to_rgb(dots[3].get_color())) < 0.15
    assert to_rgb(dots[3].get_color()) != to_rgb(dots[2].get_color())
    assert dots[2].get_markerfacecolor() == dots[2].get_color()
    assert [one.xy[1] for one in axes.texts if one.get_text() == "*"] == [3]
    assert any("too few" in name for name in legend(figure))
    assert not any("too few" in name for name in legend(drawn_forest(few=False)))


def test_a_forest_tells_images_and_positives_and_what_is_not_defined():
    labels, subgroups = forest(n=191_010, positives=12_345)
    cells = subgroups["sex"].groups["Male"].labels
    cells["Edema"] = dataclasses.replace(cells["Edema"], auroc=Estimate())
    shown = texts(forest_figure(labels, subgroups))
    for wanted in ("191,010", "12,345", "not defined"):
        assert wanted in shown


def test_numbers_of_a_forest_do_not_touch_each_other_or_the_next_panel():
    counts = {"n": 1_191_010, "positives": 1_112_345}
    figure = drawn_forest({"Edema": 0.31, "Fracture": 0.31}, **counts)
    figure.draw_without_rendering()
    left, right = figure.axes
    spans = [
        [one.get_window_extent() for one in left.texts if one.get_text() == text]
        for text in ("1,191,010", "1,112,345", "*")
    ]
    edges = [left.bbox.x1, *(x for span in spans for x in (span[0].x0, span[0].x1)), right.bbox.x0]
    assert edges == sorted(edges)


def test_a_comparison_tells_runs_by_colour_and_by_marker():
    names = [f"run {number}" for number in range(8)]
    values = {name: {"Edema": Estimate(0.6 + 0.01 * n, (0.5, 0.9))} for n, name in enumerate(names)}
    figure = comparison_figure(values)
    dots = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [dot.get_xdata()[0] for dot in dots] == [0.6 + 0.01 * n for n in range(8)]
    assert len({dot.get_marker() for dot in dots}) == len({dot.get_color() for dot in dots}) == 8
    heights = [float(dot.get_ydata()[0]) for dot in dots]
    assert heights == sorted(heights)
    assert -0.5 < heights[0] < heights[-1] < 0.5
    assert legend(figure) == names
    handles = figure.legends[0].legend_handles
    assert [one.get_marker() for one in handles] == [dot.get_marker() for dot in dots]
    with pytest.raises(UsageError, match="at most 8"):
        comparison_figure({**values, "one more": values["run 0"]})


def test_a_comparison_holds_labels_that_not_all_runs_have():
    runs = {
        "_a": {"Edema": Estimate(0.7), "Fracture": Estimate()},
        "b": {"Edema": Estimate(0.8, (0.1, 0.99)), "Other": Estimate(0.6)},
    }
    figure = comparison_figure(runs)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Edema", "Fracture", "Other"]
    dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [round(float(dot.get_ydata()[0])) for dot in dots] == [0, 0, 2]
    assert [(one.get_text(), one.get_position()[1]) for one in axes.texts] == [("not defined", 1)]
    low, high = axes.get_xlim()
    assert low <= 0.1 < 0.99 <= high
    assert legend(figure) == ["_a", "b"]
