"""`prepare` against its limits: python tests/benchmarks/bench_prepare.py [IMAGES_FOLDER].

The whole command on a generated table of CheXpert's size, without images: seconds, peak memory.
Then drawn X-rays of CheXpert-small's size (or the JPEGs below a folder of your own), decoded by
`prepare` and by bare Pillow in as many processes: images a second, medians of paired runs.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from chexpert_table import chexpert_table

from cxrtool.core.config import CACHE_SIZE
from cxrtool.core.console import SILENT
from cxrtool.data.image_checks import CHUNK, decode_images
from cxrtool.data.phantoms import draw_dataset
from cxrtool.data.problems import Problems
from cxrtool.images.cache_builder import NewCache

PATIENTS = 500
LEAST_IMAGES = 4000
ROUNDS = 7
COMMAND = "from cxrtool.cli.app import main; main()"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole_commands(Path(folder))
        data = Path(sys.argv[1]) if len(sys.argv) > 1 else drawings(Path(folder))
        decoding(data, Path(folder) / "cache")


def whole_commands(folder: Path) -> None:
    """`prepare --check-images none` and `split`, as processes of their own."""
    data = folder / "CheXpert-v1.0-small"
    data.mkdir()
    table = chexpert_table()
    table.to_csv(data / "train.csv", index=False)
    prepare = ["prepare", str(data), "--check-images", "none", "-w", str(folder / "cxr"), "-q"]
    split = ["split", "-w", str(folder / "cxr"), "--force", "-q"]
    print(f"whole commands on {len(table):,} rows, median of 3")
    for arguments in (prepare, split):
        runs = [timed_command(arguments) for _ in range(3)]
        seconds = statistics.median(seconds for seconds, _ in runs)
        print(f"  {arguments[0]:<8}{seconds:5.1f} s, peak memory {runs[-1][1]:,} MB (largest yet)")


def timed_command(arguments: list[str]) -> tuple[float, int]:
    """Seconds, and the greatest memory that any command so far had."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, *arguments], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


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
