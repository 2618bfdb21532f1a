"""The machine: what it can compute with, and how its threads share the cores with other programs.

Nothing here imports torch.
"""

import os
import platform
import sys
import time
from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""How Linux names a processor's units for bf16: Intel's and AMD's vectors and tiles, ARM's."""
GPU_SIGNS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What is there where a GPU that torch can use may be: NVIDIA's and AMD's drivers, WSL's."""
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""The variables that tell OpenMP libraries (the standard's, GNU's, Intel's) how to wait."""
SPINS = 10_000
"""Some 0.1 ms. Where all cores are free that costs nothing; threads that sleep at once cost a tenth
and more, since each has to be woken (tests/benchmarks/bench_busy.py)."""
WINDOWS, WINDOW = 4, 0.15
"""How often, and for how many seconds each time, the cores are looked at before a training."""
CROWDED = 1 / 3
"""The share of its time that a thread waits for a core above which a hint is given."""
LEAST_SECONDS = 5.0
"""A shorter stretch of training says nothing about the machine."""


def native_bf16() -> bool:
    """Whether the processor computes in bf16 itself; emulated it is slower than fp32."""
    return not BF16_FLAGS.isdisjoint(_cpu_flags())


def _cpu_flags() -> list[str]:
    """The processor's feature flags, where the system has them (Linux)."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.lower().startswith(("flags", "features")):
            return line.split(":", 1)[1].split()
    return []


def physical_memory() -> int | None:
    """Bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a system without the names
        return None


def gpu_seems_there() -> bool:
    """Whether a GPU may be worth asking torch for: a driver's files, or Apple's own processor.

    Torch alone knows for sure, and takes a second and more to be imported.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(sign).exists() for sign in GPU_SIGNS)


def spin_briefly() -> None:
    """Have OpenMP's threads soon sleep while they wait for each other, unless the user set how.

    GNU's, with which torch comes on Linux, otherwise spin for some 3 ms first, which takes cores
    from the very threads that are waited for where other processes use them too. It must be called
    before torch, or whatever else brings an OpenMP library, is imported: they read their
    environment once.
    """
    if not any(os.environ.get(name) for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def cores_in_use(stat: Path = Path("/proc/stat")) -> float | None:
    """How many of the cores that this process may use other programs use, all the time.

    To be asked while this process rests. What lasts less than one of the `WINDOWS` does not count:
    a program that is being opened says nothing about the hours to come.

    Args:
        stat: Linux's table of how long each core was idle, since the machine began.

    Returns:
        A number of cores, 0.0 where all are free; None where the system does not say.
    """
    before, found = _idle_seconds(stat), []
    for _ in range(WINDOWS if before is not None else 0):
        began = time.perf_counter()
        time.sleep(WINDOW)
        after = _idle_seconds(stat)
        if before is None or after is None:
            return None
        seconds = time.perf_counter() - began
        shared = before.keys() & after.keys()
        found.append(sum(1 - min((after[one] - before[one]) / seconds, 1.0) for one in shared))
        before = after
    return min(found, default=None)


def _idle_seconds(stat: Path) -> dict[int, float] | None:
    """How long each core that this process may use has been idle; None where nothing says it."""
    try:
        mine = os.sched_getaffinity(0)
        rows = [line.split() for line in stat.read_text().splitlines()]
        ticks = os.sysconf("SC_CLK_TCK")
        cores = {int(row[0][3:]): row for row in rows if row and row[0][3:].isdigit()}
        # The fourth figure and the fifth: idle, and idle until a disk has answered.
        idle = {core: int(row[4]) + int(row[5]) for core, row in cores.items() if core in mine}
        return {core: number / ticks for core, number in idle.items()}
    except (AttributeError, OSError, ValueError, IndexError):  # not Linux, or not as it writes it
        return None


def free_threads(used: float | None, *, cores: int, usual: int) -> int:
    """How many threads compute best beside others that use so many cores; at least 1.

    Args:
        used: by others, of `cores_in_use`; None where that is not known.
        cores: that this process may use.
        usual: the number where all are free: torch's is one a core, without hyper-threads.
    """
    return usual if used is None else max(1, min(usual, cores - round(used)))


def core_waits(process: Path = Path("/proc/self")) -> dict[str, float]:
    """How long each thread of this process was ready to compute and had no core, so far.

    Returns:
        Seconds by the thread's number; empty where the system does not count them (Linux does:
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
    """What to say, and to do, where other processes take the cores that training computes on.

    Args:
        wait: of `longest_wait`, over `seconds`.
        seconds: of training.
        threads: that compute.
        workers: processes that decode for this one, on the same cores.
        images_per_second: what training came to.

    Returns:
        A sentence; None where there is nothing to say.
    """
    if seconds < LEAST_SECONDS or wait < CROWDED:
        return None
    others = f" (this training's own {workers} workers among them)" if workers else ""
    advice = "; --threads 1 is often faster beside them" if threads > 1 else ""
    return (
        f"other processes use the cores{others}: training was ready to compute but had none for "
        f"{wait:.0%} of its time, {images_per_second:,.1f} images/s with {threads} "
        f"thread{'s' * (threads > 1)}{advice}"
    )
