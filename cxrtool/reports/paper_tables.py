"""Tables of a paper from results: runs side by side, beside published scores, and paired."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cxrtool.core.errors import UsageError
from cxrtool.data.labels import policy_name
from cxrtool.evaluation.references import COMPETITION_LABELS, PROTOCOLS
from cxrtool.reports.markup import MISSING, PaperTable

FEWEST_DIGITS, MOST_DIGITS = 2, 3
"""Of published scores, which are shown as they were printed."""


def auroc_table(
    results: Sequence[Mapping[str, Any]], *, digits: int = 2, intervals: bool = False
) -> PaperTable:
    """The AUROC of each label and their mean: a row a label, a column a run.

    The best of a row is bold where all runs have one protocol, unit, number of images and truth;
    equal as printed is equal. A mean is bold only where it is over the same labels.

    Args:
        results: what `evaluate` gives.
        digits: after the point.
        intervals: whether each score has its interval beside it.

    Raises:
        UsageError: there are no results.
    """
    _need(results, "result")
    labels = list(dict.fromkeys(label for result in results for label in result["labels"]))
    figures = [[result["labels"].get(label) or {} for result in results] for label in labels]
    rows: list[list[str | None]] = [
        [label, *(_score(of.get("auroc"), of.get("auroc_ci"), digits, intervals) for of in row)]
        for label, row in zip(labels, figures, strict=True)
    ]
    counts = [f"{result['defined']} of {len(result['labels'])}" for result in results]
    alike = len(set(counts)) == 1
    means: list[str | None] = [f"mean over {counts[0]}" if alike else "mean"]
    for result, counted in zip(results, counts, strict=True):
        mean = _score(result["mean_auroc"], result.get("mean_auroc_ci"), digits, intervals)
        means.append(mean if alike or mean is None else f"{mean} ({counted})")
    rows.append(means)
    scores = [[of.get("auroc") for of in row] for row in figures]
    scores.append([result["mean_auroc"] for result in results])
    notes = [
        *_protocol_notes(results),
        *_data_notes(results),
        *_interval_notes(results, intervals),
    ]
    if any(cell is None for row in rows for cell in row):
        notes.append(f"{MISSING}: only one class occurs, or the run has no such label.")
    return PaperTable(
        caption=f"AUROC of each label{_split_name(results)}",
        columns=("label", *_run_names(results)),
        rows=rows,
        notes=tuple(notes),
        bold=_best(results, figures, scores, digits),
        rules_after=(len(rows) - 2,) if labels else (),
    )


def _need(things: Sequence[Any], what: str) -> None:
    if not things:
        raise UsageError(f"a table needs one {what} or more, and there is none")


def _score(value: float | None, ci: Sequence[float] | None, digits: int, shown: bool) -> str | None:
    if value is None:
        return None
    text = f"{value:.{digits}f}"
    return f"{text} [{ci[0]:.{digits}f}, {ci[1]:.{digits}f}]" if shown and ci else text


def _best(
    results: Sequence[Mapping[str, Any]],
    figures: list[list[Mapping[str, Any]]],
    scores: list[list[float | None]],
    digits: int,
) -> frozenset[tuple[int, int]]:
    """The best cells of the rows; none where anything says that the images or truth differ."""
    if len(results) < 2 or any(_setting(one) != _setting(results[0]) for one in results):
        return frozenset()
    defined = [
        {label for label, of in result["labels"].items() if of.get("auroc") is not None}
        for result in results
    ]
    truths = [[(of.get("n"), of.get("positives")) for of in row if of] for row in figures]
    comparable = [len(set(truth)) == 1 for truth in truths]
    comparable.append(all(comparable) and all(labels == defined[0] for labels in defined))
    bold = set()
    for row, values in enumerate(scores):
        printed = [None if value is None else f"{value:.{digits}f}" for value in values]
        known = [text for text in printed if text is not None]
        if comparable[row] and len(known) > 1:
            best = max(known, key=float)
            bold |= {(row, place) for place, text in enumerate(printed, 1) if text == best}
    return frozenset(bold)


def _setting(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two runs must share for their scores to be held against each other."""
    return (result["protocol"], result["unit"], result["n"], result.get("patients"))


