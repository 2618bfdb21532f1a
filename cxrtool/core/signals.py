"""Being asked to stop, by Ctrl-C or by the system: at a moment that suits."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM)
ECHO = 1.0
"""Seconds in which a second signal is the first one again: SLURM sends it to all processes, and
torchrun passes on to its own what it was sent."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came while the block ran; a second one interrupts at once.

    Only the main thread can listen; elsewhere signals do what they always do.
    """
    came: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def listen(number: int, _: FrameType | None) -> None:
        if not came:
            came.append(time.monotonic())
        elif time.monotonic() - came[0] > ECHO:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, listen) for number in ASKING}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
