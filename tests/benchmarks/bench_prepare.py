"""`prepare` against its limits: python tests/benchmarks/bench_prepare.py [IMAGES_FOLDER|--tables].

The whole command on generated tables of CheXpert's size and of a million rows, without images:
seconds and peak memory, and what a row costs in each. Then, but for `--tables`, drawn X-rays of
CheXpert-small's size (or the JPEGs below a folder of your own), decoded by `prepare` and by bare
Pillow in as many processes: images a second, medians of paired runs.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from PIL import Image

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from chexpert_table import N_ROWS, chexpert_table

from cxrtool.core.config import CACHE_SIZE
from cxrtool.core.console import SILENT
from cxrtool.data.image_checks import CHUNK, decode_images
from cxrtool.data.phantoms import draw_dataset
from cxrtool.data.problems import Problems
from cxrtool.images.cache_builder import NewCache

PATIENTS = 500
LEAST_IMAGES = 4000
ROUNDS = 7
ROUNDS_OF_A_TABLE = 3
SIZES = (N_ROWS, 1_000_000)
"""Rows of generated tables."""
COMMAND = "from cxrtool.cli.app import main; main()"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole_commands(Path(folder))
        if sys.argv[1:] == ["--tables"]:
            return
        data = Path(sys.argv[1]) if len(sys.argv) > 1 else drawings(Path(folder))
        decoding(data, Path(folder) / "cache")


def whole_commands(folder: Path) -> None:
    """`prepare --check-images none` on tables of each size, and `split` on CheXpert's."""
    for rows in SIZES:
        cost = prepared_table(folder, rows, ROUNDS_OF_A_TABLE)
        print(
            f"  a row of {rows:,}: {1e6 * cost.seconds / rows:.1f} us, "
            f"{1e6 * cost.busy / rows:.1f} us of the processor, "
            f"{2**20 * cost.memory / rows:,.0f} bytes of the peak"
        )


def prepared_table(folder: Path, rows: int, rounds: int) -> "Cost":
    data, workspace = folder / f"of-{rows}" / "CheXpert-v1.0-small", folder / f"cxr-{rows}"
    data.mkdir(parents=True)
    # In a process of its own: a command's peak is at least that of who starts it.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(write_table, data / "train.csv", rows).result()
    prepare = ["prepare", str(data), "--check-images", "none", "-w", str(workspace), "-q"]
    split = ["split", "-w", str(workspace), "--force", "-q"]
    cost = show(f"prepare, {rows:,} rows", [timed_command(prepare) for _ in range(rounds)])
    if rows == N_ROWS:
        show(f"split, {rows:,} rows", [timed_command(split) for _ in range(rounds)])
    return cost


def write_table(path: Path, rows: int) -> None:
    """CheXpert's table so often, each time of other patients, that it has so many rows."""
    once = chexpert_table()
    copies = [once]
    while len(once) * len(copies) < rows:
        number = str(len(copies))
        paths = once["Path"].str.replace("/patient", f"/patient{number}", regex=False)
        copies.append(once.assign(Path=paths))
    pd.concat(copies)[:rows].to_csv(path, index=False)


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    busy: float
    """Seconds of the processor."""
    memory: float
    """Its peak in MB."""


def show(what: str, costs: list[Cost]) -> Cost:
    middle = sorted(costs, key=lambda cost: cost.busy)[len(costs) // 2]
    print(
        f"  {what:<28}{middle.seconds:6.1f} s ({middle.busy:.1f} of the processor), peak memory "
        f"{middle.memory:,.0f} MB, median of {len(costs)}",
        flush=True,
    )
    return middle


def timed_command(arguments: list[str]) -> Cost:
    start = time.perf_counter()
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(command.pid, 0)
    command.returncode = os.waitstatus_to_exitcode(status)
    assert command.returncode == 0, arguments
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def drawings(folder: Path) -> Path:
    return draw_dataset(
        folder / "drawn", patients=PATIENTS, seed=1, workers=os.cpu_count() or 1
    ).folder


def decoding(data: Path, cache: Path) -> None:
    found = sorted(str(path.relative_to(data)) for path in data.rglob("*.jpg"))
    paths = (found * (LEAST_IMAGES // len(found) + 1))[:LEAST_IMAGES]
    size = sum((data / path).stat().st_size for path in paths) / len(paths)
    processes = os.cpu_count() or 1
    print(
        f"{len(paths):,} JPEGs ({len(found):,} files, {size / 1000:.0f} KB), {processes} processes"
    )

    def prepared(side: int | None) -> None:
        shutil.rmtree(cache, ignore_errors=True)
        new = NewCache(cache, data, paths, side) if side else None
        decode_images(data, paths, new, processes, Problems(), SILENT)

    ways: dict[str, Callable[[], None]] = {
        "bare Pillow": lambda: bare(data, paths, processes, None),
        "prepare, no cache": lambda: prepared(None),
        f"bare Pillow, resized to {CACHE_SIZE}": lambda: bare(data, paths, processes, CACHE_SIZE),
        f"prepare, cache of {CACHE_SIZE}": lambda: prepared(CACHE_SIZE),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, decode in ways.items():
            start = time.perf_counter()
            decode()
            speeds[name].append(len(paths) / (time.perf_counter() - start))
    limit, _, resized, _ = ways
    for name, found_speeds in speeds.items():
        against = resized if "cache of" in name else limit
        ratios = [a / b for a, b in zip(found_speeds, speeds[against], strict=True)]
        print(
            f"  {name:<28}{statistics.median(found_speeds):8,.0f} images/s"
            f"{statistics.median(ratios):7.2f} of {against}"
        )


def bare(data: Path, paths: list[str], processes: int, side: int | None) -> None:
    """Decode files to grey, and nothing else, or resize them as well."""
    chunks = [
        [str(data / path) for path in paths[start : start + CHUNK]]
        for start in range(0, len(paths), CHUNK)
    ]
    with ProcessPoolExecutor(processes) as pool:
        assert sum(pool.map(bare_chunk, chunks, [side] * len(chunks))) == len(paths)


def bare_chunk(files: list[str], side: int | None) -> int:
    for file in files:
        with Image.open(file) as image:
            grey = image.convert("L")
            if side:
                grey.resize((side, side), Image.Resampling.BILINEAR)
    return len(files)


if __name__ == "__main__":
    main()
