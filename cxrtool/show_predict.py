"""What is seen of predictions: tables, lines, CSV or JSON lines, row by row as they are made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cxrtool.config import CommonConfig
from cxrtool.errors import counted
from cxrtool.prediction_rows import Row, cells, csv_line, decide, header, json_line
from cxrtool.report import (
    Reporter,
    number,
    on_terminal,
    print_json,
    print_line,
    print_table,
    print_text,
    table,
)
from cxrtool.streams import is_read

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.ensemble import Ensemble
    from cxrtool.workflows.predict_work import PredictResult

TABLES_FOR = 3
"""Up to so many images get a table each."""
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
        self.exact = False
        self.labels: tuple[str, ...] = ()
        self.thresholds: dict[str, float | None] = {}

    def begin(self, ensemble: Ensemble, images: int) -> None:
        """So many images are about to be scored."""
        self.name, self.exact = ensemble.name, ensemble.exact
        self.labels, self.thresholds = ensemble.labels, ensemble.thresholds
        few = "tables" if images <= TABLES_FOR else "lines" if on_terminal() else "csv"
        self.form = "json lines" if self.json_lines else few
        if self.form == "csv":
            print_text(csv_line(header(self.labels)))

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
            print_text(csv_line(cells(row, self.labels, exact=self.exact)))
        elif self.form == "lines":
            _print_short(row)
        else:
            print_prediction(row, self.name, self.labels, self.thresholds)

    def end(self) -> None:
        """The last row was printed."""
        if self.form == "lines":
            print_line(f"Probabilities: --output CSV, or `| less`. {NO_DEVICE}")
        elif self.form == "tables":
            print_line(NO_DEVICE)


def _print_short(row: Row) -> None:
    """A line: what is positive there, or why it could not be read."""
    told = row.error or ", ".join(row.positive) or "nothing positive"
    warning = f" (warning: {row.warning})" if row.warning else ""
    print_line(f"{shown_name(row.path)}: {told}{warning}")


def print_prediction(
    row: Row, model: str, labels: tuple[str, ...], thresholds: dict[str, float | None]
) -> None:
    """An image's findings as a table, the most probable first."""
    if row.scores is None:
        print_line(f"{shown_name(row.path)}: {row.error}")
        return
    scores = dict(zip(labels, row.scores, strict=True))
    positive = decide(row.scores, labels, thresholds)
    lines = []
    for label in sorted(labels, key=lambda name: -scores[name]):
        threshold = thresholds[label]
        decided = "positive" if label in positive else "negative" if threshold is not None else ""
        lines.append([label, number(scores[label]), number(threshold), decided or "n/a"])
    columns = {"finding": "left", "probability": "right", "threshold": "right", "decision": "left"}
    print_line(f"{shown_name(row.path)} by {model}")
    print_table(table("", columns, lines))
    if row.warning:
        print_line(f"warning: {row.warning}")


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
            f"{counted(result.images, 'image')}, {result.failed:,} failed{speed}; "
            f"written: {result.output}"
        )
    if result.heatmaps is not None and not (common.json or common.quiet):
        print_line(f"{result.drawn:,} heat maps drawn: {result.heatmaps}")
    if result.failed:
        told = f"{result.failed:,} of {result.images:,} images could not be read"
        Reporter(quiet=common.quiet).warn(told)
