"""What `listen` prints when it is ready."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import print_line, without_tables

if TYPE_CHECKING:
    from cxrtool.workflows.listen import Listener


def opened(listener: Listener, common: CommonConfig) -> None:
    """Where images come from, what scores them, and where results go."""
    if without_tables(listener, common):
        sys.stdout.flush()  # a script waits for it
        return
    print_line(f"listening: {listener.source}")
    print_line(f"model: {listener.model}, {listener.engine}")
    print_line(f"queue: {listener.folder}")
    for name in listener.destinations:
        print_line(f"results: {name}")
    if listener.monitor:
        print_line(f"health: {listener.monitor}/health, {listener.monitor}/metrics")
    print_line("Research software, not a medical device. Ctrl-C ends.")
    sys.stdout.flush()
