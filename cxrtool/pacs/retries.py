"""Asking again what may be answered a little later."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from cxrtool.pacs.delivery import TransientError

T = TypeVar("T")
WAITS = (1.0, 4.0, 15.0)
"""Seconds before the second attempt, the third and so on."""
LONGEST = 60.0
"""Seconds that a server may ask to be left alone for."""


def patiently(
    action: Callable[[], T],
    waits: Sequence[float] = WAITS,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """What an action gives, which is tried again after each of the waits.

    Raises:
        TransientError: the last attempt's.
        DestinationError: at once: it would be the same later.
    """
    for wait in waits:
        try:
            return action()
        except TransientError as error:
            sleep(min(max(wait, error.retry_after or 0), LONGEST))
    return action()
