"""What is printed of the page: where it is, so that a person or a script can open it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cxrtool.core.config import CommonConfig
from cxrtool.core.console import print_json, print_line

if TYPE_CHECKING:  # for the annotations alone: show must stay light to import
    from cxrtool.workflows.gui import Page


def opened(page: Page, common: CommonConfig) -> None:
    """The page's address; it is served from now on."""
    if common.json:
        print_json(page.as_json())
    else:
        print_line(f"{page.url} shows {page.run} ({page.engine}); Ctrl-C ends it")
        print_line("Research software, not a medical device.")
    sys.stdout.flush()  # a script that waits for the address reads from a pipe
