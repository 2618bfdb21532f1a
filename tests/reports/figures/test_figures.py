"""Pictures of scores: what is passed is what is drawn, and nothing is cut off."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cxrtool.core.errors import UsageError
from cxrtool.core.numbers import Estimate
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.reliability import Bins
from cxrtool.evaluation.result import Group, GroupScores, Subgroups
from cxrtool.reports import figures as figures
from tests.support.results import scores_of

pytestmark = pytest.mark.filterwarnings("error")
NOTHING = np.array([])


def curve(seed, **changes):
    rng = np.random.default_rng(seed)
    x, y = (np.append(0.0, np.sort(rng.random(30))) for _ in range(2))
    values = {"x": x, "y": y, "point": (0.3, 0.7), "area": Estimate(0.8, (0.7, 0.9))}
    return figures.Curve(**{**values, **changes})


def undefined():
    return figures.Curve(
        x=NOTHING, y=NOTHING, point=None, area=Estimate(), note="no positive among 9"
    )


def reliability(seed):
    rng = np.random.default_rng(seed)
    predicted = np.sort(rng.random(6))
    observed = np.clip(predicted + 0.05, 0, 1)
    bins = Bins(
        predicted=predicted,
        observed=observed,
        low=np.clip(observed - 0.1, 0, 1),
        high=np.clip(observed + 0.1, 0, 1),
        count=rng.integers(1, 500, 6),
    )
    return figures.Reliability(bins=bins, brier=0.1, ece=0.05)


def scores(seed):
    rng = np.random.default_rng(seed)
    shares = [np.histogram(rng.random(50), np.linspace(0, 1, 11))[0] / 50 for _ in range(2)]
    return figures.Scores(
        edges=np.linspace(0, 1, 11),
        positive=shares[0],
        negative=shares[1],
        positives=50,
        negatives=50,
        threshold=0.4,
    )


def forest(lows=None, few=True, **counts):
    """Labels and the groups of their sex, and of each the low end of Female's interval."""
    lows = lows or {"Edema": 0.31}
    counts = {"n": 120, "positives": 30, **counts}

    def cell(interval, too_few):
        values = {**counts, "auroc": 0.7, "auroc_ci": interval, "too_few": too_few}
        return scores_of(values, GroupScores)

    labels = {label: scores_of({**counts, "auroc": 0.7, "auroc_ci": (0.6, 0.8)}) for label in lows}
    female = {label: cell((low, 0.97), False) for label, low in lows.items()}
    male = {label: cell(None, few) for label in lows}
    groups = {
        name: Group(n=120, patients=90, labels=of)
        for name, of in (("Female", female), ("Male", male))
    }
    return labels, {"sex": Subgroups(groups=groups, gaps={}, within={})}


def forest_figure(*args, **options):
    return figures.forest_figure(*forest(*args, **options))


def texts(figure):
    return " ".join(
        text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))
    )


@pytest.mark.parametrize("labels", [CHEXPERT_LABELS, ["Edema"], [f"L{n}" for n in range(20)]])
def test_each_label_has_a_panel_with_its_curve(labels):
    curves = {label: curve(number) for number, label in enumerate(labels)}
    figure = figures.roc_figure(curves)
    panels = {axes.get_label(): axes for axes in figure.axes if axes.get_label() in curves}
    assert set(panels) == set(labels)
    for label, axes in panels.items():
        lines = [line.get_xydata() for line in axes.get_lines()]
        wanted = np.column_stack([curves[label].x, curves[label].y])
        assert any(line.shape == wanted.shape and np.allclose(line, wanted) for line in lines)
        assert any(np.allclose(line, [[0.3, 0.7]]) for line in lines if len(line) == 1)


def test_a_label_that_is_not_defined_says_why():
    figure = figures.roc_figure({"Edema": curve(0), "Fracture": undefined()})
    assert "no positive among 9" in texts(figure).replace("\n", " ")


def test_the_prevalence_is_drawn_in_a_precision_recall_curve():
    figure = figures.precision_recall_figure({"Edema": curve(0, baseline=0.123)})
    heights = [line.get_ydata() for axes in figure.axes for line in axes.get_lines()]
    assert any(np.allclose(height, 0.123) for height in heights)


def test_no_interval_of_a_forest_is_cut_off():
    figure = forest_figure({"Edema": 0.31, "Fracture": 0.02})
    limits = [axes.get_xlim() for axes in figure.axes]
    assert len(limits) == 2
    assert len(set(limits)) == 1
    assert limits[0][0] <= 0.02
    assert limits[0][1] >= 0.97


