"""Made-up curves and estimates to draw."""

import numpy as np

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.reliability import Bins
from cxrtool.evaluation.result import Group, GroupScores, Subgroups
from cxrtool.reports.figures.forest import forest_figure
from cxrtool.reports.figures.series import Curve, Reliability, Scores
from tests.support.results import scores_of


def curve(seed, **changes):
    rng = np.random.default_rng(seed)
    x, y = (np.append(0.0, np.sort(rng.random(30))) for _ in range(2))
    values = {"x": x, "y": y, "point": (0.3, 0.7), "area": Estimate(0.8, (0.7, 0.9))}
    return Curve(**{**values, **changes})


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
    return Reliability(bins=bins, brier=0.1, ece=0.05)


def scores(seed):
    rng = np.random.default_rng(seed)
    shares = [np.histogram(rng.random(50), np.linspace(0, 1, 11))[0] / 50 for _ in range(2)]
    return Scores(
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


def drawn_forest(*args, **options):
    return forest_figure(*forest(*args, **options))


def texts(figure):
    return " ".join(
        text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))
    )


def panel(figure, label):
    [found] = [axes for axes in figure.axes if axes.get_label() == label]
    return found


def legend(figure):
    return [text.get_text() for one in figure.legends for text in one.get_texts()]
