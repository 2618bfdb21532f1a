"""Tables of a run on its own data and on others, side by side: a row a label, a column a set."""

from collections.abc import Callable, Sequence

from cxrtool.core.errors import counted
from cxrtool.core.numbers import Estimate, change, interval, number
from cxrtool.evaluation.external import ExternalResult
from cxrtool.evaluation.intervals import LEAST_PATIENTS
from cxrtool.evaluation.result import EvaluationResult, LabelScores
from cxrtool.reports.markup import MISSING, PaperTable

Cell = str | None
BRIEF = 2
"""Decimals of an interval's ends, and of rates."""
FEW = "*"
"""Beside what rests on few patients."""


def external_tables(result: ExternalResult) -> list[PaperTable]:
    """AUROC, differences, positives, and rates at the run's thresholds, as far as there are any."""
    labels = list(dict.fromkeys(name for one in result.sets for name in one.labels.common))
    # In the run's order, of whom each set has some.
    order = [*(result.internal.result.labels if result.internal else ()), *labels]
    labels.sort(key=order.index)
    tables = [_aurocs(result, labels)]
    if result.internal is not None:
        tables.append(_differences(result, labels))
    tables.append(_table(result, labels, "Positives", _positives))
    sides = [one for _, one in _sides(result)]
    if any(one.operating_point is not None for one in sides):
        tables += [
            _at_thresholds(result, labels, "Sensitivity", lambda one: one.sensitivity),
            _at_thresholds(result, labels, "Specificity", lambda one: one.specificity),
        ]
    return [table for table in tables if table.rows]


def _sides(result: ExternalResult) -> list[tuple[str, EvaluationResult]]:
    """The columns: the run's own data first, where they are there."""
    own = result.internal
    first = [(f"own {own.result.split}", own.result)] if own is not None else []
    return [*first, *((one.name, one.result) for one in result.sets)]


def _table(
    result: ExternalResult,
    labels: Sequence[str],
    caption: str,
    cell: Callable[[LabelScores], Cell],
) -> PaperTable:
    sides = _sides(result)
    rows: list[list[Cell]] = []
    for label in labels:
        found = [one.labels.get(label) for _, one in sides]
        rows.append([label, *(None if one is None else cell(one) for one in found)])
    return PaperTable(caption=caption, columns=("label", *(name for name, _ in sides)), rows=rows)


def _aurocs(result: ExternalResult, labels: Sequence[str]) -> PaperTable:
    table = _table(result, labels, "AUROC (95 % interval over patients)", lambda o: _area(o.auroc))
    notes: tuple[str, ...] = ()
    if any(cell is None for row in table.rows for cell in row):
        notes = (f"{MISSING}: only one class occurs, or the data have no such label.",)
    if len(result.sets) > 1:  # each mean is over other labels
        return _noted(table, notes)
    found = result.sets[0].differences
    if found is None:
        mean, number_of = [result.sets[0].result.mean_auroc], result.sets[0].result.defined
    else:
        mean, number_of = [found.mean.internal, found.mean.external], found.defined
    row: list[Cell] = [f"mean of {number_of}", *map(_area, mean)]
    return _noted(table, notes, [*table.rows, row])


def _differences(result: ExternalResult, labels: Sequence[str]) -> PaperTable:
    """The external AUROCs less the internal ones."""
    found = [one.differences for one in result.sets]
    rows: list[list[Cell]] = []
    for label in labels:
        of_label = [one.labels.get(label) if one else None for one in found]
        cells = [_change(one.difference) if one else None for one in of_label]
        marks = zip(cells, _few(result, label), strict=True)
        rows.append([label, *(cell and f"{cell}{mark}" for cell, mark in marks)])
    counts = [str(one.defined) if one else MISSING for one in found]
    means = [_change(one.mean.difference) if one else None for one in found]
    rows.append([f"mean of {', '.join(dict.fromkeys(counts))}", *means])
    notes = ["An interval that holds 0 settles nothing. Means: over labels defined on both."]
    if any(cell and cell.endswith(FEW) for row in rows for cell in row):
        few = f"{FEW} fewer than {LEAST_PATIENTS} patients with a positive there or in own:"
        notes.append(f"{few} it says next to nothing.")
    return PaperTable(
        caption="Difference in AUROC, there less own",
        columns=("label", *(one.name for one in result.sets)),
        rows=rows,
        notes=tuple(notes),
    )


def _at_thresholds(
    result: ExternalResult,
    labels: Sequence[str],
    rate: str,
    of: Callable[[LabelScores], Estimate],
) -> PaperTable:
    """A rate of the labels that have a threshold; the others are counted."""
    results = [one for _, one in _sides(result)]
    having = [
        label
        for label in labels
        if any(label in one.labels and one.labels[label].threshold is not None for one in results)
    ]
    table = _table(result, having, f"{rate} at the run's thresholds", lambda one: _rate(of(one)))
    without = len(labels) - len(having)
    return _noted(table, (f"{counted(without, 'label')} without a threshold.",) if without else ())


def _few(result: ExternalResult, label: str) -> list[str]:
    """A mark for each set where it, or the run's own data, has few positive patients."""
    internal = result.internal
    own = internal.result.labels[label].positive_patients if internal else LEAST_PATIENTS
    counts = [one.result.labels.get(label) for one in result.sets]
    return [
        FEW if one is not None and min(one.positive_patients, own) < LEAST_PATIENTS else ""
        for one in counts
    ]


def _noted(
    table: PaperTable, notes: tuple[str, ...], rows: list[list[Cell]] | None = None
) -> PaperTable:
    return PaperTable(
        caption=table.caption, columns=table.columns, rows=rows or table.rows, notes=notes
    )


def _area(one: Estimate) -> Cell:
    return None if one.value is None else f"{number(one.value)}{_within(one)}"


def _rate(one: Estimate) -> Cell:
    return None if one.value is None else f"{number(one.value, BRIEF)}{_within(one)}"


def _within(one: Estimate) -> str:
    ends = interval(one.interval, BRIEF, between="-")
    return f" ({ends})" if ends else ""


def _change(one: Estimate) -> Cell:
    if one.value is None:
        return None
    # Without blanks, so that a narrow cell breaks before the interval and not inside it.
    ends = f" ({','.join(change(end, BRIEF) for end in one.interval)})" if one.interval else ""
    return f"{change(one.value)}{ends}"


def _positives(one: LabelScores) -> str:
    return f"{one.positives:,} of {one.n:,}"
