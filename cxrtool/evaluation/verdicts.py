"""What a triage makes of a sample: the share of each verdict, and what is among them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import Estimate, number_pair
from cxrtool.evaluation.bootstrap import Draws, bootstrap_sums
from cxrtool.evaluation.certificates import Certificate
from cxrtool.evaluation.intervals import share_interval
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.triage import Limits, Triage

VERDICTS = ("rule_out", "read_first", "rule_in")


@dataclass(frozen=True, kw_only=True)
class VerdictScores(JsonResult):
    """How a label's rows are parted, and what is among each part."""

    rule_out_below: float
    rule_in_from: float
    n: int
    rule_out: Estimate
    """The share of rows that are ruled out; so the next two."""
    read_first: Estimate
    rule_in: Estimate
    positives: Mapping[str, int]
    """Of each verdict, how many of its rows are positive: among those ruled out, the missed."""

    @property
    def rows(self) -> list[tuple[Estimate, int]]:
        """The share and the positives of each verdict, from ruled out to ruled in."""
        shares = (self.rule_out, self.read_first, self.rule_in)
        return list(zip(shares, (self.positives[name] for name in VERDICTS), strict=True))

    @property
    def shown_limits(self) -> tuple[str, str]:
        """Both thresholds, with digits that differ where they do."""
        return number_pair(self.rule_out_below, self.rule_in_from)


@dataclass(frozen=True, kw_only=True)
class TriageScores(JsonResult):
    """What a triage makes of a sample."""

    rule_out: str
    rule_in: str
    chosen_on: str
    family: str
    conditions: tuple[str, str]
    labels: Mapping[str, VerdictScores]
    certificates: Mapping[str, tuple[Certificate, Certificate]]
    without: Mapping[str, str]


def score_triage(triage: Triage, sample: Sample, draws: Draws | None) -> TriageScores:
    """The share of each verdict among a sample's rows, with intervals over patients.

    The triage's limits are on the scale of the sample's scores.
    """
    labels = [label for label in sample.labels if label in triage.limits]
    return TriageScores(
        rule_out=str(triage.rules.rule_out),
        rule_in=str(triage.rules.rule_in),
        chosen_on=triage.chosen_on,
        family=triage.family,
        conditions=triage.conditions,
        labels={label: _of_label(triage.limits[label], sample, label, draws) for label in labels},
        certificates={label: triage.certificates[label] for label in labels},
        without={label: why for label, why in triage.without.items() if label in sample.labels},
    )


def _of_label(limits: Limits, sample: Sample, label: str, draws: Draws | None) -> VerdictScores:
    positive, score, mask = sample.column(sample.labels.index(label))
    lower, upper = mask & (score < limits.rule_out), mask & (score >= limits.rule_in)
    parts = np.stack([lower, mask & ~lower & ~upper, upper], axis=1)
    n = int(mask.sum())
    shares = parts.sum(axis=0) / n if n else np.full(len(VERDICTS), np.nan)
    ends = None
    if draws is not None and n:
        sums = bootstrap_sums(np.column_stack([parts, mask]), draws)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = np.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:], np.nan)
        patients = len(np.unique(sample.patients[mask]))
        three = len(VERDICTS)
        ends = share_interval(shares, drawn, [n] * three, [patients] * three)
    each = dict(zip(VERDICTS, Estimate.each(shares, ends), strict=True))
    hits = (parts & positive[:, None]).sum(axis=0).tolist()
    return VerdictScores(
        rule_out_below=limits.rule_out,
        rule_in_from=limits.rule_in,
        n=n,
        rule_out=each["rule_out"],
        read_first=each["read_first"],
        rule_in=each["rule_in"],
        positives=dict(zip(VERDICTS, hits, strict=True)),
    )
