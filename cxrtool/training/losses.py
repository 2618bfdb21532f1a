"""What training minimises: scalars over logits and targets, some of which do not count.

Throughout, logits and targets are (n, labels), targets in 0..1, and a target of NaN is masked:
whatever its logit, be it NaN, the loss and its gradient are the same. A batch in which nothing
counts has the loss 0 and a gradient of zeros. All is computed in fp32, whatever the logits' type.
torch's own losses have no mask: NaN times a weight of 0 is NaN, in the loss and in its gradient.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrtool.core.config import LOSSES
from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.data.labels import MAJORITY, majority

_TINY = torch.finfo(torch.float32).tiny


class CountingLoss(nn.Module, ABC):
    """A loss that says over how many cells its last value is a mean.

    Means of batches that count unequally many make the mean of all their cells only by that.
    `reduction`, `activation` and `decodes` are what fastai's `get_preds` asks of a loss.
    """

    counted: Tensor | None = None
    """Cells, a scalar on the logits' device; None: before the first forward pass."""
    reduction = "mean"
    """`none`: a value for each image (n,), the mean over those of its labels that count."""

    def activation(self, logits: Tensor) -> Tensor:
        """Probabilities of logits."""
        return torch.sigmoid(logits.float())

    def decodes(self, probabilities: Tensor) -> Tensor:
        """Which labels are more likely than not."""
        return probabilities > 0.5

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, a scalar; or that of each image."""
        logits, targets, counts = _without_masked(logits, targets)
        if self.reduction == "none":
            losses = torch.where(counts, self.cells(logits, targets), 0)
            return losses.sum(dim=1) / counts.sum(dim=1).clamp(min=1)
        return self.mean(logits, targets, counts)

    def cells(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of each cell (n, labels), finite wherever the logit is: its cross-entropy."""
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    @abstractmethod
    def mean(self, logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
        """The loss of a batch, all (n, labels), 0 where masked; `counts` says where it is not."""


class _CellMean(CountingLoss):
    """A loss that is the mean over the cells that count, each judged by itself."""

    share: Callable[[Tensor], Tensor] | None = None
    """The mean over all processes of a count, a scalar of this one's device; None: one process.

    With it the mean of the processes' gradients is the gradient of the mean over all their cells,
    however unevenly these are spread. It is called in each forward pass, so by all processes alike,
    and `counted` is then what it returned.
    """

    def mean(self, logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
        """Mean loss of the cells that count."""
        losses = torch.where(counts, self.cells(logits, targets), 0)
        count = counts.sum().float()
        if self.share is not None:
            count = self.share(count)
        self.counted = count
        # Not clamped to 1: a mean count over processes may well lie between 0 and 1.
        return losses.sum() / torch.where(count > 0, count, 1)


class MaskedCrossEntropy(_CellMean):
    """Binary cross-entropy with logits, the mean over the labels and samples that count.

    `pos_weight` (labels,) multiplies the positive part of each cell; the mean stays one over the
    number of cells. It moves with `.to(device)`.
    """

    pos_weight: Tensor | None

    def __init__(self, pos_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("pos_weight", pos_weight, persistent=False)

    def cells(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each cell."""
        return F.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=self.pos_weight, reduction="none"
        )


class AsymmetricLoss(_CellMean):
    """Cross-entropy that looks away from easy negatives (Ridnik et al. 2021, arXiv 2009.14119).

    With p = sigmoid(logit), p_m = max(p - margin, 0) and a target y, a cell's loss is

        -y (1 - p)^gamma_positive log(p) - (1 - y) p_m^gamma_negative log(1 - p_m)

    Gradients run through the powers too, as in the paper's analysis of them; the authors' code
    can switch that off. The authors sum over the cells, here it is the mean, as in the other
    losses, so that a learning rate means the same for all.
    """

    def __init__(
        self, gamma_negative: float = 4, gamma_positive: float = 1, margin: float = 0.05
    ) -> None:
        super().__init__()
        self.gamma_negative, self.gamma_positive = gamma_negative, gamma_positive
        self.margin = margin

    def cells(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of each cell."""
        score, counter = torch.sigmoid(logits), torch.sigmoid(-logits)
        shifted = score - self.margin
        # log(1 - p + margin) from logarithms: in fp32 1 - p is 0 long before its logarithm is lost.
        log_margin = logits.new_full((), math.log(self.margin) if self.margin else -math.inf)
        log_counter = torch.logaddexp(F.logsigmoid(-logits), log_margin).clamp(max=0)
        # At 0 a power below 1 is infinitely steep, and infinity times no gradient is NaN.
        positive = counter.clamp(min=_TINY) ** self.gamma_positive * F.logsigmoid(logits)
        negative = shifted.clamp(min=_TINY) ** self.gamma_negative * log_counter
        return -(targets * positive + (1 - targets) * negative)


class AUCMarginLoss(CountingLoss):
    """AUC margin loss on sigmoid scores, the mean over labels (Yuan et al. 2021, arXiv 2012.03173).

    With E+ and E- the means over a label's positives and negatives (targets above and below
    `MAJORITY`; one at it is neither) of the score h, the paper's objective, divided by p (1 - p)
    for p the share of positives, is

        min over a, b; max over alpha >= 0 of
        E+[(h - a)^2] + E-[(h - b)^2] + 2 alpha (margin + E-[h] - E+[h]) - alpha^2

    The squares are least at a = E+[h] and b = E-[h], and leave the variances var+ and var-; the
    parabola in alpha is highest at max(0, margin + E-[h] - E+[h]). So the loss of a label is

        var+[h] + var-[h] + max(0, margin + E-[h] - E+[h])^2

    Divided by p (1 - p), since a label's weight in the mean would otherwise fall with its rarity.
    Scores of a sigmoid never lie further apart than 1: at a margin of 1 the maximum is never cut
    at 0, and the loss is the mean of (1 - h+ + h-)^2 over all pairs of a positive and a negative.

    a, b and alpha are taken from the batch, where LibAUC learns them with an optimiser of their
    own: nothing has to be kept to resume a training. The price: a label without both classes in a
    batch is left out of it, and one with few positives hangs on their scores alone, so that rare
    labels learn seldom and from noise. Larger batches or weighted sampling help. Each process of
    a distributed training sees the pairs of its own part of the batch. An image alone makes no
    pair: where a loss of each image is asked for, it is the cross-entropy.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def mean(self, logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
        """Mean loss of the labels that have both classes in the batch."""
        scores = torch.sigmoid(logits)
        # As `majority` has it, of tensors; one half, of evenly divided readers, makes no pair.
        positives, negatives = counts & (targets > MAJORITY), counts & (targets < MAJORITY)
        mean_positive, var_positive = _moments(scores, positives)
        mean_negative, var_negative = _moments(scores, negatives)
        gap = (self.margin + mean_negative - mean_positive).clamp(min=0)
        both = positives.any(dim=0) & negatives.any(dim=0)
        self.counted = ((positives | negatives) & both).sum().float()
        losses = torch.where(both, var_positive + var_negative + gap**2, 0)
        return losses.sum() / both.sum().clamp(min=1)


def counted_cells(loss: object, targets: Tensor) -> Tensor:
    """Over how many cells a loss's last value is a mean, a scalar on the targets' device.

    Of a loss that does not say (any function may be one), all targets that are not masked.
    """
    counted = getattr(loss, "counted", None)
    if isinstance(counted, Tensor):
        return counted
    return (~torch.isnan(targets.as_subclass(Tensor))).sum().float()


def _without_masked(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and targets in fp32, 0 where masked, and where they count (all (n, labels))."""
    # fastai's subclasses of Tensor would refuse to be mixed.
    logits, targets = logits.as_subclass(Tensor).float(), targets.as_subclass(Tensor).float()
    counts = ~torch.isnan(targets)
    return torch.where(counts, logits, 0), torch.where(counts, targets, 0), counts


def _moments(scores: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (divided by n) over the chosen samples, each (labels,); 0 where none is."""
    n = chosen.sum(dim=0).clamp(min=1)
    mean = torch.where(chosen, scores, 0).sum(dim=0) / n
    variance = torch.where(chosen, (scores - mean) ** 2, 0).sum(dim=0) / n
    return mean, variance


def positive_weights(targets: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Negatives over positives (by `majority`) of each label (labels,); 1 without both.

    Args:
        targets: (n, labels) in 0..1.
        mask: (n, labels), True where a target counts; elsewhere it is never read.
    """
    positive, decided = majority(targets)
    positives = (mask & positive).sum(axis=0)
    negatives = (mask & decided).sum(axis=0) - positives
    both = (positives > 0) & (negatives > 0)
    ratios = np.ones(len(positives), np.float32)
    np.divide(negatives, positives, out=ratios, where=both, casting="same_kind")
    return ratios


def make_loss(name: str, *, pos_weight: Tensor | None = None) -> nn.Module:
    """The loss of a name in `config.LOSSES`; `pos_weight` as in `MaskedCrossEntropy`.

    Raises:
        UsageError: no such loss, or weights of positives for another loss than `bce`.
    """
    if name not in LOSSES:
        raise UsageError(unknown_name("loss", name, LOSSES))
    if name == "bce":
        return MaskedCrossEntropy(pos_weight)
    if pos_weight is not None:
        raise UsageError(
            f"--pos-weight with --loss {name}: it weighs the positives of --loss bce alone; "
            f"leave it out, as {name} has its own answer to rare positives"
        )
    return AsymmetricLoss() if name == "asymmetric" else AUCMarginLoss()
