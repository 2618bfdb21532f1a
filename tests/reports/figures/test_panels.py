"""Panels, legends and axes of all pictures, whatever the labels are called."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cxrtool.core.errors import UsageError
from cxrtool.core.numbers import Estimate
from cxrtool.reports.figures.curves import (
    distributions_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from cxrtool.reports.figures.forest import comparison_figure, forest_figure
from cxrtool.reports.figures.panels import save_figure
from tests.support.drawn_scores import curve, drawn_forest, forest, legend, reliability, scores
from tests.support.results import scores_of

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("long", ["Enlarged Cardiomediastinum", "ラベル" * 12, "x" * 60, "$a_b$"])
def test_all_pictures_are_written_whatever_a_label_is_called(long, tmp_path):
    labels = [long, "Edema"]
    drawings = {
        "roc": (roc_figure, {label: curve(1) for label in labels}),
        "pr": (
            precision_recall_figure,
            {label: curve(1, baseline=0.2) for label in labels},
        ),
        "reliability": (reliability_figure, {label: reliability(1) for label in labels}),
        "scores": (distributions_figure, {label: scores(1) for label in labels}),
        "forest": (drawn_forest, dict.fromkeys(labels, 0.31)),
        "runs": (
            comparison_figure,
            {run: dict.fromkeys(labels, Estimate(0.7, (0.6, 0.8))) for run in ("a", long)},
        ),
    }
    for name, (draw, values) in drawings.items():
        path = tmp_path / f"{name}.png"
        save_figure(draw(values), path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
            assert max(image.size) < 6000


def heads(axes):
    """The extents of a panel's name and of what is told under it."""
    told = [one for one in axes.texts if one.get_text() and one.get_position()[1] > 0]
    named = [one for one in (axes._left_title, *told) if one.get_text()]
    return [one.get_window_extent() for one in named]


LONG = ["A finding whose name is much too long for any panel of 60 ch", "x" * 60, "心脏肥大" * 9]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 14, 20, 40])
def test_nothing_written_over_a_panel_touches_a_panel_or_leaves_the_picture(count):
    labels = [*LONG, *(f"label {number}" for number in range(count))][:count]
    figure = roc_figure({label: curve(0) for label in labels})
    figure.draw_without_rendering()
    assert len(figure.axes) == count
    panels = [axes.get_window_extent() for axes in figure.axes]
    assert len({round(box.x0) for box in panels}) <= 4
    written = [box for axes in figure.axes for box in heads(axes)]
    written += [one.get_window_extent() for one in figure.legends]
    for box in [*written, *panels]:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    everything = [*panels, *written]
    for place, box in enumerate(everything):
        for other in everything[place + 1 :]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0
            assert apart or box.y1 <= other.y0 + 2 or other.y1 <= box.y0 + 2


def test_a_legend_that_is_wide_is_broken_and_not_cut_off():
    before = (np.array([0.2, 0.9]), np.array([0.1, 0.5]))
    one = dataclasses.replace(reliability(0), before=before)
    wide = reliability_figure({"Edema": one})
    runs = comparison_figure(
        {f"{number} {'and more' * 9}": {"Edema": Estimate(0.7)} for number in range(8)}
    )
    for figure in (wide, runs):
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert all(box.y0 >= axes.bbox.y1 for axes in figure.axes)


def test_axes_have_words_and_numbers_only_at_the_figures_edges():
    figure = roc_figure({f"label {number}": curve(0) for number in range(14)})
    below = [bool(axes.get_xlabel()) for axes in figure.axes]
    assert below == [False] * 10 + [True] * 4
    assert below == [axes.xaxis.get_tick_params()["labelbottom"] for axes in figure.axes]
    assert [bool(axes.get_ylabel()) for axes in figure.axes] == [n % 4 == 0 for n in range(14)]


def test_what_is_no_formula_is_not_read_as_one(tmp_path):
    names = ["$a_b$", "a\nb\tc", "$\\nothing$"]
    figure = roc_figure({name: curve(0) for name in names})
    figure.savefig(tmp_path / "x.png")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["$a_b$", "a b c", "$\\nothing$"]
    assert not any(axes._left_title.get_parse_math() for axes in figure.axes)
    runs = comparison_figure({name: {name: Estimate(0.7)} for name in names})
    runs.savefig(tmp_path / "x.png")
    assert legend(runs) == ["$a_b$", "a b c", "$\\nothing$"]
    shown = [*runs.legends[0].get_texts(), *runs.axes[0].get_yticklabels()]
    assert not any(text.get_parse_math() for text in shown)


def test_nothing_to_draw_is_an_error():
    for build in (roc_figure, comparison_figure):
        with pytest.raises(UsageError, match="there is no"):
            build({})
    with pytest.raises(UsageError, match="there is no"):
        forest_figure({"Edema": scores_of({})}, forest()[1])


def test_nothing_of_pyplot_is_loaded():
    modules = "cxrtool.reports.figures.curves, cxrtool.reports.figures.forest"
    code = f"import sys, {modules}; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