@pytest.mark.parametrize("long", ["Enlarged Cardiomediastinum", "ラベル" * 12, "x" * 60, "$a_b$"])
def test_all_pictures_are_written_whatever_a_label_is_called(long, tmp_path):
    labels = [long, "Edema"]
    drawings = {
        "roc": (figures.roc_figure, {label: curve(1) for label in labels}),
        "pr": (
            figures.precision_recall_figure,
            {label: curve(1, baseline=0.2) for label in labels},
        ),
        "reliability": (figures.reliability_figure, {label: reliability(1) for label in labels}),
        "scores": (figures.distributions_figure, {label: scores(1) for label in labels}),
        "forest": (forest_figure, dict.fromkeys(labels, 0.31)),
        "runs": (
            figures.comparison_figure,
            {run: dict.fromkeys(labels, Estimate(0.7, (0.6, 0.8))) for run in ("a", long)},
        ),
    }
    for name, (draw, values) in drawings.items():
        path = tmp_path / f"{name}.png"
        figures.save_figure(draw(values), path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
            assert max(image.size) < 6000


def panel(figure, label):
    [found] = [axes for axes in figure.axes if axes.get_label() == label]
    return found


def legend(figure):
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def heads(axes):
    """The extents of a panel's name and of what is told under it."""
    told = [one for one in axes.texts if one.get_text() and one.get_position()[1] > 0]
    named = [one for one in (axes._left_title, *told) if one.get_text()]
    return [one.get_window_extent() for one in named]


def test_an_average_precision_is_the_area_under_the_line_drawn():
    recall, precision = np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 2 / 3])
    drawn = curve(0, x=recall, y=precision, baseline=0.5)
    axes = panel(figures.precision_recall_figure({"Edema": drawn}), "Edema")
    [line] = [one for one in axes.lines if len(one.get_xdata()) == 3]
    assert line.get_drawstyle() == "steps-pre"
    assert panel(figures.roc_figure({"Edema": curve(0)}), "Edema").lines[1].get_drawstyle() == (
        "default"
    )


def test_only_a_roc_curve_has_a_diagonal():
    def diagonals(figure):
        return sum(line.get_xydata().tolist() == [[0, 0], [1, 1]] for line in figure.axes[0].lines)

    assert diagonals(figures.roc_figure({"Edema": curve(0)})) == 1
    assert diagonals(figures.precision_recall_figure({"Edema": curve(0, baseline=0.1)})) == 0
    assert diagonals(figures.reliability_figure({"Edema": reliability(0)})) == 1


def test_figures_are_told_with_their_interval_or_without():
    curves = {"Edema": curve(0, area=Estimate(0.8712, (0.8418, 0.8991)))}
    assert "AUROC 0.871 (0.842–0.899)" in texts(figures.roc_figure(curves))
    shown = texts(figures.roc_figure({"Edema": curve(0, area=Estimate(0.8))}))
    assert "AUROC 0.800" in shown
    assert "(" not in shown


def test_a_legend_stands_once_and_names_only_what_is_drawn():
    both = figures.roc_figure({"Edema": curve(0), "Fracture": curve(1)})
    assert legend(both) == ["ROC curve", "operating point", "chance"]
    assert all(axes.get_legend() is None for axes in both.axes)
    without = figures.roc_figure({"Edema": curve(0, point=None)})
    assert "operating point" not in legend(without)


def test_reliability_shows_its_bins_whiskers_and_what_was_before():
    one = dataclasses.replace(reliability(3), before=(np.array([0.2, 0.9]), np.array([0.1, 0.5])))
    figure = figures.reliability_figure({"Edema": one, "Fracture": reliability(4)})
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
    assert "before calibration" not in legend(figures.reliability_figure({"Edema": reliability(4)}))


def test_a_bin_with_more_images_has_a_larger_dot():
    one = reliability(3)
    count = np.array([5, 900, 40, 40, 1, 300])
    one = dataclasses.replace(one, bins=dataclasses.replace(one.bins, count=count))
    axes = panel(figures.reliability_figure({"Edema": one}), "Edema")
    [sizes] = [each.get_sizes() for each in axes.collections if len(each.get_offsets()) == 6]
    assert np.array_equal(np.argsort(sizes, kind="stable"), np.argsort(count, kind="stable"))
    assert sizes[2] == sizes[3]


def test_distributions_keep_their_scale_and_show_a_threshold_beyond_it():
    one = dataclasses.replace(scores(1), edges=np.linspace(-40, 60, 11), threshold=75.0)
    axes = panel(figures.distributions_figure({"Edema": one}), "Edema")
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
    figure = figures.distributions_figure({"Edema": one})
    assert "no positive among 50" in texts(figure)
    assert any(np.array_equal(p.get_data().values, one.negative) for p in figure.axes[0].patches)
    assert "threshold" not in legend(figure)


@pytest.mark.parametrize("kind", ["reliability", "distributions"])
def test_other_pictures_say_too_what_is_not_defined(kind):
    empty = {
        "reliability": figures.Reliability(bins=None, note="no truth"),
        "distributions": figures.Scores(
            edges=NOTHING,
            positive=NOTHING,
            negative=NOTHING,
            positives=0,
            negatives=0,
            threshold=None,
            note="no truth",
        ),
    }[kind]
    figure = getattr(figures, f"{kind}_figure")({"Edema": empty})
    assert "no truth" in texts(figure)
    assert not figure.axes[0].lines
    assert not figure.axes[0].patches


