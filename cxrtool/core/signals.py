"""Being asked to stop, by Ctrl-C or by the system: at a moment that suits."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ECHO = 1.0
"""Seconds in which a second signal is the first one again: SLURM sends it to all processes, and
torchrun passes on to its own what it was sent."""


@contextmanager
def signals_handled(handler: Callable[[int, FrameType | None], None] | int) -> Iterator[None]:
    """Give Ctrl-C and SIGTERM to a handler while the block runs.

    Only the main thread can do so; elsewhere signals do what they always do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asking = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in asking}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came while the block ran; a second one interrupts at once."""
    came: list[float] = []

    def listen(number: int, _: FrameType | None) -> None:
        if not came:
            came.append(time.monotonic())
        elif time.monotonic() - came[0] > ECHO:
            raise KeyboardInterrupt

    with signals_handled(listen):
        yield lambda: bool(came)
