"""What is decided of one image, as people read it: on the page and in the terminal's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrtool.core.errors import first_few, grouped
from cxrtool.core.numbers import number_pair
from cxrtool.data.labels import NO_FINDING
from cxrtool.data.prediction_rows import decide, judge
from cxrtool.images.blanks import SEPARATOR, undecidable

POSITIVE, NEGATIVE, NONE = "positive", "negative", "n/a"
YES, NO = "yes", "no"
"""Decisions of No Finding, which is none itself."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One label's probability for an image."""

    label: str
    probability: float
    threshold: float | None
    decision: str
    """`positive`, `negative`, or `n/a` without a threshold; of No Finding `yes` or `no`."""
    shown: str
    """The probability, with so many digits that it differs from the threshold."""
    shown_threshold: str
    """The threshold, or `n/a`."""
    why_none: str = ""
    """Why there is no threshold, or why it says little."""
    verdict: str = ""
    """`rule-out`, `read-first` or `rule-in`; empty without two certified thresholds."""
    limits: tuple[float, float] | None = None
    """These two."""

    @property
    def apart(self) -> bool:
        """Whether this is No Finding, which is none itself."""
        return self.label == NO_FINDING


def findings_of(
    scores: Sequence[float],
    labels: Sequence[str],
    thresholds: Mapping[str, float | None],
    warning: str = "",
    without: Mapping[str, str] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[Finding, ...]:
    """One image's findings, the most probable first, and No Finding after them.

    Args:
        scores: (labels,) probabilities.
        labels: their names.
        thresholds: each label's.
        warning: the image's: nothing is decided of one that shows nothing, or no chest.
        without: why labels have no threshold, or one that says little.
        limits: the two certified thresholds of those labels that have them.
    """
    positive = decide(scores, labels, thresholds, warning)
    verdicts = judge(scores, labels, limits or {}, warning)
    none = undecidable(warning)
    found = []
    for label, score in zip(labels, scores, strict=True):
        limit = thresholds[label]
        yes, no = (YES, NO) if label == NO_FINDING else (POSITIVE, NEGATIVE)
        shown, shown_threshold = number_pair(float(score), limit)
        found.append(
            Finding(
                label=label,
                probability=float(score),
                threshold=limit,
                decision=NONE if none or limit is None else yes if label in positive else no,
                shown=shown,
                shown_threshold=shown_threshold,
                why_none=(without or {}).get(label, ""),
                verdict=verdicts.get(label, ""),
                limits=(limits or {}).get(label),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.apart, -one.probability)))


def contradictions(findings: Sequence[Finding]) -> list[str]:
    """What an image's decisions say against each other: No Finding beside findings."""
    text = contradiction([one.label for one in findings if one.decision in (POSITIVE, YES)])
    return [text] if text else []


def contradiction(positive: Sequence[str]) -> str:
    """The same of the labels at or over their threshold, as one text; empty for nothing.

    >>> contradiction(["Edema", "No Finding"]), contradiction(["Edema"])
    ('No Finding is yes beside Edema', '')
    """
    findings = [label for label in positive if label != NO_FINDING]
    if NO_FINDING not in positive or not findings:
        return ""
    return f"{NO_FINDING} is {YES} beside {first_few(findings, 14)}"


def is_doubtful(warning: str) -> bool:
    """Whether an image's warning makes its decisions doubtful: being given twice does not."""
    return any(part and not part.startswith("given ") for part in warning.split(SEPARATOR))


def named(positive: Sequence[str]) -> str:
    """What is positive, in words, No Finding apart.

    >>> named(["Edema", "No Finding"]), named(["No Finding"]), named([])
    ('Edema; No Finding too', 'No Finding', 'nothing positive')
    """
    findings = ", ".join(label for label in positive if label != NO_FINDING)
    if NO_FINDING not in positive:
        return findings or "nothing positive"
    return f"{findings}; {NO_FINDING} too" if findings else NO_FINDING


def why_none(without: Mapping[str, str], labels: Sequence[str]) -> list[str]:
    """Why labels have no threshold, or one that says little: a line a reason."""
    reasons = grouped((without[label], label) for label in labels if label in without)
    return [f"{reason}: {', '.join(those)}" for reason, those in reasons.items()]


def without_verdict(without: Mapping[str, str], labels: Sequence[str]) -> list[str]:
    """A warning of the labels for which no triage is possible; none where there is none."""
    reasons = grouped((without[label], label) for label in labels if label in without)
    texts = [f"{', '.join(those)} ({reason})" for reason, those in reasons.items()]
    return [f"no verdict for {'; '.join(texts)}"] if texts else []


def threshold_warnings(
    thresholds: Mapping[str, float | None], without: Mapping[str, str]
) -> list[str]:
    """What whoever decides by thresholds should know: which are missing, and which say little."""
    missing = [label for label, limit in thresholds.items() if limit is None]
    doubtful = [label for label in without if thresholds.get(label) is not None]
    warnings = []
    for labels, what in (
        (missing, "no threshold, and so no decision, for"),
        (doubtful, "the thresholds say little of"),
    ):
        known = {label: without[label] for label in labels if label in without}
        reasons = list(dict.fromkeys(known.values()))
        if len(reasons) > 1:
            reasons = [f"{label}: {reason}" for label, reason in known.items()]
        why = f" ({first_few(reasons)})" if reasons else ""
        warnings += [f"{what} {first_few(labels, 14)}{why}"] * bool(labels)
    return warnings
