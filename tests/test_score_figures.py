"""Pictures of scores: what is passed is what is drawn, and nothing is cut off."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cxrtool import score_figures as figures
from cxrtool.labels import CHEXPERT_LABELS

pytestmark = pytest.mark.filterwarnings("error")
NOTHING = np.array([])


def curve(seed, **changes):
    rng = np.random.default_rng(seed)
    x, y = (np.append(0.0, np.sort(rng.random(30))) for _ in range(2))
    values = {"x": x, "y": y, "point": (0.3, 0.7), "area": 0.8, "interval": (0.7, 0.9)}
    return figures.Curve(**{**values, **changes})


def undefined():
    return figures.Curve(
        x=NOTHING, y=NOTHING, point=None, area=np.nan, interval=None, note="no positive among 9"
    )


def reliability(seed):
    rng = np.random.default_rng(seed)
    predicted = np.sort(rng.random(6))
    observed = np.clip(predicted + 0.05, 0, 1)
    return figures.Reliability(
        predicted=predicted,
        observed=observed,
        low=np.clip(observed - 0.1, 0, 1),
        high=np.clip(observed + 0.1, 0, 1),
        count=rng.integers(1, 500, 6).astype(float),
        brier=0.1,
        ece=0.05,
    )


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


def forest(low=0.31):
    def row(group, column, interval, too_few):
        return figures.ForestRow(
            group=group,
            column=column,
            auroc=0.7,
            interval=interval,
            n=120,
            positives=30,
            too_few=too_few,
        )

    return [
        row("all", "", (0.6, 0.8), False),
        row("Female", "sex", (low, 0.97), False),
        row("Male", "sex", None, True),
    ]


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
    rows = {"Edema": forest(), "Fracture": forest(low=0.02)}
    figure = figures.forest_figure(rows)
    limits = [axes.get_xlim() for axes in figure.axes if axes.get_label() in rows]
    assert len(set(limits)) == 1
    assert limits[0][0] <= 0.02
    assert limits[0][1] >= 0.97


@pytest.mark.parametrize("long", ["Enlarged Cardiomediastinum", "ラベル" * 12, "x" * 60, "$a_b$"])
def test_all_pictures_are_written_whatever_a_label_is_called(long, tmp_path):
    labels = [long, "Edema"]
    drawings = {
        "roc": (figures.draw_roc, {label: curve(1) for label in labels}),
        "pr": (figures.draw_precision_recall, {label: curve(1, baseline=0.2) for label in labels}),
        "reliability": (figures.draw_reliability, {label: reliability(1) for label in labels}),
        "scores": (figures.draw_distributions, {label: scores(1) for label in labels}),
        "forest": (figures.draw_forest, {label: forest() for label in labels}),
        "runs": (
            figures.draw_comparison,
            {run: dict.fromkeys(labels, (0.7, (0.6, 0.8))) for run in ("a", long)},
        ),
    }
    for name, (draw, values) in drawings.items():
        path = tmp_path / f"{name}.png"
        draw(values, path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
            assert max(image.size) < 6000


def test_nothing_of_pyplot_is_loaded():
    code = "import cxrtool.score_figures, sys; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
