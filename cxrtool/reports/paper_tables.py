"""Tables of a paper from results: runs side by side, and paired."""

from collections.abc import Iterable, Sequence

from cxrtool.core.errors import UsageError, counted, grouped
from cxrtool.core.numbers import Estimate, change, number
from cxrtool.data.labels import policy_name
from cxrtool.evaluation.delong import AreaDifference
from cxrtool.evaluation.protocol import NOT_KNOWN, OTHER, PROTOCOLS
from cxrtool.evaluation.result import EvaluationResult, LabelScores, PairedDifferences
from cxrtool.reports.markup import MISSING, PaperTable

Results = Sequence[EvaluationResult]
Cells = list[str | None]


def auroc_table(results: Results, *, digits: int = 2) -> PaperTable:
    """The AUROC of each label and their mean: a row a label, a column a run.

    The best of a row is bold where all runs have one protocol, unit, number of images and truth;
    equal as printed is equal. A mean is bold only where it is over the same labels.



    Raises:
        UsageError: there are no results.
    """
    need(results, "result")
    labels = list(dict.fromkeys(label for result in results for label in result.labels))
    figures = [[result.labels.get(label) for result in results] for label in labels]
    scores = [[one.auroc if one else Estimate() for one in row] for row in figures]
    scores.append([result.mean_auroc for result in results])
    counts = [f"{result.defined} of {len(result.labels)}" for result in results]
    alike = len(set(counts)) == 1
    names = [*labels, f"mean over {counts[0]}" if alike else "mean"]
    rows: list[Cells] = [
        [name, *(None if one.value is None else number(one.value, digits) for one in row)]
        for name, row in zip(names, scores, strict=True)
    ]
    if not alike:
        rows[-1][1:] = [
            cell and f"{cell} ({counted})"
            for cell, counted in zip(rows[-1][1:], counts, strict=True)
        ]
    origins = [result.data.description for result in results]
    notes = protocol_notes(results)
    notes += _notes("Images", "Images of ", zip(origins, run_names(results), strict=True))

    if any(cell is None for row in rows for cell in row):
        notes.append(f"{MISSING}: only one class occurs, or the run has no such label.")
    return PaperTable(
        caption=f"AUROC of each label{split_name(results)}",
        columns=("label", *run_names(results)),
        rows=rows,
        notes=tuple(notes),
        bold=_best(results, figures, scores, digits),
        rules_after=(len(rows) - 2,) if labels else (),
    )


def need(things: Sequence[object], what: str) -> None:
    """Refuse to make a table of nothing."""
    if not things:
        raise UsageError(f"a table needs one {what} or more, and there is none")


def _best(
    results: Results,
    figures: Sequence[Sequence[LabelScores | None]],
    scores: Sequence[Sequence[Estimate]],
    digits: int,
) -> frozenset[tuple[int, int]]:
    """The best cells of the rows; none where anything says that the images or truth differ."""
    if len(results) < 2 or any(setting(one) != setting(results[0]) for one in results):
        return frozenset()
    truths = [{(one.n, one.positives) for one in row if one} for row in figures]
    comparable = [len(truth) == 1 for truth in truths]
    defined = [set(one.labels) - set(one.undefined) for one in results]
    comparable.append(all(comparable) and all(labels == defined[0] for labels in defined))
    bold = set()
    for row, values in enumerate(scores):
        printed = [number(one.value, digits) for one in values]
        known = [text for text in printed if text != MISSING]
        if comparable[row] and len(known) > 1:
            best = max(known, key=float)
            bold |= {(row, place) for place, text in enumerate(printed, 1) if text == best}
    return frozenset(bold)


def setting(result: EvaluationResult) -> tuple[object, ...]:
    """What two runs must share for their scores to be compared with each other."""
    return (result.protocol, result.unit, result.n, result.patients)


def run_names(results: Results) -> list[str]:
    """The runs' names, the part that was scored with them where one run is there twice."""
    names = [result.run for result in results]
    return [
        f"{name} ({result.split})" if names.count(name) > 1 and result.split else name
        for name, result in zip(names, results, strict=True)
    ]


def split_name(results: Results) -> str:
    """The part that all were scored on, for a caption."""
    names = {result.split for result in results}
    return "" if len(names) > 1 or names == {None} else f" on {names.pop()}"


