"""The mean and deviation of pixels that a start's own training scaled its images by."""

from dataclasses import dataclass

from cxrtool.core.config import ARCHS, IMAGENET, TIMM
from cxrtool.core.start_cards import find_start

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of red, green and blue: those of all torchvision's files."""


@dataclass(frozen=True)
class StartPixels:
    """How grey pixels in 0..1 are scaled for a start."""

    mean: float
    std: float
    chest: bool
    """Whether it was trained on chest X-rays."""


def pixels_of_start(arch: str, weights: str) -> StartPixels | None:
    """What the published weights of `--weights` were trained with; None where that is not known.

    Of three channels a grey image gets the mean of their means, and of their deviations.
    """
    card = find_start(weights)
    if card is not None:
        return StartPixels(card.grey_mean, card.grey_std, card.chest)
    if weights != IMAGENET:
        return None
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    if arch not in ARCHS:
        from timm.models import get_pretrained_cfg

        cfg = get_pretrained_cfg(arch.removeprefix(TIMM), allow_unregistered=True)
        if cfg is None:
            return None
        mean, std = cfg.mean, cfg.std
    return StartPixels(sum(mean) / len(mean), sum(std) / len(std), chest=False)
