"""What the commands that score print: tables for people, one JSON object for scripts."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from cxrtool.core.config import CommonConfig, CompareConfig
from cxrtool.core.console import (
    PLAIN_WIDTH,
    next_command,
    number,
    print_json,
    print_line,
    print_table,
    print_text,
    table,
)
from cxrtool.core.errors import counted
from cxrtool.core.origin import BANNER, DRAWN

if TYPE_CHECKING:  # for the annotations alone: this must stay light to import
    from cxrtool.reports.markup import PaperTable
    from cxrtool.workflows.compare import CompareResult
    from cxrtool.workflows.evaluate import EvaluateResult
    from cxrtool.workflows.evaluate_tables import TablesResult

LONGEST = 40
"""A longer cell of a table for papers is told below it."""


def evaluated(result: EvaluateResult, common: CommonConfig) -> None:
    """The table of scores, and the protocol they were made by."""
    if common.json:
        print_json(result.as_json())
        return
    if common.quiet:
        return
    show_scores(result)
    if result.written:
        print_line(f"written: {result.written[0]}")
    next_command(f"predict IMAGE --run {shlex.quote(result.run)}", common)


def evaluated_tables(result: TablesResult, common: CommonConfig) -> None:
    """The scores of tables of predictions, and how far they are apart."""
    if common.json:
        print_json(result.as_json())
        return
    if common.quiet and result.written:
        return
    for one in result.results:
        show_scores(one)
        print_line()
    show_differences(result.differences)
    if result.written:
        print_line(f"written: {', '.join(str(path) for path in result.written)}")


def compared(result: CompareResult, config: CompareConfig, common: CommonConfig) -> None:
    """The tables of a comparison, to be read or for a paper."""
    if common.json:
        print_json(result.as_json())
        return
    if common.quiet and result.written:
        return
    if config.table != "text":
        from cxrtool.reports.markup import to_latex, to_markdown

        write = to_latex if config.table == "latex" else to_markdown
        print_text("\n".join(write(one) for one in result.tables.values()))
        return
    show_banner(result.results)
    for one in result.tables.values():
        _show_paper_table(one)
    if result.written:
        print_line(f"written: {', '.join(str(path) for path in result.written)}")


def _show_paper_table(one: PaperTable) -> None:
    """A table that fits 80 columns: what is too long in it has a mark, and stands below."""
    headings, legend = list(one.columns), []
    rows = [[cell if cell is not None else "n/a" for cell in row] for row in one.rows]
    others = [cell for row in rows for cell in row[1:] if len(cell) > LONGEST]
    sentences = list(dict.fromkeys(others))
    marks = {sentence: f"({chr(97 + at)})" for at, sentence in enumerate(sentences[:26])}
    rows = [[row[0], *(marks.get(cell, cell) for cell in row[1:])] for row in rows]
    widths = [
        max(len(heading), *(len(row[column]) for row in rows))
        for column, heading in enumerate(headings)
    ]
    if sum(widths) + 2 * len(widths) > PLAIN_WIDTH:
        legend = [f"{number}: {heading}" for number, heading in enumerate(headings[1:], start=1)]
        headings = [headings[0], *(str(number) for number in range(1, len(headings)))]
    sides = {heading: "right" if at else "left" for at, heading in enumerate(headings)}
    print_table(table(one.caption, sides, rows, wrap=True))
    told = [f"{mark} {sentence}" for sentence, mark in marks.items()]
    for line in (*legend, *told, *one.notes):
        print_line(textwrap.fill(line, PLAIN_WIDTH, subsequent_indent="  "))
    print_line()


def show_differences(differences: list[dict[str, Any]]) -> None:
    """The difference of each pair's mean AUROC, with its interval."""
    for pair in differences:
        apart = pair["mean"]
        ends = apart["auroc_ci"]
        within = f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else ""
        value = "n/a" if apart["auroc"] is None else f"{apart['auroc']:+.3f}"
        print_line(f"{pair['run']} less {pair['baseline']}: mean AUROC {value}{within}")


