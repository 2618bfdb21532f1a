"""Random batches from the cache against fastai reading the JPEGs, in one process each:
python tests/benchmarks/bench_cache.py [IMAGES_FOLDER].

Drawn X-rays of CheXpert-small's size, or the JPEGs below a folder of your own; batches of 32 at
224 px, medians of paired runs.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    PILImageBW,
    Resize,
)

from cxrtool.core.config import CACHE_SIZE
from cxrtool.core.console import SILENT
from cxrtool.data.image_checks import decode_images
from cxrtool.data.phantoms import draw_dataset
from cxrtool.data.problems import Problems
from cxrtool.images.cache import ImageCache
from cxrtool.images.cache_builder import NewCache
from cxrtool.training.block import xray_block

PATIENTS = 400
BATCH, SIZE, ROUNDS, IMAGES = 32, 224, 7, 512


def main() -> None:
    torch.set_num_threads(1)  # as in a worker
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = Path(sys.argv[1]) if len(sys.argv) > 1 else drawings(folder)
        paths = sorted(str(path.relative_to(data)) for path in data.rglob("*.jpg"))
        new = NewCache(folder / "cache", data, paths, CACHE_SIZE)
        new.seal(decode_images(data, paths, new, None, Problems(), SILENT), "benchmark")
        compare(data, paths, ImageCache(folder / "cache"))


def drawings(folder: Path) -> Path:
    return draw_dataset(
        folder / "drawn", patients=PATIENTS, seed=1, workers=os.cpu_count() or 1
    ).folder


def compare(data: Path, paths: list[str], cache: ImageCache) -> None:
    rng = np.random.default_rng(0)
    rows = cache.rows_of(paths)

    def from_cache() -> int:
        read = 0
        while read < IMAGES:
            read += len(cache.read(rng.choice(rows, BATCH)))
        return read

    plain, ours, files = fastai_items(data, paths), items(data, paths, cache), items(data, paths)
    ways: dict[str, Callable[[], int]] = {
        "fastai ImageBlock, JPEGs": lambda: draw(plain, rng),
        "cxrtool's training items, JPEGs": lambda: draw(files, rng),
        "cxrtool's training items, cache": lambda: draw(ours, rng),
        "batches of the cache alone": from_cache,
    }
    print(f"{len(paths):,} JPEGs, batches of {BATCH}, {SIZE} px, one process")
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, read in ways.items():
            start = time.perf_counter()
            n = read()
            speeds[name].append(n / (time.perf_counter() - start))
    peer = next(iter(speeds.values()))
    for name, found in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(found, peer, strict=True))
        print(f"  {name:<34}{statistics.median(found):10,.0f} images/s  x{ratio:,.1f}")


def fastai_items(data: Path, paths: list[str]) -> Any:
    """The training loader as fastai's documentation has it: one grey image, squished."""
    frame = pd.DataFrame({"path": paths})
    frame["label"] = np.where(np.arange(len(paths)) % 2, "odd", "even")
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock),
        get_x=ColReader("path", pref=f"{data}/"),
        get_y=ColReader("label"),
        item_tfms=Resize(SIZE, method="squish"),
    )
    return block.dataloaders(frame, bs=BATCH, num_workers=0, device=torch.device("cpu")).train


def items(data: Path, paths: list[str], cache: ImageCache | None = None) -> Any:
    """cxrtool's own training loader."""
    frame = pd.DataFrame({"path": paths})
    frame["is_valid"] = np.arange(len(paths)) < BATCH
    frame["label"] = np.float32(1)
    known = {"folder": data, "cache": cache, "mean": 0.5, "std": 0.25, "seed": 0}
    block = xray_block(frame, ["label"], image_size=SIZE, **known)
    return block.dataloaders(bs=BATCH, num_workers=0, device=torch.device("cpu")).train


def draw(loader: Any, rng: np.random.Generator) -> int:
    """Random batches as a worker makes them; what is done on the device is left out."""
    read = 0
    while read < IMAGES:
        chosen = rng.integers(len(loader.dataset), size=BATCH).tolist()
        read += sum(len(batch[0]) for batch in loader.create_batches(iter(chosen)))
    return read


if __name__ == "__main__":
    main()
