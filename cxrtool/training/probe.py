"""A linear probe: the last layer alone, fitted to features of a frozen network.

One logistic regression a label, all at once over the cells that count, with a ridge penalty whose
strength is chosen on valid. scikit-learn's would copy the features once a label, knows no masked
cells and stops short of the optimum on features of different scales; here the features stay where
they are (in memory or in a file), and the search moves along their principal axes, in which the
problem is nearly round: a few dozen passes over the features are enough.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from cxrtool.data.labels import majority
from cxrtool.evaluation.metrics import auroc_per_label, mean_defined

STRENGTHS = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Of the penalty, one of which is chosen; each fit starts from the one before, a stronger one."""
PATIENCE = 2
"""Strengths without a better score on valid after which weaker ones are not tried."""
FEW = 20_000
"""Rows that find where the search begins; all rows then finish it."""
MOST_STEPS = 100
TOLERANCE = 1e-5
"""The largest slope of the mean loss that ends a fit."""
CURVATURE = 0.1
"""About p (1 - p) of a finding that is not too rare: how curved the loss is along a feature."""

Batches = Callable[[], Iterator[tuple[Tensor, slice]]]
"""All training features, once through: (rows, width) floats, and which rows they are."""


@dataclass(frozen=True)
class ProbeStep:
    """A fit at one strength of the penalty."""

    l2: float
    loss: float
    """Mean cross-entropy over the cells that count, without the penalty."""
    valid_loss: float
    valid_aurocs: NDArray[np.float64]
    """(labels,), NaN where valid has one class alone."""
    steps: int

    @property
    def valid_mean_auroc(self) -> float:
        """The mean over the labels for which it is defined; NaN where it is for none."""
        return float(mean_defined(list(self.valid_aurocs))[0])


@dataclass(frozen=True)
class Probe:
    """A fitted last layer."""

    weight: NDArray[np.float32]
    """(labels, width)"""
    bias: NDArray[np.float32]
    """(labels,)"""
    valid_logits: NDArray[np.float32]
    """(valid rows, labels)"""
    best: int
    """Which of the steps it is."""
    steps: tuple[ProbeStep, ...] = field(repr=False)

    @property
    def l2(self) -> float:
        """The strength of its penalty."""
        return self.steps[self.best].l2


