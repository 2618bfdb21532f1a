"""How this process's threads wait for each other, and whether others take the cores from them."""

import os
from pathlib import Path

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""The variables that tell OpenMP libraries (the standard's, GNU's, Intel's) how to wait."""
CROWDED = 1 / 3
"""The share of its time that a thread waits for a core from which on it is worth a word."""
LEAST_SECONDS = 5.0
"""A shorter stretch of training says nothing about the machine."""


def let_threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait for each other, unless the user set how.

    GNU's, with which torch comes on Linux, otherwise spin for some 3 ms first. Beside other
    processes that takes cores from the very threads that are waited for, and training becomes
    several times slower (tests/benchmarks/bench_busy.py). It must be called before torch, or
    whatever else brings an OpenMP library, is imported: they read their environment once.
    """
    if not any(os.environ.get(name) for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def core_waits(process: Path = Path("/proc/self")) -> dict[str, float]:
    """How long each thread of this process was ready to compute and had no core, so far.

    Returns:
        Seconds by the thread's number; empty where the system does not tell them (Linux does:
        the second figure of a thread's `schedstat`, in nanoseconds).
    """
    found = {}
    for path in (process / "task").glob("*/schedstat"):
        try:
            found[path.parent.name] = int(path.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # a thread may have ended
            continue
    return found


def longest_wait(before: dict[str, float], after: dict[str, float], seconds: float) -> float:
    """The share of `seconds` that the thread which had to wait most was without a core; 0..1.

    The others wait for that one: where work is dealt evenly, the slowest thread sets the pace.
    """
    waits = [after[thread] - waited for thread, waited in before.items() if thread in after]
    return min(max(waits, default=0.0) / seconds, 1.0) if seconds > 0 else 0.0


def crowded_hint(
    wait: float, seconds: float, *, threads: int, workers: int, images_per_second: float
) -> str | None:
    """What to say, and to do, where others take the cores that training computes on.

    Args:
        wait: of `longest_wait`.
        seconds: for which it was measured.
        threads: that compute.
        workers: processes that decode for this one, on the same cores.
        images_per_second: what it came to.

    Returns:
        A sentence; None where there is nothing to say.
    """
    if seconds < LEAST_SECONDS or wait < CROWDED:
        return None
    others = f" (this training's own {workers} workers among them)" if workers else ""
    told = (
        f"other processes use the cores{others}: training was ready to compute but had none for "
        f"{wait:.0%} of its time, {images_per_second:,.1f} images/s with {threads} "
        f"thread{'s' * (threads > 1)}"
    )
    return told + ("; --threads 1 is often faster beside them" if threads > 1 else "")
