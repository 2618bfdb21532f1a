"""What the commands that score print: tables for people, one JSON object for scripts."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig, CompareConfig
from cxrtool.core.console import (
    PLAIN_WIDTH,
    next_command,
    print_line,
    print_table,
    print_text,
    table,
    without_tables,
)
from cxrtool.core.errors import counted
from cxrtool.core.numbers import (
    MISSING,
    Estimate,
    change,
    interval,
    number,
    percent,
    threshold_text,
    with_interval,
)
from cxrtool.core.origin import BANNER

if TYPE_CHECKING:  # for the annotations alone: this must stay light to import
    from cxrtool.evaluation.result import (
        CompetitionMean,
        EvaluationResult,
        LabelScores,
        PairedDifferences,
    )
    from cxrtool.evaluation.verdicts import TriageScores
    from cxrtool.reports.markup import PaperTable
    from cxrtool.workflows.compare import CompareResult
    from cxrtool.workflows.evaluate_tables import TablesResult

PUBLISHED = ("references", "other_references")
"""The tables of a comparison that have published results."""
LONGEST = 40
"""A longer cell of a table for papers stands below it."""


def evaluated(result: EvaluationResult, common: CommonConfig) -> None:
    """The table of scores, and the protocol they were made by."""
    if without_tables(result, common):
        return
    show_scores(result)
    if result.written:
        print_line(f"written: {result.written[0]}")
    next_command(f"predict IMAGE --run {shlex.quote(result.run)}", common)


def evaluated_tables(result: TablesResult, common: CommonConfig) -> None:
    """The scores of tables of predictions, and how far they are apart."""
    if without_tables(result, common, needed=not result.written):
        return
    for one in result.results:
        show_scores(one)
        print_line()
    show_differences(result.differences)
    if result.written:
        print_line(f"written: {', '.join(str(path) for path in result.written)}")


def compared(result: CompareResult, config: CompareConfig, common: CommonConfig) -> None:
    """The tables of a comparison, to be read or for a paper."""
    if without_tables(result, common, needed=not result.written):
        return
    if config.table != "text":
        from cxrtool.reports.markup import to_latex, to_markdown

        write = to_latex if config.table == "latex" else to_markdown
        print_text("\n".join(write(one) for one in result.tables.values()))
        return
    show_banner(result.results)
    for name, one in result.tables.items():
        if config.references or name not in PUBLISHED:
            show_paper_table(one)
    if result.published and not config.references:
        print_line(f"{counted(result.published, 'published result')}: --references shows them")
    if result.written:
        print_line(f"written: {', '.join(str(path) for path in result.written)}")


def show_paper_table(one: PaperTable) -> None:
    """A table that fits 80 columns: what is too long in it has a mark, and stands below."""
    from cxrtool.reports.markup import with_letters

    one = with_letters(one, LONGEST)
    headings, legend = list(one.columns), []
    rows = [[MISSING if cell is None else cell for cell in row] for row in one.rows]
    widths = [
        max(len(heading), *(len(row[column]) for row in rows))
        for column, heading in enumerate(headings)
    ]
    if sum(widths) + 2 * len(widths) > PLAIN_WIDTH:
        legend = [f"{place}: {heading}" for place, heading in enumerate(headings[1:], start=1)]
        headings = [headings[0], *(str(place) for place in range(1, len(headings)))]
    sides = {heading: "right" if at else "left" for at, heading in enumerate(headings)}
    print_table(table(one.caption, sides, rows, wrap=True))
    for line in (*legend, *one.notes):
        print_line(textwrap.fill(line, PLAIN_WIDTH, subsequent_indent="  "))
    print_line()


def show_differences(differences: Sequence[PairedDifferences]) -> None:
    """The difference of each pair's mean AUROC, with its interval."""
    for pair in differences:
        mean = pair.mean.auroc
        ends = mean.interval
        within = f" ({change(ends[0])} to {change(ends[1])})" if ends else ""
        print_line(f"{pair.run} less {pair.baseline}: mean AUROC {change(mean.value)}{within}")


def show_scores(result: EvaluationResult) -> None:
    """The table of scores, their means, the gaps between groups, and the protocol."""
    show_banner([result])
    # Without thresholds there is room for the other measure of ranking.
    ranking = result.operating_point is None
    others = ("AUPRC", "its CI") if ranking else ("thresh.", "sens.", "spec.")
    headings = {"label": "left", **dict.fromkeys(("AUROC", "95 % CI", *others, "pos."), "right")}
    rows = [
        [label, *_with_interval(one.auroc), *_further(one, ranking=ranking), f"{one.positives:,}"]
        for label, one in result.labels.items()
    ]
    part = f" on {result.split}" if result.split else ""
    print_table(table(f"{result.run}{part}: {counted(result.n, result.unit)}", headings, rows))
    print_line(_mean_line("mean AUROC", result))
    five = result.competition
    if five and 1 < len(five.labels) < len(result.labels):
        print_line(_mean_line("of the CheXpert competition's:", five))
    for label, one in result.labels.items():
        if one.target_prevalence is not None:
            print_line(
                f"{label} at a prevalence of {percent(one.target_prevalence)}: PPV "
                f"{with_interval(one.target_ppv)}, NPV {with_interval(one.target_npv)}"
            )
    show_gaps(result)
    if result.triage is not None:
        show_triage(result.triage)
    _show_readers(result)
    _show_robustness(result)
    _show_protocol(result)


