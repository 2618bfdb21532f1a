"""Published scores for the page: those of one source together, and beside the model's own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.references import OtherReference, Reference
from cxrtool.evaluation.result import EvaluationResult


@dataclass(frozen=True)
class ReferenceSet:
    """What one source gives of one model under one protocol."""

    first: Reference
    why: str = ""
    """Why it cannot be compared, where it cannot."""
    figures: list[Reference] = field(default_factory=list)

    @property
    def measured(self) -> list[str]:
        """What was measured, in words, each part once."""
        return list(dict.fromkeys(part for one in self.figures for part in one.measured))

    def figure(self, label: str | None, mean_over: int | None) -> Reference | None:
        """The figure of a label, or of the mean over so many."""
        of = (one for one in self.figures if (one.label, one.mean_over) == (label, mean_over))
        return next(of, None)


@dataclass(frozen=True)
class Row:
    """A label, or a mean: the model's own score and each set's."""

    label: str | None
    mean_over: int | None
    own: Estimate
    values: list[Reference | None]


@dataclass(frozen=True)
class SideBySide:
    """References of the same protocol beside this model: a row a label, the means last."""

    sets: list[ReferenceSet]
    rows: list[Row]


def other_sets(others: Sequence[OtherReference]) -> list[ReferenceSet]:
    """What was measured otherwise, source by source."""
    return _sets((one.reference, one.why) for one in others)


def _sets(references: Iterable[tuple[Reference, str]]) -> list[ReferenceSet]:
    sets: dict[tuple[object, ...], ReferenceSet] = {}
    for one, why in references:
        key = (one.name, one.source, one.where, one.year, one.protocol, why)
        sets.setdefault(key, ReferenceSet(one, why)).figures.append(one)
    return list(sets.values())


def side_by_side(result: EvaluationResult) -> SideBySide:
    """The model beside what was measured as it was."""
    sets = _sets((one, "") for one in result.references.same)
    keys = dict.fromkeys((one.label, one.mean_over) for of in sets for one in of.figures)
    order = {label: rank for rank, label in enumerate(result.labels)}
    rows = []
    for label, many in sorted(
        keys, key=lambda key: (key[0] is None, order.get(key[0] or "", len(order)))
    ):
        scores = result.labels.get(label) if label is not None else None
        own = _own_mean(result, many) if label is None else scores.auroc if scores else Estimate()
        rows.append(Row(label, many, own, [one.figure(label, many) for one in sets]))
    return SideBySide(sets, rows)


def _own_mean(result: EvaluationResult, many: int | None) -> Estimate:
    """This model's mean over as many labels; nothing where it has none.

    Means of five labels are those of CheXpert's competition, and of no other five.
    """
    five = result.competition
    mean = five if five is not None and many == len(five.labels) else result
    whole = len(mean.labels) == mean.defined == many
    return mean.mean_auroc if whole else Estimate()
