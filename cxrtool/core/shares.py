"""Labels that a network has seen in other shares than its data have them, and what follows."""

from collections.abc import Mapping

from cxrtool.core.errors import first_few

SHIFTED = 1.2
"""By how much a share must be multiplied or divided to be worth a word."""

MENDING = ("platt", "isotonic")
"""The calibrations that put base rates right; a temperature alone does not."""


def shifted_labels(shares: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """The labels whose share of positives in what was drawn is clearly another than in the data.

    Args:
        shares: each label's two shares, of the data and as drawn.
    """
    return tuple(
        label
        for label, (share, drawn) in shares.items()
        if share > 0 and drawn > 0 and max(drawn / share, share / drawn) >= SHIFTED
    )


def told_of_shifted(
    run: str, labels: tuple[str, ...], *, known: bool = True, place: str = ""
) -> str:
    """What whoever reads a run's probabilities should know, and do.

    Args:
        run: its name.
        labels: of `shifted_labels`.
        known: whether they are; of a run of version 0.1 only that it drew by weights.
        place: the option that names its workspace, for a terminal; files hold no paths.
    """
    which = f"{first_few(labels, 3)} more or less often than they are" if known else "by weights"
    return (
        f"{run} was trained with weighted sampling, which drew {which}: probabilities, mostly "
        "those of rare labels, are too high (ranks, thresholds and decisions stand); "
        f"`cxrtool evaluate {run} --calibrate platt --keep{place}` fits them to valid"
    )
