"""What `evaluate --data` prints: the data sets, and a run's scores on them side by side."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from cxrtool.cli.show.scores import show_banner, show_gaps, show_paper_table
from cxrtool.core.config import CommonConfig
from cxrtool.core.console import PLAIN_WIDTH, next_command, print_line, without_tables
from cxrtool.core.errors import counted, first_few
from cxrtool.core.numbers import percent

if TYPE_CHECKING:  # for the annotations alone: this must stay light to import
    from cxrtool.evaluation.external import ExternalResult, ExternalSet
    from cxrtool.evaluation.result import EvaluationResult
    from cxrtool.evaluation.shared_labels import LabelCells

MOST_NAMED = 15
"""Labels that are named before the rest is counted."""


def evaluated_elsewhere(result: ExternalResult, common: CommonConfig) -> None:
    """The data sets, the tables, and what sets groups apart in each."""
    if without_tables(result, common):
        return
    from cxrtool.reports.external_tables import external_tables

    results = [one.result for one in result.sets]
    show_banner([*([result.internal.result] if result.internal else []), *results])
    if result.internal is not None:
        own = result.internal.result
        _show_data(f"own {own.split}", own, result.internal.cells)
    for one in result.sets:
        _show_data(one.name, one.result, one.cells)
        _show_labels(one)
    _say(_truth(results[0]))
    print_line()
    for table in external_tables(result):
        show_paper_table(table)
    if not any(label.threshold is not None for one in results for label in one.labels.values()):
        print_line("no label in common has a threshold: no sensitivity, no specificity")
    for one in result.sets:
        show_gaps(one.result, f"{one.name}: ")
    pages = [path for path in result.written if path.suffix == ".html"] or result.written[:1]
    print_line(f"written: {', '.join(str(path) for path in pages)}")
    next_command(f"predict IMAGE --run {shlex.quote(result.run)}", common)


def _show_data(name: str, result: EvaluationResult, cells: LabelCells) -> None:
    protocol = result.protocol
    views = " and ".join(protocol.views) or "not known"
    _say(
        f"{name}: {counted(result.n, result.unit)} of {counted(result.patients, 'patient')}; "
        f"{result.data.description}; labels by {protocol.labels_by}; {views} views; "
        f"{percent(cells.blank)} of the labels blank ({cells.blank_means}), "
        f"{percent(cells.uncertain)} uncertain"
    )


def _show_labels(one: ExternalSet) -> None:
    """What both have, and what was left out on each side."""
    labels = one.labels
    said = [counted(len(labels.common), "label") + " in common"]
    if labels.renamed:
        there = [f"{ours} is {theirs}" for ours, theirs in labels.renamed.items()]
        said[0] += f" (there {first_few(there, MOST_NAMED)})"
    for what, names in (
        ("of the run are not there", labels.missing),
        ("are blank in each row there", labels.empty),
        ("there are not the run's", labels.other),
    ):
        if names:
            said.append(f"{len(names)} {what}: {first_few(names, MOST_NAMED)}")
    if one.other_views:
        said.append(f"{counted(one.other_views, 'row')} of other views left out")
    if one.unusable:
        said.append(f"{counted(one.unusable, 'row')} that cannot be used left out")
    _say(f"  {'; '.join(said)}")


def _truth(result: EvaluationResult) -> str:
    protocol, point = result.protocol, result.operating_point
    thresholds = f"{point}, chosen on the run's {point.chosen_on}" if point else "none"
    return (
        f"in all: uncertain as {protocol.uncertainty}, blank as {protocol.blank}; thresholds: "
        f"{thresholds}"
    )


def _say(text: str) -> None:
    print_line(textwrap.fill(text, PLAIN_WIDTH, subsequent_indent="  "))
