"""What several readers' answers about one label become: the rules of `prepare --readers`.

Labels are 1 (positive), 0 (negative), -1 (uncertain) and NaN (not mentioned, no answer); all but
NaN are answers. What a reader did not answer counts under no rule.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import SOFT
from cxrtool.data.labels import MAJORITY, NEGATIVE, POSITIVE, UNCERTAIN

DECIMALS = 3
"""Of a share of readers: what the manifest holds is what is trained on."""
Counts = NDArray[np.int64]
Labels = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """How many readers give each answer, (images, labels) each."""

    positive: Counts
    negative: Counts
    uncertain: Counts

    @classmethod
    def of(cls, values: Labels, starts: NDArray[np.intp]) -> "Answers":
        """Count the answers in rows (m, labels), of which each image's begin at `starts`."""

        def count(answer: float) -> Counts:
            if not len(values):
                return np.zeros(values.shape, np.int64)
            return np.add.reduceat(values == answer, starts, dtype=np.int64)

        return cls(count(POSITIVE), count(NEGATIVE), count(UNCERTAIN))

    @property
    def all(self) -> tuple[Counts, Counts, Counts]:
        """The three, the most telling first."""
        return self.positive, self.negative, self.uncertain

    @property
    def total(self) -> Counts:
        """How many readers answer."""
        return self.positive + self.negative + self.uncertain

    @property
    def disagree(self) -> NDArray[np.bool_]:
        """Where two different answers are given."""
        return np.asarray(np.add.reduce([count > 0 for count in self.all], dtype=int) > 1)

    def combine(self, rule: str) -> Labels:
        """(images, labels) what they become under one of `READERS`; NaN where nobody answers."""
        return np.where(self.total > 0, RULES[rule](self), np.nan).astype(np.float32)


def _vote(answers: Answers) -> NDArray[np.floating]:
    """The most frequent answer; uncertain where two answers are as frequent."""
    most = np.maximum.reduce(answers.all)
    first = [count == most for count in answers.all]
    alone = np.add.reduce(first, dtype=int) == 1
    return np.select([alone & first[0], alone & first[1]], [POSITIVE, NEGATIVE], UNCERTAIN)


def _any(answers: Answers) -> NDArray[np.floating]:
    """Positive where any reader says so, else uncertain where any is."""
    told = [answers.positive > 0, answers.uncertain > 0]
    return np.select(told, [POSITIVE, UNCERTAIN], NEGATIVE)


def _all(answers: Answers) -> NDArray[np.floating]:
    """Positive where all who answer say so; negative where any says so, else uncertain."""
    told = [answers.negative > 0, answers.uncertain > 0]
    return np.select(told, [NEGATIVE, UNCERTAIN], POSITIVE)


def _share(answers: Answers) -> NDArray[np.floating]:
    """The share, of those who answer, that say positive; one who is uncertain is half one."""
    share = (answers.positive + answers.uncertain / 2) / np.maximum(answers.total, 1)
    rounded = share.round(DECIMALS)
    # Never to one half, which means that they are evenly divided.
    step = np.copysign(10.0**-DECIMALS, share - MAJORITY)
    return np.where((rounded == MAJORITY) & (share != MAJORITY), MAJORITY + step, rounded)


RULES: dict[str, Callable[[Answers], NDArray[np.floating]]] = {
    "vote": _vote,
    "any": _any,
    "all": _all,
    SOFT: _share,
}
