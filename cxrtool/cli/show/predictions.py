"""What is seen of predictions: tables, lines, CSV or JSON lines, row by row as they are made."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import (
    Reporter,
    on_terminal,
    print_json,
    print_line,
    print_table,
    print_text,
    table,
)
from cxrtool.core.errors import counted
from cxrtool.core.streams import is_read
from cxrtool.data.prediction_rows import (
    READ_FIRST,
    RULE_IN,
    Row,
    cells,
    csv_line,
    header,
    json_line,
)
from cxrtool.images.blanks import undecidable

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.inference.ensemble import Ensemble
    from cxrtool.inference.study_sink import StudyCounts
    from cxrtool.inference.work import PredictResult

TABLES_FOR = 3
"""Up to so many rows get a table each."""
NAMED = 10
"""Failed rows that the last lines name."""
NO_DEVICE = "Research software, not a medical device."


class Printer:
    """Prints rows as they are made, in the form that suits their number and who reads them.

    Args:
        json_lines: an object of JSON a row.
        alone: the rows that are printed are all that is made.
    """

    def __init__(self, *, json_lines: bool = False, alone: bool = True) -> None:
        self.json_lines, self.alone = json_lines, alone
        self.form = ""
        self.name = ""
        self.labels: tuple[str, ...] = ()
        self.thresholds: dict[str, float | None] = {}
        self.limits: dict[str, tuple[float, float]] = {}

    def begin(self, ensemble: Ensemble, rows: int, more: Sequence[str]) -> None:
        """So many rows are about to be made, with these columns of `MORE`."""
        self.name = ensemble.name
        self.labels, self.thresholds = ensemble.labels, ensemble.thresholds
        self.limits = ensemble.limits
        few = "tables" if rows <= TABLES_FOR else "lines" if on_terminal() else "csv"
        self.form = "json lines" if self.json_lines else few
        if self.form == "csv":
            print_text(csv_line(header(self.labels, verdicts=bool(self.limits), more=more)))

    def row(self, row: Row) -> None:
        """The next one, in order.

        Raises:
            BrokenPipeError: nobody reads them any more, and nothing else is made.
        """
        if self.alone and not is_read(sys.stdout):
            raise BrokenPipeError
        if self.form == "json lines":
            print_text(json_line(row, self.labels))
        elif self.form == "csv":
            print_text(csv_line(cells(row, self.labels)))
        elif self.form == "lines":
            _print_short(row)
        else:
            print_prediction(row, self.name, self.labels, self.thresholds, self.limits)

    def end(self) -> None:
        """The last row was printed."""
        if self.form == "lines":
            print_line(f"Probabilities: --output CSV, or `| less`. {NO_DEVICE}")
        elif self.form == "tables":
            print_line(NO_DEVICE)


def _print_short(row: Row) -> None:
    """A line: why it could not be read; or why it is doubtful, and what is positive there."""
    from cxrtool.evaluation.decisions import (  # with NumPy, which show is imported without
        is_doubtful,
        named,
    )

    if row.scores is None:
        print_line(f"{shown_name(row.path)}: could not be read: {row.error}")
    elif undecidable(row.warning):
        print_line(f"{shown_name(row.path)}: no decision: {row.warning}")
    elif is_doubtful(row.warning):
        print_line(f"{shown_name(row.path)}: warning: {row.warning} ({named(row.positive)})")
    else:
        warning = f" (warning: {row.warning})" if row.warning else ""
        print_line(f"{shown_name(row.path)}: {named(row.positive)}{_verdicts(row)}{warning}")


def _verdicts(row: Row) -> str:
    """What is ruled in and what is read first, in a line's words; nothing without verdicts."""
    parts = []
    for verdict in (RULE_IN, READ_FIRST):
        labels = [one.rpartition(":")[0] for one in row.verdicts or () if one.endswith(verdict)]
        parts += [f"; {verdict}: {', '.join(labels)}"] if labels else []
    return "".join(parts)


