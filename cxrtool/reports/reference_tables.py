"""Tables of a paper with published scores: beside the runs, and apart from them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cxrtool.core.errors import grouped
from cxrtool.core.numbers import number
from cxrtool.data.labels import COMPETITION_LABELS
from cxrtool.evaluation.references import Reference
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.reports.markup import MISSING, PaperTable
from cxrtool.reports.paper_tables import (
    Cells,
    Results,
    need,
    protocol_notes,
    run_names,
    setting,
    split_name,
)

FEWEST_DIGITS, MOST_DIGITS = 2, 3
"""Of published scores, which are shown as they were printed."""
MEANS = {5: "mean of five"}
"""The columns of the means that are published, by over how many labels."""
BLANKS = f"{MISSING}: not published, or not defined."

Published = dict[tuple[str, str, str], list[Reference]]
"""A source's figures of one model, by its name, their protocol, and why they are apart."""


def references_tables(results: Results) -> tuple[PaperTable | None, PaperTable | None]:
    """Published scores of the five competition labels: beside the runs, and apart from them.

    The first table has the runs and, below them, what was measured by their protocol; runs of
    several protocols are parts of it with a line between them. The second has what was measured
    otherwise, with the reason. Nothing is bold. None: no published score belongs there, or the
    runs have none of the five labels.

    Raises:
        UsageError: there are no results.
    """
    need(results, "result")
    labels = _five_of(results)
    if not labels:
        return None, None
    return _same_table(results, labels), _other_table(results, labels)


def count_published(results: Results) -> int:
    """How many published results stand in `references_tables`, each counted once."""
    labels = _five_of(results)
    of = [
        [*one.references.same, *(two.reference for two in one.references.other)] for one in results
    ]
    every = _published(((one, "") for found in of for one in found), labels)
    return len(every) if labels else 0


def _five_of(results: Results) -> list[str]:
    """Those of the competition's labels that any of the results has."""
    return [label for label in COMPETITION_LABELS if any(label in r.labels for r in results)]


def _same_table(results: Results, labels: Sequence[str]) -> PaperTable | None:
    names = dict(zip(map(id, results), run_names(results), strict=True))
    rows: list[Cells] = []
    ends, found = [], []
    for part in _alike(results):
        rows += [[names[id(result)], *_run_cells(result, labels)] for result in part]
        published = _published(((one, "") for one in part[0].references.same), labels)
        found += list(published.values())
        ends.append(len(rows) - 1)
        rows += [[name, *_cells(figures, labels)] for (name, *_), figures in published.items()]
        ends.append(len(rows) - 1)
    if not found:
        return None
    of = grouped((one.what, one.name) for figures in found for one in figures)
    measured = [f"{'; '.join(those)}: {text}." for text, those in of.items()]
    table = PaperTable(
        caption=f"AUROC beside published scores of the same protocol{split_name(results)}",
        columns=("", *labels, *MEANS.values()),
        rows=rows,
        notes=(*protocol_notes(results), *measured, *_source_notes(found), BLANKS),
        rules_after=tuple(dict.fromkeys(ends[:-1])),
    )
    return _without_empty(table)


def _alike(results: Results) -> list[list[EvaluationResult]]:
    """Runs that were scored alike, and beside which the same published scores stand."""
    parts: list[list[EvaluationResult]] = []
    for result in results:
        for part in parts:
            same = part[0].references.same == result.references.same
            if same and setting(part[0]) == setting(result):
                part.append(result)
                break
        else:
            parts.append([result])
    return parts


def _published(references: Iterable[tuple[Reference, str]], labels: Sequence[str]) -> Published:
    """The published scores of these labels and of means."""
    found: Published = {}
    for one, why in references:
        if one.label is None or one.label in labels:
            found.setdefault((one.name, one.protocol, why), []).append(one)
    return found


def _run_cells(result: EvaluationResult, labels: Sequence[str]) -> Cells:
    scored = (result.labels.get(label) for label in labels)
    scores = [None if one is None else one.auroc.value for one in scored]
    # A mean over other labels than the published is no figure for this column.
    five = result.competition
    whole = five is not None and len(five.labels) == five.defined == len(COMPETITION_LABELS)
    scores.append(five.mean_auroc.value if five and whole else None)
    return [None if value is None else number(value, MOST_DIGITS) for value in scores]


def _cells(figures: Sequence[Reference], labels: Sequence[str]) -> Cells:
    of = {one.label or MEANS[one.mean_over or 0]: _printed(one) for one in figures}
    return [of.get(name) for name in (*labels, *MEANS.values())]


def _printed(one: Reference) -> str:
    """A published score or range with no more digits than were printed, but two at the least."""
    values = (one.low, one.high) if one.auroc is None else (one.auroc,)
    return " to ".join(
        number(value, FEWEST_DIGITS if round(value, FEWEST_DIGITS) == value else MOST_DIGITS)
        for value in values
        if value is not None
    )


def _source_notes(found: Iterable[Sequence[Reference]]) -> list[str]:
    by_text = grouped((f"{one.source}, {one.where}", one.name) for of in found for one in of)
    return [f"Source of {'; '.join(names)}: {text}." for text, names in by_text.items()]


def _other_table(results: Results, labels: Sequence[str]) -> PaperTable | None:
    """Rows with one reason are together; where runs give several, each is named with its own."""
    reasons: dict[tuple[str, str], list[tuple[str, str]]] = {}
    figures: dict[tuple[str, str], list[Reference]] = {}
    for result, run in zip(results, run_names(results), strict=True):
        others = ((one.reference, one.why) for one in result.references.other)
        for (name, protocol, why), found in _published(others, labels).items():
            reasons.setdefault((name, protocol), []).append((why, run))
            figures.setdefault((name, protocol), found)
    by_reason: dict[str, list[tuple[str, str]]] = {}
    for key, given in reasons.items():
        by_why = grouped(given)
        shared = len(by_why) == 1 and len(given) == len(results)
        each = [f"{', '.join(runs)}: {why}" for why, runs in by_why.items()]
        by_reason.setdefault(given[0][0] if shared else ". ".join(each), []).append(key)
    if not by_reason:
        return None
    rows: list[Cells] = []
    ends = []
    for why, keys in by_reason.items():
        rows += [[key[0], *_cells(figures[key], labels), why] for key in keys]
        ends.append(len(rows) - 1)
    table = PaperTable(
        caption="Published AUROC measured otherwise, not to be ranked with the runs",
        columns=("", *labels, *MEANS.values(), "reason"),
        rows=rows,
        notes=(*_source_notes(figures.values()), BLANKS),
        rules_after=tuple(ends[:-1]),
    )
    return _without_empty(table)


def _without_empty(table: PaperTable) -> PaperTable:
    """The table without the means that nothing in it has."""
    kept = [
        column
        for column, name in enumerate(table.columns)
        if name not in MEANS.values() or any(row[column] is not None for row in table.rows)
    ]
    rows = [[row[column] for column in kept] for row in table.rows]
    return replace(table, columns=tuple(table.columns[column] for column in kept), rows=rows)
