"""Work that is shared out to several processes, some items at a time."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from cxrtool.core.errors import DataError

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_processes(
    work: Callable[[Sequence[Item]], Made],
    items: Sequence[Item],
    *,
    chunk: int,
    processes: int,
    doing: str,
    advance: Callable[[int], None] = lambda done: None,
) -> Iterator[Made]:
    """What `work` makes of all items, chunk by chunk, in their order.

    Args:
        work: a function of a module, or a partial of one: it is sent to the processes.
        items: all of them.
        chunk: how many a process takes at once.
        processes: at most so many; fewer than 2: this one does it.
        doing: what a process does, for the message if one is killed.
        advance: called with the number of items done.

    Raises:
        DataError: a process was killed.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    if min(processes, len(chunks)) < 2:
        for some in chunks:
            yield work(some)
            advance(len(some))
        return
    with ProcessPoolExecutor(min(processes, len(chunks)), initializer=_follow_the_parent) as pool:
        try:
            for some, made in zip(chunks, pool.map(work, chunks), strict=True):
                yield made
                advance(len(some))
        except BrokenProcessPool:
            raise DataError(
                f"a process that {doing} was killed, perhaps because memory ran out: run the "
                "command again, with fewer --workers where it has them"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _follow_the_parent() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it: a kill would leave processes behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
