"""What is said of an exported model."""

import shlex
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import next_command, print_line, without_tables
from cxrtool.core.errors import counted
from cxrtool.core.numbers import megabytes

if TYPE_CHECKING:
    from cxrtool.workflows.export import ExportResult


def exported(result: "ExportResult", common: CommonConfig) -> None:
    """Where it is, how it was checked, and what takes it."""
    if without_tables(result, common):
        return
    print_line(
        f"{result.run}: grey bytes (n, {result.image_size}, {result.image_size}) to probabilities "
        f"(n, {len(result.labels)})"
    )
    print_line(
        f"compared with the run on {counted(result.images, 'real image')}: no probability differs "
        f"by more than {result.difference:.1e}"
    )
    print_line(f"written: {result.output} ({megabytes(result.bytes)})")
    next_command(f"predict IMAGE --run {shlex.quote(str(result.output))}", common)