def _protocol_text(result: EvaluationResult) -> str:
    """How a run was scored, in words: its protocol, and how many images or studies."""
    protocol = result.protocol
    parts = ["patients that the run was trained or chosen on"] if protocol.trained_on else []
    labels_by = f"labels by {protocol.labels_by}"
    parts.append(labels_by if protocol.name == OTHER else PROTOCOLS[protocol.name])
    if protocol.name in ("holdout", OTHER):
        by = "" if protocol.split_by == NOT_KNOWN else "by "
        parts += [f"truth by {policy_name(protocol.uncertainty)}", f"split {by}{protocol.split_by}"]
    if protocol.readers:
        parts.append(f"several readers: {protocol.readers_words}")
    parts.append(f"{' and '.join(protocol.views) or NOT_KNOWN} views")
    over = f"{counted(result.n, result.unit)} of {counted(result.patients, 'patient')}"
    return f"{'; '.join(parts)}; {over}"


def protocol_notes(results: Results) -> list[str]:
    """How the runs were scored."""
    notes = _notes(
        "Protocol", "", zip(map(_protocol_text, results), run_names(results), strict=True)
    )
    if len(notes) > 1:
        notes.append("Scores of different protocols are not to be ranked.")
    return notes


def _notes(what: str, of: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """What is said of all runs; or of each, by pairs of a text and a run's name."""
    by_text = grouped(pairs)
    if len(by_text) == 1:
        return [f"{what}: {next(iter(by_text))}."]
    return [f"{of}{', '.join(names)}: {text}." for text, names in by_text.items()]


def differences_table(differences: Sequence[PairedDifferences]) -> PaperTable:
    """Differences in AUROC, run less baseline: a row a label, a column a pair of runs.

    Raises:
        UsageError: there are none.
    """
    need(differences, "difference")
    labels = list(dict.fromkeys(label for pair in differences for label in pair.labels))
    found = [[pair.labels.get(label) for pair in differences] for label in labels]
    changes = [
        [Estimate(one.auroc.value, one.auroc_adjusted) if one else Estimate() for one in row]
        for row in found
    ]
    changes.append([pair.mean.auroc for pair in differences])
    rows: list[Cells] = [
        [label, *map(_change, row)] for label, row in zip([*labels, "mean"], changes, strict=True)
    ]
    notes = []
    if any(one.interval for row in changes for one in row):
        notes.append(
            "In brackets: the interval of the difference; those of a column's labels hold all at "
            "once (max-T), that of the mean by itself. One that holds 0 settles nothing."
        )
    if any(cell is None for row in rows for cell in row):
        notes.append(f"{MISSING}: not defined for both runs.")
    return PaperTable(
        caption="Differences in AUROC",
        columns=("label", *(f"{pair.run} less {pair.baseline}" for pair in differences)),
        rows=rows,
        notes=tuple(notes),
        rules_after=(len(rows) - 2,),
    )


def delong_table(differences: Sequence[PairedDifferences]) -> PaperTable:
    """The same differences by DeLong's method over patients, each label by itself, with p-values.

    Raises:
        UsageError: there are none.
    """
    need(differences, "difference")
    labels = list(dict.fromkeys(label for pair in differences for label in pair.labels))
    rows: list[Cells] = []
    for label in labels:
        found = [pair.labels.get(label) for pair in differences]
        rows.append([label, *(_by_delong(one.delong) if one else None for one in found)])
    return PaperTable(
        caption="Differences in AUROC by DeLong's test",
        columns=("label", *(f"{pair.run} less {pair.baseline}" for pair in differences)),
        rows=rows,
        notes=(
            "DeLong's test with patients as clusters (Obuchowski 1997): the difference, its "
            "interval and p-value of each label by itself. Of many labels some are below 0.05 by "
            "chance: the adjusted intervals say which differ.",
        ),
    )


def _by_delong(one: AreaDifference | None) -> str | None:
    if one is None:
        return None
    p = "" if one.p is None else "; p < 0.001" if one.p < 0.001 else f"; p = {one.p:.3f}"
    return f"{_change(Estimate(one.difference, one.ci))}{p}"


def _change(one: Estimate) -> str | None:
    if one.value is None:
        return None
    ends = ", ".join(map(change, one.interval or ()))
    return change(one.value) + (f" [{ends}]" if ends else "")
