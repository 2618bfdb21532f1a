"""Options that several commands have: where files are, what is shown, what computes."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.option import COMPUTING, GENERAL, Config, option

MOST_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class CommonConfig(Config):
    """What every command understands."""

    workspace: Path = option(
        Path("cxr"), GENERAL, flags=("-w", "--workspace"), envvar="CXRTOOL_WORKSPACE", metavar="DIR"
    ).help("Folder of everything that cxrtool writes.")
    seed: int = option(42, GENERAL, within=(0, 2**32 - 1)).help("Seed of every random choice.")
    json: bool = option(False, GENERAL).help("Print the result as one JSON object on stdout.")
    quiet: bool = option(False, GENERAL, flags=("-q", "--quiet")).help(
        "Show only warnings and errors."
    )
    verbose: bool = option(False, GENERAL, flags=("-v", "--verbose")).help("Show more details.")
    progress: bool = option(True, GENERAL, flags=("--progress/--no-progress",)).help(
        "Show progress bars on a terminal."
    )
    debug: bool = option(False, GENERAL).help("Show the traceback of an error.")


def device_problem(name: str) -> str:
    """What is wrong with a device's name; whether the machine has it is not known here."""
    known = re.fullmatch(r"auto|(cpu|cuda|mps)(:\d+)?", name)
    return "" if known else f"{name!r} is not a device: use auto, cpu, cuda, cuda:N or mps"


@dataclass(frozen=True, kw_only=True)
class DeviceConfig(Config):
    """Where a network computes, and in which numbers."""

    device: str = option("auto", COMPUTING, check=device_problem, metavar="DEVICE").help(
        "Device: auto (the fastest available), cpu, cuda, cuda:N or mps."
    )
    precision: str = option("auto", COMPUTING, choices=("auto", "fp32", "bf16", "fp16")).help(
        "Number format; auto: bf16 where the hardware has it, fp16 on older GPUs, otherwise fp32."
    )


@dataclass(frozen=True, kw_only=True)
class ComputeConfig(DeviceConfig):
    """Where and how a network computes, and how many processes decode its images."""

    workers: int | None = option(
        None, COMPUTING, within=(0, 256), shown=f"one per core, at most {MOST_WORKERS}"
    ).help("Processes that decode images; 0: none besides the main one.")


def worker_count(workers: int | None, most: int | None = MOST_WORKERS) -> int:
    """The number of decoding processes: the one asked for, or one a core, up to `most`."""
    if workers is not None:
        return workers
    # A container or a batch system may have lent fewer cores than the machine has.
    lent = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cores = lent or os.cpu_count() or 1
    return cores if most is None else min(cores, most)
