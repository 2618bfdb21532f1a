"""`prepare`: a data set's tables and images to a checked manifest."""

import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrtool.config import PrepareConfig, worker_count
from cxrtool.errors import DataError, first_few
from cxrtool.files import check_writable, whole_file, write_json
from cxrtool.images import ImageError, pixel_sums, read_grey, shape_warning
from cxrtool.manifest import (
    PIXEL_COLUMNS,
    label_columns,
    mean_and_deviation,
    write_manifest,
    write_table,
)
from cxrtool.report import SILENT, Reporter
from cxrtool.sources.chexpert import SourceRows, find_chexpert, read_chexpert
from cxrtool.workspace import Workspace

CHUNK = 32


@dataclass(frozen=True)
class PrepareResult:
    """What the data holds: counts over all rows read, and labels over the images kept."""

    folder: Path
    rows: int
    images: int
    patients: int
    sex: dict[str, int]
    view: dict[str, int]
    orientation: dict[str, int]
    labels: dict[str, dict[str, int]]
    problems: dict[str, int]
    mean: float
    std: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {key: value for key, value in vars(self).items() if key != "folder"}


def prepare_manifest(
    config: PrepareConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> PrepareResult:
    """Read a data set's tables, decode every image, and write manifest.csv and its companions.

    A row or an image that cannot be used is listed in problems.csv and left out.

    Raises:
        DataError: no data set, a column missing, an unknown label value, or no image left.
    """
    started = time.perf_counter()
    check_writable(workspace.data_info)
    folder = find_chexpert(config.data, Path())
    with reporter.busy(f"reading the tables of {folder}"):
        source = read_chexpert(folder)
    reporter.note(f"{folder}: {len(source.rows):,} rows")
    chosen = source.rows
    if config.views != "all":
        chosen = chosen[chosen["view"] == config.views].reset_index(drop=True)
    if chosen.empty:
        raise DataError(f"{source.folder}: no row has the view {config.views}: try --views all")
    pixels, broken = _measure(source.folder, chosen["path"].tolist(), config.workers, reporter)
    problems = pd.concat([source.problems, broken], ignore_index=True)
    for problem in problems.to_dict("records"):
        reporter.detail(f"{problem['kind']}: {problem['where']}: {problem['detail']}")
    kept = chosen[chosen["path"].isin(pixels["path"])].reset_index(drop=True)
    if kept.empty:
        raise DataError(
            f"{source.folder}: none of {len(chosen):,} images can be used "
            f"({first_few((broken['where'] + ': ' + broken['detail']).tolist())}): "
            "are the images beside the table?"
        )
    result = _describe(source, kept, problems, pixels, started)
    _write(result, source, kept, problems, pixels, config, workspace)
    return result


def _measure(
    folder: Path, paths: Sequence[str], workers: int | None, reporter: Reporter
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode each image once: its size and pixel sums, or why it cannot be used."""
    measured, broken = [], []
    with reporter.steps("decoding images", len(paths)) as advance:
        for path, row in zip(paths, _decode_all(folder, paths, workers), strict=True):
            if isinstance(row, str):
                kind, _, detail = row.partition("|")
                broken.append((kind, path, detail))
            else:
                measured.append((path, *row))
            advance(1)
    return (
        pd.DataFrame(measured, columns=list(PIXEL_COLUMNS)),
        pd.DataFrame(broken, columns=["kind", "where", "detail"], dtype=str),
    )


def _decode_all(
    folder: Path, paths: Sequence[str], workers: int | None
) -> Iterator[tuple[int, int, int, int] | str]:
    files = [folder / path for path in paths]
    processes = worker_count(workers)
    if processes < 2 or len(files) < 2 * CHUNK:
        yield from map(_decode, files)
        return
    with ProcessPoolExecutor(processes, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            yield from pool.map(_decode, files, chunksize=CHUNK)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _decode(file: Path) -> tuple[int, int, int, int] | str:
    """Width, height, pixel sum and square sum; or `kind|detail` of what is wrong."""
    try:
        grey = read_grey(file)
    except ImageError as error:
        kind = "broken image" if file.exists() else "missing image"
        return f"{kind}|{str(error).removeprefix(f'{file}: ')}"
    odd = shape_warning(*grey.size)
    return f"odd shape|{odd}" if odd else (*grey.size, *pixel_sums(grey))


def _describe(
    source: SourceRows,
    kept: pd.DataFrame,
    problems: pd.DataFrame,
    pixels: pd.DataFrame,
    started: float,
) -> PrepareResult:
    mean, std = mean_and_deviation(pixels)
    return PrepareResult(
        folder=source.folder,
        rows=len(source.rows),
        images=len(kept),
        patients=int(kept["patient_id"].nunique()),
        sex=_counts(source.rows["sex"]),
        view=_counts(source.rows["view"]),
        orientation=_counts(source.rows["orientation"]),
        labels=label_counts(kept),
        problems=_counts(problems["kind"]),
        mean=mean,
        std=std,
        seconds=time.perf_counter() - started,
    )


def _counts(column: "pd.Series[str]") -> dict[str, int]:
    """How often each value occurs, blanks left out, the most frequent first."""
    counts = column[column != ""].value_counts()
    return {str(value): int(count) for value, count in counts.items()}


def label_counts(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Each label's positive, negative, uncertain and blank rows."""
    counts = {}
    for label in label_columns(frame):
        values = frame[label].to_numpy(dtype=float)
        counts[label] = {
            "positive": int((values == 1).sum()),
            "negative": int((values == 0).sum()),
            "uncertain": int((values == -1).sum()),
            "blank": int(np.isnan(values).sum()),
        }
    return counts


def _write(
    result: PrepareResult,
    source: SourceRows,
    kept: pd.DataFrame,
    problems: pd.DataFrame,
    pixels: pd.DataFrame,
    config: PrepareConfig,
    workspace: Workspace,
) -> None:
    from cxrtool.figures import draw_ages, draw_label_counts

    # The manifest and what says where its images are come last, and together.
    write_table(problems, workspace.problems)
    with whole_file(workspace.figures / "labels.png") as path:
        draw_label_counts(result.labels, path)
    with whole_file(workspace.figures / "ages.png") as path:
        draw_ages(source.rows["age"], source.rows["sex"], path)
    info = {
        "dataset": "chexpert",
        "folder": str(source.folder.resolve()),
        "tables": list(source.tables),
        "views": config.views,
        **result.as_json(),
    }
    write_table(pixels, workspace.pixels)
    write_manifest(kept, workspace.manifest)
    write_json(workspace.data_info, info)
