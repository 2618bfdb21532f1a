"""Pictures of net benefit: each label's curve, what it has to beat, and why one is missing."""

import numpy as np
import pytest

from cxrtool.evaluation.net_benefit import decision_curve
from cxrtool.reports.figures.decision_curves import decision_figure
from tests.support.drawn_scores import legend, panel, texts

pytestmark = pytest.mark.filterwarnings("error")


def curve(seed, separate=2.0, level=0.95):
    rng = np.random.default_rng(seed)
    y_true = rng.random(600) < 0.3
    score = 1 / (1 + np.exp(-rng.normal(separate * y_true - 1.5, 1)))
    return decision_curve(y_true, score, level=level)


def test_each_label_has_its_curve_beside_treating_all_and_none():
    curves = {"Edema": curve(0), "Fracture": curve(1)}
    figure = decision_figure(curves)
    for label, one in curves.items():
        axes = panel(figure, label)
        heights = [line.get_ydata() for line in axes.lines]
        assert any(np.array_equal(height, one.net_benefit) for height in heights)
        assert any(np.array_equal(height, one.treat_all) for height in heights)
        assert any(set(height) == {0} for height in heights)
        [band] = axes.collections
        assert band.get_datalim(axes.transData).y1 == pytest.approx(max(one.high))
    assert {"treat all", "treat none"} <= set(legend(figure))


def test_where_it_is_useful_is_said():
    good, blind, bare = curve(2), curve(2, separate=0.0), curve(2, level=None)
    shown = texts(decision_figure({"A": good})).replace("\n", " ")
    low, high = good.useful_range
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in shown
    assert "nowhere clearly" in texts(decision_figure({"A": blind})).replace("\n", " ")
    assert "better" not in texts(decision_figure({"A": bare}))


def test_a_label_without_a_curve_says_why():
    shown = texts(decision_figure({"A": curve(3), "B": None})).replace("\n", " ")
    assert "there is no net benefit" in shown