def print_prediction(
    row: Row,
    model: str,
    labels: tuple[str, ...],
    thresholds: dict[str, float | None],
    limits: dict[str, tuple[float, float]] | None = None,
) -> None:
    """An image's findings as a table, the most probable first; what makes them doubtful before."""
    if row.scores is None:
        print_line(f"{shown_name(row.path)}: could not be read: {row.error}")
        return
    from cxrtool.evaluation.decisions import NONE, findings_of, is_doubtful

    print_line(f"{shown_name(row.path)} by {model}")
    doubtful = is_doubtful(row.warning)
    if row.warning:
        means = ""
        if undecidable(row.warning):
            means = ": nothing is decided of it"
        elif doubtful:
            means = ": the decisions in brackets may mean nothing"
        print_line(f"warning: {row.warning}{means}")
    lines = []
    for one in findings_of(row.scores, labels, thresholds, row.warning, limits=limits):
        decided = f"({one.decision})" if doubtful and one.decision != NONE else one.decision
        line = [one.label, one.shown, one.shown_threshold, decided]
        lines.append([*line, one.verdict or NONE] if limits else line)
    columns = {"finding": "left", "probability": "right", "threshold": "right", "decision": "left"}
    if limits:
        columns["verdict"] = "left"
    print_table(table("", columns, lines))


def shown_name(name: str) -> str:
    """A file's name on one line of a terminal, whatever characters are in it."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name
    )


def predicted(result: PredictResult, printer: Printer | None, common: CommonConfig) -> None:
    """Where the rows are, and how many failed; they themselves were printed as they were made."""
    if not result.writes:
        return
    if common.json:
        print_json(result.as_json())
    elif printer is not None and not common.quiet:
        printer.end()
    elif result.output is not None and not common.quiet:
        speed = f", {result.images_per_second:,.0f} a second" if result.images_per_second else ""
        print_line(
            f"{_counted_rows(result)}, {result.failed:,} failed{speed}; written: {result.output}"
        )
    if result.heatmaps is not None and not (common.json or common.quiet):
        print_line(f"{result.drawn:,} heat maps drawn: {result.heatmaps}")
    if result.dicom is not None and not (common.json or common.quiet):
        _print_studies(result.dicom)
    if result.failed:
        _warn_of_failures(result, Reporter(quiet=common.quiet))


def _print_studies(counts: StudyCounts) -> None:
    """How many DICOM results of how many studies there are, and which inputs are of none."""
    made = ", ".join(f"{number:,} {kind}" for kind, number in counts.files.items())
    parts = [made or "nothing to make"]
    parts += [f"{counts.complete:,} complete before"] * bool(counts.complete)
    parts += [f"{len(counts.failures):,} without results"] * bool(counts.failures)
    print_line(f"{counted(counts.studies, 'study')}: {', '.join(parts)}: {counts.folder}")
    if counts.sent or counts.unsent:
        print_line(f"sent: {counts.sent:,}; not sent: {len(counts.unsent):,}")
    for study, why in counts.unsent[:NAMED]:
        print_line(f"  {study}: {why}")
    for why, inputs in counts.without_study.items():
        print_line(f"{counted(inputs, 'input')} without a report: {why}")


def _counted_rows(result: PredictResult) -> str:
    images = counted(result.images, "image")
    if result.studies is None:
        return images
    left_out = f" ({counted(result.laterals, 'lateral image')} left out)" if result.laterals else ""
    return f"{counted(result.studies, 'study')} of {images}{left_out}"


def _warn_of_failures(result: PredictResult, reporter: Reporter) -> None:
    """Name the first rows that failed and why; the table has the others."""
    kind = "images could not be read" if result.studies is None else "studies could not be scored"
    rows = result.images if result.studies is None else result.studies
    lines = [f"{result.failed:,} of {rows:,} {kind}:"]
    lines += [f"  {shown_name(path)}: {why}" for path, why in result.failures.first[:NAMED]]
    if result.failed > NAMED:
        lines.append(f"  and {result.failed - NAMED:,} more: their rows say why, as `error`")
    reporter.warn("\n".join(lines))