def _run_names(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The runs' names, the part that was scored with them where one run is there twice."""
    names = [str(result["run"]) for result in results]
    return [
        f"{name} ({result['split']})" if names.count(name) > 1 and result.get("split") else name
        for name, result in zip(names, results, strict=True)
    ]


def _split_name(results: Sequence[Mapping[str, Any]]) -> str:
    names = {result.get("split") for result in results}
    return "" if len(names) > 1 or names == {None} else f" on {names.pop()}"


def _protocol_text(result: Mapping[str, Any]) -> str:
    """How a run was scored, in words: its protocol, and how many images or studies."""
    protocol, unit = result["protocol"], result["unit"]
    plural = "studies" if unit == "study" else f"{unit}s"
    told = [PROTOCOLS.get(protocol["name"], str(protocol["name"]))]
    if protocol["name"] == "other":
        told = [f"labels by {protocol.get('labels_by') or 'not known'}"]
    if protocol.get("trained_on"):
        told.insert(0, "patients that the run was trained or chosen on")
    if protocol["name"] in ("holdout", "other"):
        told.append(f"truth by {policy_name(str(protocol.get('uncertainty') or 'not known'))}")
        told.append(f"split by {protocol.get('split_by') or 'not known'}".replace("by not", "not"))
    told.append(f"{' and '.join(protocol.get('views') or ['not known'])} views")
    patients = f" of {result['patients']:,} patients" if result.get("patients") else ""
    return f"{'; '.join(told)}; {result['n']:,} {plural}{patients}"


def _protocol_notes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    grouped = _grouped(zip(map(_protocol_text, results), _run_names(results), strict=True))
    if len(grouped) == 1:
        return [f"Protocol: {next(iter(grouped))}."]
    notes = [f"{', '.join(names)}: {text}." for text, names in grouped.items()]
    return [*notes, "Scores of different protocols are not to be ranked."]


def _data_notes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the images are from, as far as it is known."""
    known = [(result.get("data") or {}).get("description") for result in results]
    grouped = _grouped(
        (text, name) for text, name in zip(known, _run_names(results), strict=True) if text
    )
    if len(grouped) == 1 and all(known):
        return [f"Images: {next(iter(grouped))}."]
    return [f"Images of {', '.join(names)}: {text}." for text, names in grouped.items()]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The second of the pairs that share a first, each once."""
    grouped: dict[str, list[str]] = {}
    for key, name in pairs:
        names = grouped.setdefault(key, [])
        if name not in names:
            names.append(name)
    return grouped


def _interval_notes(results: Sequence[Mapping[str, Any]], shown: bool) -> list[str]:
    if not shown:
        return []
    told = [(_interval_text(result.get("intervals")), str(result["run"])) for result in results]
    grouped = _grouped(one for one in told if one[0])
    if len(grouped) == 1:
        return [f"In brackets: {next(iter(grouped))}."]
    return [f"In brackets, {', '.join(names)}: {text}." for text, names in grouped.items()]


def _interval_text(intervals: Mapping[str, Any] | None) -> str:
    if not intervals:
        return ""
    return (
        f"{100 * intervals['level']:g} % intervals, "
        f"{intervals['resampled']} resampled {intervals['replicates']:,} times"
    )


def references_tables(
    results: Sequence[Mapping[str, Any]],
) -> tuple[PaperTable | None, PaperTable | None]:
    """Published scores of the five competition labels: beside the runs, and apart from them.

    The first table has the runs and, below them, what was measured by their protocol; runs of
    several protocols are parts of it with a line between them. The second has what was measured
    otherwise, with the reason. Nothing is bold. None: no published score belongs there, or the
    runs have none of the five labels.

    Raises:
        UsageError: there are no results.
    """
    _need(results, "result")
    labels = [label for label in COMPETITION_LABELS if any(label in r["labels"] for r in results)]
    if not labels:
        return None, None
    return _same_table(results, labels), _other_table(results, labels)


MEANS = {5: "mean of five"}
"""The columns of the means that are published, by over how many labels."""
BLANKS = f"{MISSING}: not published, or not defined."

Published = dict[tuple[str, ...], list[Mapping[str, Any]]]
"""A source's figures of one model, by what they share."""


def _same_table(results: Sequence[Mapping[str, Any]], labels: list[str]) -> PaperTable | None:
    names = dict(zip(map(id, results), _run_names(results), strict=True))
    parts = _grouped_results(results)
    rows: list[list[str | None]] = []
    ends, found = [], []
    for part in parts:
        rows += [[names[id(result)], *_run_cells(result, labels)] for result in part]
        published = _published(part[0], "same", labels)
        found += list(published.values())
        ends.append(len(rows) - 1)
        rows += [[key[0], *_published_cells(figures, labels)] for key, figures in published.items()]
        ends.append(len(rows) - 1)
    if not found:
        return None
    table = PaperTable(
        caption=f"AUROC beside published scores of the same protocol{_split_name(results)}",
        columns=("", *labels, *MEANS.values()),
        rows=rows,
        notes=(*_protocol_notes(results), *_measured_notes(found), *_source_notes(found), BLANKS),
        rules_after=tuple(dict.fromkeys(ends[:-1])),
    )
    return _without_empty(table)


def _grouped_results(results: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Runs that were scored alike, and beside which the same published scores stand."""
    parts: list[list[Mapping[str, Any]]] = []
    for result in results:
        alike = (
            part
            for part in parts
            if _setting(part[0]) == _setting(result)
            and _references(part[0], "same") == _references(result, "same")
        )
        part = next(alike, None)
        if part is None:
            parts.append([result])
        else:
            part.append(result)
    return parts


def _references(result: Mapping[str, Any], which: str) -> list[Mapping[str, Any]]:
    return (result.get("references") or {}).get(which) or []


def _published(result: Mapping[str, Any], which: str, labels: Sequence[str]) -> Published:
    """The published scores of these labels and of means, by name, protocol and reason."""
    found: Published = {}
    for one in _references(result, which):
        if one["label"] is None or one["label"] in labels:
            key = (str(one["name"]), str(one["protocol"]), str(one.get("why", "")))
            found.setdefault(key, []).append(one)
    return found


def _run_cells(result: Mapping[str, Any], labels: Sequence[str]) -> list[str | None]:
    of = [(result["labels"].get(label) or {}).get("auroc") for label in labels]
    cells = [_score(value, None, MOST_DIGITS, False) for value in of]
    # A mean over other labels than the published is no figure for this column.
    five = result.get("competition") or {}
    whole = set(five.get("labels") or ()) == set(COMPETITION_LABELS) and five["defined"] == len(
        COMPETITION_LABELS
    )
    return [*cells, _score(five["mean_auroc"], None, MOST_DIGITS, False) if whole else None]


def _published_cells(
    figures: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> list[str | None]:
    of = {one["label"] or one["labels"]: _printed(one) for one in figures}
    return [of.get(key) for key in (*labels, *MEANS)]


def _printed(one: Mapping[str, Any]) -> str:
    """A published score or range with no more digits than were printed, but two at the least."""
    values = [one["low"], one["high"]] if one["auroc"] is None else [one["auroc"]]
    return " to ".join(
        f"{value:.{FEWEST_DIGITS if round(value, FEWEST_DIGITS) == value else MOST_DIGITS}f}"
        for value in values
    )


def _measured_notes(found: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the published scores are of."""
    grouped = _grouped((str(one["what"]), str(one["name"])) for of in found for one in of)
    return [f"{'; '.join(names)}: {text}." for text, names in grouped.items()]


def _source_notes(found: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    grouped = _grouped((_source(one), str(one["name"])) for of in found for one in of)
    return [f"Source of {'; '.join(names)}: {text}." for text, names in grouped.items()]


def _source(one: Mapping[str, Any]) -> str:
    """A figure's source and its place there; what version 0.1 wrote names no place."""
    return ", ".join(str(one[key]) for key in ("source", "where") if one.get(key))


def _other_table(results: Sequence[Mapping[str, Any]], labels: list[str]) -> PaperTable | None:
    """Rows with one reason are together; where runs give several, each is named with its own."""
    by_reason: dict[str, Published] = {}
    names = _run_names(results)
    reasons: dict[tuple[str, str], list[tuple[str, str]]] = {}
    figures: Published = {}
    for result, name in zip(results, names, strict=True):
        for (title, protocol, why), found in _published(result, "other", labels).items():
            reasons.setdefault((title, protocol), []).append((why, name))
            figures.setdefault((title, protocol), found)
    for (title, protocol), told in reasons.items():
        grouped = _grouped(told)
        shared = len(grouped) == 1 and len(told) == len(results)
        each = [f"{', '.join(runs)}: {why}" for why, runs in grouped.items()]
        why = told[0][0] if shared else ". ".join(each)
        by_reason.setdefault(why, {})[title, protocol] = figures[title, protocol]
    if not by_reason:
        return None
    rows: list[list[str | None]] = []
    ends = []
    for why, together in by_reason.items():
        for key, found in together.items():
            rows.append([key[0], *_published_cells(found, labels), why])
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


def differences_table(differences: Sequence[Mapping[str, Any]]) -> PaperTable:
    """Differences in AUROC, run less baseline: a row a label, a column a pair of runs.

    Args:
        differences: `run`, `baseline`, `label` (None: the mean), `difference` and `ci`, the last
            two None where not defined.

    Raises:
        UsageError: there are none.
    """
    _need(differences, "difference")
    pairs = list(dict.fromkeys((one["run"], one["baseline"]) for one in differences))
    labels = list(dict.fromkeys(one["label"] for one in differences))
    labels.sort(key=lambda label: label is None)  # the mean last
    cells = {(one["label"], one["run"], one["baseline"]): _change(one) for one in differences}
    rows: list[list[str | None]] = [
        ["mean" if label is None else label, *(cells.get((label, *pair)) for pair in pairs)]
        for label in labels
    ]
    notes = []
    if any(one.get("ci") for one in differences):
        notes.append(
            "In brackets: the interval of the difference. One that holds 0 settles nothing."
        )
    if any(cell is None for row in rows for cell in row):
        notes.append(f"{MISSING}: not defined for both runs.")
    means = None in labels and len(labels) > 1
    return PaperTable(
        caption="Differences in AUROC",
        columns=("label", *(f"{run} less {baseline}" for run, baseline in pairs)),
        rows=rows,
        notes=tuple(notes),
        rules_after=(len(rows) - 2,) if means else (),
    )


def _change(one: Mapping[str, Any]) -> str | None:
    if one["difference"] is None:
        return None
    text, ci = f"{one['difference']:+z.{MOST_DIGITS}f}", one.get("ci")
    return f"{text} [{ci[0]:+z.{MOST_DIGITS}f}, {ci[1]:+z.{MOST_DIGITS}f}]" if ci else text