def show_triage(triage: TriageScores) -> None:
    """The share of each verdict, label by label, and what the two thresholds promise."""
    columns = ("below", "from", "ruled out", "read first", "ruled in")
    headings = {"label": "left", **dict.fromkeys(columns, "right")}
    rows = [
        [label, *one.shown_limits, *map(_percents, (one.rule_out, one.read_first, one.rule_in))]
        for label, one in triage.labels.items()
    ]
    if rows:
        print_table(table("triage: shares in % (95 % CI)", headings, rows))
    for name, words in zip(("ruled out", "ruled in"), triage.conditions, strict=True):
        print_line(textwrap.fill(f"{name}: {words}", PLAIN_WIDTH, subsequent_indent="  "))


def _percents(share: Estimate) -> str:
    """A share and its interval in whole percents: `65 (59-71)`."""
    if share.value is None:
        return MISSING
    ends = share.interval and "-".join(f"{100 * end:.0f}" for end in share.interval)
    return f"{100 * share.value:.0f}" + (f" ({ends})" if ends else "")


def show_banner(results: Sequence[EvaluationResult]) -> None:
    """That the images were drawn, where they were: nobody shall take the scores for more."""
    if any(one.data.drawn for one in results):
        print_line(textwrap.fill(f"DRAWN IMAGES. {BANNER}", PLAIN_WIDTH))
        print_line()


def _with_interval(estimate: Estimate) -> tuple[str, str]:
    return number(estimate.value), interval(estimate.interval, between="-") or MISSING


def _further(one: LabelScores, *, ranking: bool) -> tuple[str, ...]:
    if ranking:
        return _with_interval(one.auprc)
    rates = (number(rate.value, 2) for rate in (one.sensitivity, one.specificity))
    return (threshold_text(one.threshold), *rates)


def _mean_line(what: str, of: EvaluationResult | CompetitionMean) -> str:
    mean, ends = of.mean_auroc, interval(of.mean_auroc.interval, between="-")
    within = f" ({ends})" if ends else ""
    return f"{what} {number(mean.value)}{within} over {of.defined} of {len(of.labels)} labels"


def show_gaps(result: EvaluationResult, of: str = "") -> None:
    """The surest gap between the groups of each column, if an interval is clear of 0."""
    for column, subgroups in result.subgroups.items():
        if not subgroups.clear or not subgroups.adjusted:
            continue
        gap, more = subgroups.clear[0], len(subgroups.clear) - 1
        others = f"; {more} more" if more else ""
        print_line(
            f"{of}gap by {column}: {gap.label}, {gap.measure.upper()} {number(gap.gap)} "
            f"({interval(gap.ci, between='-')}) higher for {gap.highest} than for {gap.lowest}"
            f"{others} (adjusted for {counted(subgroups.adjusted.comparisons, 'comparison')})"
        )


def _show_readers(result: EvaluationResult) -> None:
    """Of each label, how many readers are above the model's curve, and how far they agree."""
    if result.readers is None:
        return
    rows = []
    for label, one in result.readers.labels.items():
        gaps = [reader.difference.value for reader in one.readers.values()]
        known = [gap for gap in gaps if gap is not None]
        above = f"{sum(gap < 0 for gap in known)} of {len(known)}" if known else MISSING
        rows.append([label, above, *_with_interval(one.kappa)])
    columns = {"label": "left", **dict.fromkeys(("above", "kappa", "95 % CI"), "right")}
    print_table(table("Readers above the model's curve", columns, rows))
    print_line(textwrap.fill(f"readers: {', '.join(result.readers.names)}", PLAIN_WIDTH))


def _show_robustness(result: EvaluationResult) -> None:
    """What each change of the images costs, and how many decisions it turns."""
    if result.robustness is None:
        return
    rows = []
    for name, one in result.robustness.changes.items():
        ends = one.difference.interval
        within = f"{change(ends[0])} to {change(ends[1])}" if ends else MISSING
        rows.append([name, change(one.difference.value), within, percent(one.flipped)])
    sides = dict.fromkeys(("mean AUROC", "95 % CI", "decisions turned"), "right")
    print_table(table("Images changed a little", {"change": "left", **sides}, rows))


def _show_protocol(result: EvaluationResult) -> None:
    protocol, point = result.protocol, result.operating_point
    thresholds = f"{point}, chosen on {point.chosen_on}" if point else "none"
    curve = ""
    if result.calibration:
        done = result.calibration
        curve = f";\n  probabilities: {done.method}, of {done.chosen_on}"
        if done.moved_to:
            moved = (f"{label} {percent(share)}" for label, share in done.moved_to.items())
            curve += f"\n  moved to prevalences of {', '.join(moved)}"
    views = " and ".join(protocol.views) or "not known which"
    patients = counted(result.patients, "patient")
    drawn = f"intervals over {patients}" if result.intervals else f"no intervals, {patients}"
    condition = point.condition if point else ""
    promised = f";\n{_indented(f'promised: {condition}')}" if condition else ""
    readers = f";\n  several readers: {protocol.readers_words}" if protocol.readers else ""
    if result.divided:
        readers += f"\n  (left out: {counted(result.divided, 'label value')}, evenly divided)"
    print_line(textwrap.fill(f"images: {result.data.description}", PLAIN_WIDTH))
    print_line(
        f"protocol: {protocol.name}, split by {protocol.split_by}, {views} views;\n"
        f"  labels by {protocol.labels_by}{readers};\n"
        f"  uncertain as {protocol.uncertainty}, blank as {protocol.blank}; {drawn};\n"
        f"  thresholds: {thresholds}{promised}{curve}"
    )


def _indented(text: str) -> str:
    return textwrap.fill(text, PLAIN_WIDTH, initial_indent="  ", subsequent_indent="  ")
