"""Who is told to be well and is not: underdiagnosis, group by group and where groups meet.

Seyyed-Kalantari et al. 2021, Nat. Med. 27:2176-2182: the false-positive rate of No Finding. Where
that label was not scored, the false-negative rate of each finding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrtool.core.config import BOTH
from cxrtool.core.numbers import Estimate
from cxrtool.data.labels import NO_FINDING
from cxrtool.evaluation.result import EvaluationResult, Group, GroupScores


@dataclass(frozen=True, kw_only=True)
class Row:
    """One group."""

    group: str
    n: int
    patients: int
    rates: Sequence[Estimate | None]
    """Of each measure; None: too few patients to say."""


@dataclass(frozen=True, kw_only=True)
class Underdiagnosis:
    """The rates of all groups."""

    of_healthy: bool
    """Whether they are of No Finding."""
    measures: tuple[str, ...]
    columns: Mapping[str, Sequence[Row]]
    """The groups by the column that they are of."""

    @property
    def intersections(self) -> bool:
        """Whether groups of two columns are among them."""
        return any(BOTH in column for column in self.columns)


def underdiagnosis_of(result: EvaluationResult) -> Underdiagnosis | None:
    """The rates of every group; None without groups or without a threshold for any of them."""
    chosen = [name for name, one in result.labels.items() if one.threshold is not None]
    of_healthy = NO_FINDING in chosen
    labels = [NO_FINDING] if of_healthy else [name for name in chosen if name != NO_FINDING]
    if not labels or not result.subgroups:
        return None
    return Underdiagnosis(
        of_healthy=of_healthy,
        measures=tuple(labels),
        columns={
            column: [_row(name, group, labels) for name, group in of.groups.items()]
            for column, of in result.subgroups.items()
        },
    )


def _row(name: str, group: Group, labels: Sequence[str]) -> Row:
    rates = [_rate(group.labels[label], label) for label in labels]
    return Row(group=name, n=group.n, patients=group.patients, rates=rates)


def _rate(scores: GroupScores, label: str) -> Estimate | None:
    """The share called well of those who are not; of a finding, the share missed."""
    if scores.too_few:
        return None
    return scores.fpr if label == NO_FINDING else complement(scores.tpr)


def complement(one: Estimate) -> Estimate:
    """1 - a share, with its interval."""
    if one.value is None:
        return one
    ends = one.interval and (1 - one.interval[1], 1 - one.interval[0])
    return Estimate(1 - one.value, ends)