def show_scores(result: EvaluateResult) -> None:
    """The table of scores, their means, the largest gaps between groups, and the protocol."""
    values = result.values
    show_banner([values])
    rows = [_score_row(label, figures) for label, figures in result.labels.items()]
    columns = {
        "label": "left",
        "AUROC": "right",
        "95 % CI": "right",
        "thresh.": "right",
        "sens.": "right",
        "spec.": "right",
        "pos.": "right",
    }
    if values["operating_point"] is None:
        # Without thresholds there is room for the other measure of ranking.
        columns = {"label": "left", **dict.fromkeys(("AUROC", "95 % CI"), "right")}
        columns |= dict.fromkeys(("AUPRC", "its CI", "pos."), "right")
        rows = [_ranking_row(label, figures) for label, figures in result.labels.items()]
    part = f" on {values['split']}" if values["split"] else ""
    print_table(table(f"{result.run}{part}: {counted(result.n, values['unit'])}", columns, rows))
    print_line(_mean_line("mean AUROC", values, len(result.labels)))
    five = values["competition"]
    if five and 1 < len(five["labels"]) < len(result.labels):
        print_line(_mean_line("of the CheXpert competition's:", five, len(five["labels"])))
    _show_gaps(values)
    _show_protocol(values)


def show_banner(results: list[dict[str, Any]]) -> None:
    """That the images were drawn, where they were: nobody shall take the scores for more."""
    if any((values.get("data") or {}).get("origin") == DRAWN for values in results):
        print_line(textwrap.fill(f"DRAWN IMAGES. {BANNER}", PLAIN_WIDTH))
        print_line()


def _mean_line(what: str, figures: dict[str, Any], labels: int) -> str:
    ends = figures["mean_auroc_ci"]
    within = f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else ""
    mean = number(figures["mean_auroc"])
    return f"{what} {mean}{within} over {figures['defined']} of {labels} labels"


def _show_gaps(values: dict[str, Any]) -> None:
    """The largest gap of AUROC between the groups of each column, if its interval is clear of 0."""
    for column, told in values["subgroups"].items():
        clear = [
            (gap["auroc"], label)
            for label, gap in told["gaps"].items()
            if gap["auroc"] and gap["auroc"]["ci"] and gap["auroc"]["ci"][0] > 0
        ]
        if clear:
            gap, label = max(clear, key=lambda one: one[0]["gap"])
            print_line(
                f"largest gap by {column}: {label}, AUROC {gap['gap']:.3f} higher for "
                f"{gap['highest']} than for {gap['lowest']}"
            )


def _show_protocol(values: dict[str, Any]) -> None:
    told = values["protocol"]
    point = values["operating_point"]
    thresholds = f"{point['rule']}, chosen on {point['chosen_on']}" if point else "none"
    calibration = values["calibration"]
    curve = f";\n  probabilities: {calibration['method']}, fitted on valid" if calibration else ""
    views = " and ".join(told["views"]) or "not known which"
    patients = counted(values["patients"], "patient")
    drawn = f"intervals over {patients}" if values["intervals"] else f"no intervals, {patients}"
    data = values.get("data") or {}
    for line in textwrap.wrap(f"images: {data.get('description') or 'not known'}", PLAIN_WIDTH):
        print_line(line)
    print_line(
        f"protocol: {told['name']}, split by {told['split_by']}, {views} views;\n"
        f"  labels by {told['labels_by']};\n"
        f"  uncertain as {told['uncertainty']}, blank as {told['blank']}; {drawn};\n"
        f"  thresholds: {thresholds}{curve}"
    )


def _score_row(label: str, figures: dict[str, Any]) -> list[str]:
    interval = figures["auroc_ci"]
    return [
        label,
        number(figures["auroc"]),
        f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "n/a",
        number(figures["threshold"]),
        number(figures["sensitivity"], 2),
        number(figures["specificity"], 2),
        f"{figures['positives']:,}",
    ]


def _ranking_row(label: str, figures: dict[str, Any]) -> list[str]:
    cells = [label]
    for name in ("auroc", "auprc"):
        ends = figures[f"{name}_ci"]
        cells.append(number(figures[name]))
        cells.append(f"{ends[0]:.3f}-{ends[1]:.3f}" if ends else "n/a")
    return [*cells, f"{figures['positives']:,}"]