def test_a_forest_draws_each_row_at_the_height_of_its_name():
    figure = forest_figure({"Edema": 0.31, "Fracture": 0.31})
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
    figure = forest_figure()
    axes = panel(figure, "Edema")
    dots = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() == "o"}
    assert dots[3].get_markerfacecolor() == "white"
    assert np.ptp(to_rgb(dots[3].get_color())) < 0.15
    assert to_rgb(dots[3].get_color()) != to_rgb(dots[2].get_color())
    assert dots[2].get_markerfacecolor() == dots[2].get_color()
    assert [one.xy[1] for one in axes.texts if one.get_text() == "*"] == [3]
    assert any("too few" in name for name in legend(figure))
    assert not any("too few" in name for name in legend(forest_figure(few=False)))


def test_a_forest_tells_images_and_positives_and_what_is_not_defined():
    labels, subgroups = forest(n=191_010, positives=12_345)
    cells = subgroups["sex"].groups["Male"].labels
    cells["Edema"] = dataclasses.replace(cells["Edema"], auroc=Estimate())
    shown = texts(figures.forest_figure(labels, subgroups))
    for wanted in ("191,010", "12,345", "not defined"):
        assert wanted in shown


def test_numbers_of_a_forest_do_not_touch_each_other_or_the_next_panel():
    counts = {"n": 1_191_010, "positives": 1_112_345}
    figure = forest_figure({"Edema": 0.31, "Fracture": 0.31}, **counts)
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
    figure = figures.comparison_figure(values)
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
        figures.comparison_figure({**values, "one more": values["run 0"]})


def test_a_comparison_holds_labels_that_not_all_runs_have():
    runs = {
        "_a": {"Edema": Estimate(0.7), "Fracture": Estimate()},
        "b": {"Edema": Estimate(0.8, (0.1, 0.99)), "Other": Estimate(0.6)},
    }
    figure = figures.comparison_figure(runs)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Edema", "Fracture", "Other"]
    dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [round(float(dot.get_ydata()[0])) for dot in dots] == [0, 0, 2]
    assert [(one.get_text(), one.get_position()[1]) for one in axes.texts] == [("not defined", 1)]
    low, high = axes.get_xlim()
    assert low <= 0.1 < 0.99 <= high
    assert legend(figure) == ["_a", "b"]


LONG = ["A finding whose name is much too long for any panel of 60 ch", "x" * 60, "心脏肥大" * 9]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 14, 20, 40])
def test_nothing_written_over_a_panel_touches_a_panel_or_leaves_the_picture(count):
    labels = [*LONG, *(f"label {number}" for number in range(count))][:count]
    figure = figures.roc_figure({label: curve(0) for label in labels})
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
    wide = figures.reliability_figure({"Edema": one})
    runs = figures.comparison_figure(
        {f"{number} {'and more' * 9}": {"Edema": Estimate(0.7)} for number in range(8)}
    )
    for figure in (wide, runs):
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert all(box.y0 >= axes.bbox.y1 for axes in figure.axes)


def test_axes_have_words_and_numbers_only_at_the_figures_edges():
    figure = figures.roc_figure({f"label {number}": curve(0) for number in range(14)})
    below = [bool(axes.get_xlabel()) for axes in figure.axes]
    assert below == [False] * 10 + [True] * 4
    assert below == [axes.xaxis.get_tick_params()["labelbottom"] for axes in figure.axes]
    assert [bool(axes.get_ylabel()) for axes in figure.axes] == [n % 4 == 0 for n in range(14)]


def test_an_operating_point_in_a_corner_is_a_whole_dot():
    axes = panel(figures.roc_figure({"Edema": curve(0, point=(0.0, 1.0))}), "Edema")
    [dot] = [line for line in axes.lines if line.get_xydata().tolist() == [[0, 1]]]
    assert not dot.get_clip_on()


def test_what_is_no_formula_is_not_read_as_one(tmp_path):
    names = ["$a_b$", "a\nb\tc", "$\\nothing$"]
    figure = figures.roc_figure({name: curve(0) for name in names})
    figure.savefig(tmp_path / "x.png")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["$a_b$", "a b c", "$\\nothing$"]
    assert not any(axes._left_title.get_parse_math() for axes in figure.axes)
    runs = figures.comparison_figure({name: {name: Estimate(0.7)} for name in names})
    runs.savefig(tmp_path / "x.png")
    assert legend(runs) == ["$a_b$", "a b c", "$\\nothing$"]
    shown = [*runs.legends[0].get_texts(), *runs.axes[0].get_yticklabels()]
    assert not any(text.get_parse_math() for text in shown)


def test_nothing_to_draw_is_an_error():
    for build in (figures.roc_figure, figures.comparison_figure):
        with pytest.raises(UsageError, match="there is no"):
            build({})
    with pytest.raises(UsageError, match="there is no"):
        figures.forest_figure({"Edema": scores_of({})}, forest()[1])


def test_nothing_of_pyplot_is_loaded():
    code = "import cxrtool.reports.figures, sys; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
