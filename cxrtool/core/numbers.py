"""Numbers as they are shown, and what may stand in place of one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

Interval = tuple[float, float] | None
"""From the lower to the upper end; None where it is not defined."""
MISSING = "n/a"
NOT_DEFINED = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimate:
    """A score and its interval, both None where the data do not define them."""

    value: float | None = None
    interval: Interval = None

    @classmethod
    def of(cls, value: float | None, ends: Iterable[float] | None = None) -> "Estimate":
        """From numbers that are NaN where they are not defined."""
        low, high = (float(end) for end in (NOT_DEFINED if ends is None else ends))
        known = low == low and high == high
        return cls(None if value is None else or_none(value), (low, high) if known else None)

    @classmethod
    def each(
        cls, values: Iterable[float], ends: Iterable[Iterable[float]] | None = None
    ) -> list["Estimate"]:
        """The same of several."""
        if ends is None:
            return [cls.of(value) for value in values]
        return [cls.of(*one) for one in zip(values, ends, strict=True)]


def or_none(value: float) -> float | None:
    """A figure for JSON: null where it is not defined."""
    return None if value != value else float(value)


def number(value: float | None, digits: int = 3) -> str:
    """A figure as text: `n/a` where it is not defined; a zero has no sign."""
    return MISSING if value is None or value != value else f"{value:z.{digits}f}"


def change(value: float | None, digits: int = 3) -> str:
    """A difference, always with its sign."""
    return MISSING if value is None else f"{value:+z.{digits}f}"


def percent(value: float | None) -> str:
    """A share in [0, 1] as `12.3 %`."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def interval(ends: Interval, digits: int = 3, between: str = "\N{EN DASH}") -> str:
    """Two ends, or nothing where there are none."""
    return "" if ends is None else between.join(number(end, digits) for end in ends)


def with_interval(estimate: Estimate) -> str:
    """A score and, where there is one, its interval."""
    ends = interval(estimate.interval)
    return f"{number(estimate.value)} ({ends})" if ends else number(estimate.value)


def published(value: float) -> str:
    """Somebody else's score with the decimals that it was given with: two or three."""
    return re.sub(r"(\.\d\d)0$", r"\1", number(value))


def number_pair(value: float, threshold: float | None) -> tuple[str, str]:
    """A probability and its threshold with so many digits that they differ where the two do.

    Neither is shown as 0 that is not, nor a threshold as 1; `n/a` for none.

    >>> number_pair(0.00312, 0.00021), number_pair(0.25, 0.5), number_pair(0.5, None)
    (('0.0031', '0.0002'), ('0.250', '0.500'), ('0.500', 'n/a'))
    >>> number_pair(0.0004, 0.5), number_pair(0.0004, None)
    (('0.0004', '0.5000'), ('0.0004', 'n/a'))
    """
    if value != value:
        return number(value), number(threshold)
    if threshold is None or threshold != threshold:
        return _told_apart(value, None)[0], MISSING
    return _told_apart(value, threshold)


def threshold_text(threshold: float | None) -> str:
    """A threshold with so many digits that it is not shown as 0 or 1; `n/a` for none.

    >>> threshold_text(0.25), threshold_text(0.00021), threshold_text(None)
    ('0.250', '0.0002', 'n/a')
    """
    return MISSING if threshold is None else number_pair(threshold, threshold)[1]


def _told_apart(value: float, threshold: float | None) -> tuple[str, str]:
    shown = ("", "")
    for form in (*(f".{digits}f" for digits in range(3, 7)), ".3g", ".17g"):
        shown = f"{value:{form}}", "" if threshold is None else f"{threshold:{form}}"
        if value != 0 and float(shown[0]) == 0:
            continue
        if threshold is None:
            break
        apart = value == threshold or shown[0] != shown[1]
        if apart and (float(shown[1]) not in (0, 1) or threshold in (0, 1)):
            break
    return shown


def duration(seconds: float) -> str:
    """Seconds for a table: `48 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def megabytes(size: int) -> str:
    """Bytes for people: `44.9 MB`."""
    return f"{size / 1e6:,.1f} MB"
