"""What `certify` prints: each label's certified thresholds, and what they promise."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import (
    PLAIN_WIDTH,
    next_command,
    print_line,
    print_table,
    table,
    without_tables,
)
from cxrtool.core.errors import counted
from cxrtool.core.numbers import number, number_pair, threshold_text

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.workflows.certify import CertifyResult


def certified(result: CertifyResult, common: CommonConfig) -> None:
    """The certified thresholds of a run, on whom they were seen, and what they promise."""
    if without_tables(result, common):
        return
    print_line(
        f"{result.run}, certified on {result.sample}: {counted(result.images, 'image')} of "
        f"{counted(result.patients, 'patient')}"
    )
    if result.certificates:
        headings = ("threshold", "lower bound", "patients", "wrong")
        rows = [
            [
                label,
                threshold_text(result.thresholds[label]),
                number(one.reached),
                f"{one.patients:,}",
                f"{one.wrong:.4g}",
            ]
            for label, one in result.certificates.items()
        ]
        columns = {"label": "left", **dict.fromkeys(headings, "right")}
        print_table(table(str(result.operating_point), columns, rows))
    if result.triage is not None and result.triage.limits:
        limits = result.triage.limits.items()
        rows = [[label, *number_pair(one.rule_out, one.rule_in)] for label, one in limits]
        columns = {"label": "left", "ruled out below": "right", "ruled in from": "right"}
        print_table(table("triage", columns, rows))
    for words in result.conditions:
        print_line(textwrap.fill(f"promised: {words}", PLAIN_WIDTH, subsequent_indent="  "))
    print_line(f"written: {result.written}")
    next_command(f"predict IMAGE --run {shlex.quote(result.run)}", common)
