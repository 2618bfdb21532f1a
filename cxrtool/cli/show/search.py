"""What a search came to, for a person or as JSON."""

import shlex
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import next_command, print_line, print_table, table, without_tables
from cxrtool.core.numbers import number

if TYPE_CHECKING:
    from cxrtool.workflows.tune import TuneResult


def searched(result: "TuneResult", common: CommonConfig) -> None:
    """The trials, the best of them, and what to do with it."""
    if without_tables(result, common):
        return
    print_table(table(f"study {result.study}", result.columns, result.texts))
    if result.best is None:
        print_line("no trial was trained to its end")
        return
    print_line(
        f"best: trial {result.best['trial']}, mean AUROC {number(result.best['valid_mean_auroc'])} "
        f"on {result.selected_on}; the test part was not read"
    )
    print_line(f"written: {', '.join(str(path) for path in result.written)}")
    if result.best_is_here:
        command = f"evaluate {shlex.quote(str(result.best['run']))}"
    else:
        command = f"train --config {shlex.quote(str(result.written[0]))}"
    next_command(command, common)