@dataclass(frozen=True, kw_only=True)
class ProbeData:
    """What a probe is fitted to."""

    batches: Batches
    width: int
    targets: Tensor
    """(rows, labels) in 0..1, NaN where masked."""
    weights: Tensor
    """(rows, labels) how much each cell counts, 0 where masked; over its label they add up to 1."""
    valid: Tensor
    """(valid rows, width)"""
    valid_targets: NDArray[np.float32]
    """(valid rows, labels), NaN where masked."""

    def thinned(self, most: int) -> "ProbeData":
        """About `most` rows of it, evenly spread and in memory, or all where it has no more."""
        stride = -(-len(self.targets) // most)
        parts = [(batch[::stride].float(), rows) for batch, rows in self.batches()]
        features = torch.cat([part for part, _ in parts])
        weights = torch.cat([self.weights[rows][::stride] for _, rows in parts])
        return replace(
            self,
            batches=lambda: iter([(features, slice(0, len(features)))]),
            targets=torch.cat([self.targets[rows][::stride] for _, rows in parts]),
            weights=weights / weights.sum(0).clamp(min=1e-30),
        )


def cell_weights(
    targets: NDArray[np.float32],
    rows: NDArray[np.float64] | None = None,
    positives: NDArray[np.float32] | None = None,
) -> Tensor:
    """How much each cell counts: over its label the weights add up to 1.

    Args:
        targets: (rows, labels), NaN where masked.
        rows: (rows,) how often each image is drawn; None: all equally.
        positives: (labels,) what a positive counts of a negative; None: the same.

    Returns:
        (rows, labels), float32, 0 where masked.
    """
    cells = (~np.isnan(targets)).astype(np.float64)
    if rows is not None:
        cells *= rows[:, None]
    if positives is not None:
        cells *= 1 + np.nan_to_num(targets) * (positives - 1)
    return torch.from_numpy((cells / np.maximum(cells.sum(0), 1e-300)).astype(np.float32))


def weighed_targets(
    targets: NDArray[np.float32], positives: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The targets of cells that `cell_weights` weighs: with it the loss is `--loss bce`'s.

    That multiplies the positive part of a cell by w: -w y log(p) - (1 - y) log(1 - p). It is the
    cross-entropy of the target w y / (1 + y (w - 1)), times 1 + y (w - 1). Targets of 0 and 1 stay.
    """
    if positives is None:
        return targets
    return targets * positives / (1 + targets * (positives - 1))


def fit_probe(
    data: ProbeData,
    *,
    strengths: Sequence[float] = STRENGTHS,
    said: Callable[[ProbeStep], None] = lambda _: None,
) -> Probe:
    """Fit one logistic regression a label, and choose the strength of the penalty on valid.

    What is minimised is the sum over the labels of the mean cross-entropy and half of `l2` times
    the squared length of the weights, for features of mean 0 and deviation 1. The intercept is
    free. A label of which all cells are of one class gets its rate and no weights.

    Args:
        data: features and targets.
        strengths: of the penalty; of several, that with the best mean AUROC on valid.
        said: called with each fit.

    Returns:
        The best, for the features as they are.
    """
    few = data.thinned(FEW)
    axes = _Axes.of(data, few)
    problem = _Problem(data, axes)
    start = np.zeros((problem.labels, data.width + 1))
    start[:, -1] = problem.rates()
    if len(few.targets) < len(data.targets):
        start, strengths = _from_few(few, axes, start, strengths)
    steps: list[ProbeStep] = []
    best: Probe | None = None
    for l2 in strengths:
        start, count = problem.minimise(l2, start)
        weight, bias = axes.plain(start)
        logits = (data.valid.float() @ weight.T + bias).numpy()
        step = _judged(l2, problem.loss, logits, data.valid_targets, count)
        steps.append(step)
        said(step)
        score = step.valid_mean_auroc
        if best is None or score > steps[best.best].valid_mean_auroc:
            best = Probe(weight.numpy(), bias.numpy(), logits, len(steps) - 1, ())
        elif len(steps) - 1 - best.best >= PATIENCE:
            break
    assert best is not None
    return replace(best, steps=tuple(steps))


def _from_few(
    few: ProbeData, axes: "_Axes", start: NDArray[np.float64], strengths: Sequence[float]
) -> tuple[NDArray[np.float64], Sequence[float]]:
    """Where a few rows lead to, and the strengths that are left: more rows need no stronger one."""
    problem, found = _Problem(few, axes), []
    for l2 in strengths:
        start, _ = problem.minimise(l2, start)
        weight, bias = axes.plain(start)
        logits = (few.valid.float() @ weight.T + bias).numpy()
        found.append((_judged(l2, 0.0, logits, few.valid_targets, 0).valid_mean_auroc, start))
        best = int(np.nanargmax([score for score, _ in found])) if found else 0
        if len(found) - 1 - best >= PATIENCE:
            break
    return found[best][1], strengths[best:]


def _judged(
    l2: float,
    loss: float,
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    count: int,
) -> ProbeStep:
    mask = ~np.isnan(targets)
    known = np.where(mask, targets, 0)
    cells = np.logaddexp(0, logits) - known * logits
    positive, decided = majority(targets)
    aurocs = np.asarray(auroc_per_label(positive, logits, decided))
    return ProbeStep(l2, loss, float(cells[mask].mean()), aurocs, count)


@dataclass(frozen=True)
class _Axes:
    """Features of mean 0 and deviation 1, and their principal axes."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    """(width, width), an axis a column."""
    variances: Tensor
    """Along the axes."""

    @classmethod
    def of(cls, data: ProbeData, few: ProbeData) -> "_Axes":
        """Mean and deviation of all rows; the axes, which only set the pace, of a few."""
        rows = len(data.targets)
        mean, square = (torch.zeros(data.width, dtype=torch.float64) for _ in range(2))
        for batch, _ in data.batches():
            mean += batch.sum(0, dtype=torch.float64) / rows
        for batch, _ in data.batches():
            square += (batch.float() - mean.float()).square_().sum(0, dtype=torch.float64) / rows
        # A feature that never changes says nothing, and would be divided by 0.
        constant = square.sqrt() <= 1e-6 * (1e-30 + mean.abs())
        deviation = torch.where(constant, torch.inf, square.sqrt())
        ((features, _),) = few.batches()
        scaled = ((features - mean.float()) / deviation.float()).double()
        values, axes = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
        return cls(mean, deviation, axes, values.clamp(min=0))

    def plain(self, found: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Weights (labels, width) and intercepts (labels,), float32, for features as they are."""
        given = torch.from_numpy(found)
        weight = given[:, :-1] / self.deviation
        return weight.float(), (given[:, -1] - weight @ self.mean).float()


class _Problem:
    """The sum over the labels of their losses, along the features' principal axes."""

    def __init__(self, data: ProbeData, axes: _Axes) -> None:
        self.data, self.axes = data, axes
        self.targets = torch.nan_to_num(data.targets)
        self.share = (data.weights * self.targets).sum(0, dtype=torch.float64)
        self.both = (self.share > 0) & (self.share < 1 - 1e-6)
        self.loss = float("nan")

    @property
    def labels(self) -> int:
        """How many labels."""
        return self.targets.shape[1]

    def rates(self) -> NDArray[np.float64]:
        """The intercepts (labels,) of the shares of positives, kept from 0 and 1."""
        least = 0.5 / (len(self.targets) + 1)
        found: NDArray[np.float64] = torch.logit(self.share.clamp(least, 1 - least)).numpy()
        return found

    def minimise(self, l2: float, start: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
        """The minimum (labels, width + 1) for features of mean 0 and deviation 1, and the steps."""
        axes = self.axes.axes
        scale = (CURVATURE * self.axes.variances + l2).rsqrt()

        def turned(along: NDArray[np.float64]) -> Tensor:
            given = torch.from_numpy(along.reshape(self.labels, -1))
            return torch.cat([given[:, :-1] * scale @ axes.T, given[:, -1:]], 1)

        def value(along: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            parameters = turned(along)
            loss, slopes = self._loss(parameters)
            weights = parameters[:, :-1]
            slopes[:, :-1] += l2 * weights
            back = torch.cat([slopes[:, :-1] @ axes * scale, slopes[:, -1:]], 1)
            return loss + l2 / 2 * float(weights.square().sum()), back.numpy().ravel()

        begin = torch.from_numpy(start)
        along = torch.cat([begin[:, :-1] @ axes / scale, begin[:, -1:]], 1)
        found = minimize(
            value,
            along.numpy().ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MOST_STEPS, "gtol": TOLERANCE, "ftol": 1e-7, "maxcor": 20},
        )
        end = turned(found.x)
        penalty = l2 / 2 * float(end[:, :-1].square().sum())
        self.loss = (float(found.fun) - penalty) / max(int(self.both.sum()), 1)
        return end.numpy(), int(found.nit)

    def _loss(self, parameters: Tensor) -> tuple[float, Tensor]:
        """The sum of the labels' mean cross-entropies, and its slopes (labels, width + 1)."""
        weight, bias = self.axes.plain(parameters.numpy())
        loss, raw = 0.0, torch.zeros(self.labels, self.data.width, dtype=torch.float64)
        total = torch.zeros(self.labels, dtype=torch.float64)
        for batch, rows in self.data.batches():
            features, targets = batch.float(), self.targets[rows]
            counts = self.data.weights[rows] * self.both
            logits = torch.addmm(bias, features, weight.T)
            cells = torch.nn.functional.softplus(logits) - targets * logits
            loss += float((cells * counts).sum(dtype=torch.float64))
            errors = (torch.sigmoid(logits) - targets) * counts
            raw += (errors.T @ features).double()
            total += errors.sum(0, dtype=torch.float64)
        slopes = (raw - total[:, None] * self.axes.mean) / self.axes.deviation
        return loss, torch.cat([slopes, total[:, None]], 1)
