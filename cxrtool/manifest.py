"""The manifest, the split and the pixel table: what columns they have, read, checked, written."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.config import SPLITS
from cxrtool.errors import DataError, first_few
from cxrtool.files import whole_file

ABOUT = ("path", "patient_id", "study_id", "view", "orientation", "sex", "age", "source")
"""The manifest's columns before the labels."""
PIXEL_COLUMNS = ("path", "width", "height", "pixel_sum", "pixel_square_sum")
SOURCES = ("train", "valid")
"""The tables that a row can be of."""
FIRST_ROW = 2
"""The line of a table's first row, as an editor counts: the header is line 1."""


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV, whole or not at all. Whole numbers are written without a point."""
    with whole_file(path) as temporary:
        frame.to_csv(temporary, index=False)


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV as text, blank cells as empty strings.

    Raises:
        DataError: the file cannot be read or parsed, has no rows, or lacks one of `columns`.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a CSV table: {error}") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(
            f"{path} has no column {first_few(missing, 20)}: "
            f"its columns are {first_few(list(frame.columns), 30)}"
        )
    if frame.empty:
        raise DataError(f"{path} has no rows")
    return frame


def line_numbers(bad: NDArray[np.bool_]) -> list[int]:
    """The lines of a file on which the marked rows stand."""
    return [int(row) + FIRST_ROW for row in np.flatnonzero(bad)]


def label_values(frame: pd.DataFrame, labels: Sequence[str], where: str) -> NDArray[np.float64]:
    """Label columns of text as (rows, labels) numbers: 1, 0, -1, and NaN for a blank.

    Raises:
        DataError: cells with anything else, all of one table at once.
    """
    values = np.full((len(frame), len(labels)), np.nan)
    wrong: list[str] = []
    for column, label in enumerate(labels):
        # A column of 223,414 cells has four different texts: each is looked up once.
        codes, texts = pd.factorize(frame[label].to_numpy())
        meanings = np.array([_LABEL_TEXT.get(str(text).strip(), _NO_LABEL) for text in texts])
        values[:, column] = meanings[codes]
        wrong += [
            f"line {line}, {label}: {frame[label].iloc[line - FIRST_ROW]!r}"
            for line in line_numbers(values[:, column] == _NO_LABEL)
        ]
    if wrong:
        raise DataError(
            f"{where}: {len(wrong)} label values are not 1, 0, -1 or blank "
            f"({first_few(wrong)}): correct them and run the command again"
        )
    return values


_NO_LABEL = -9.0
_LABEL_TEXT = {
    "": np.nan,
    "nan": np.nan,
    **dict.fromkeys(("1", "1.0", "1.00"), 1.0),
    **dict.fromkeys(("0", "0.0", "-0.0", "0.00"), 0.0),
    **dict.fromkeys(("-1", "-1.0", "-1.00"), -1.0),
}


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write a manifest: the `ABOUT` columns, then the labels as 1, 0, -1 or blank."""
    labels = label_columns(frame)
    written = frame.copy()
    written[labels] = frame[labels].astype("Int8")
    write_table(written, path)


def label_columns(frame: pd.DataFrame) -> list[str]:
    """The names of a manifest's labels: all columns after the `ABOUT` ones."""
    return [str(column) for column in frame.columns if column not in ABOUT]


def read_manifest(path: Path) -> pd.DataFrame:
    """Read and check a manifest.

    Returns:
        Text columns, `age` as float, labels as float32 with NaN for a blank.

    Raises:
        DataError: columns missing, no label column, unknown label values, a path that is given
            twice or leaves the data folder, a row without a patient.
    """
    frame = read_table(path, ABOUT)
    labels = label_columns(frame)
    if not labels:
        raise DataError(f"{path} has no label columns after {ABOUT[-1]}")
    values = label_values(frame, labels, str(path))
    frame[labels] = values.astype(np.float32)
    frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
    check_paths(frame["path"], str(path))
    _check_filled(frame, "patient_id", str(path))
    strange = ~frame["source"].isin(SOURCES).to_numpy(dtype=bool)
    if strange.any():
        raise DataError(
            f"{path}: {strange.sum()} rows have an unknown source "
            f"(lines {first_few(line_numbers(strange))}): use {' or '.join(SOURCES)}"
        )
    return frame


def check_paths(paths: "pd.Series[str]", where: str) -> None:
    """Refuse paths that are given twice or that could leave the data folder."""
    twice = paths.duplicated().to_numpy(dtype=bool)
    if twice.any():
        raise DataError(
            f"{where}: {twice.sum()} paths are given twice (lines {first_few(line_numbers(twice))})"
        )
    outside = np.array([not stays_inside(path) for path in paths], dtype=bool)
    if outside.any():
        raise DataError(
            f"{where}: {outside.sum()} paths are not inside the data folder "
            f"(lines {first_few(line_numbers(outside))}): "
            "give them relative to it, without `..`"
        )


def stays_inside(path: str) -> bool:
    """Whether a relative path cannot leave the folder that it is relative to."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


def _check_filled(frame: pd.DataFrame, column: str, where: str) -> None:
    blank = (frame[column].str.strip() == "").to_numpy(dtype=bool)
    if blank.any():
        raise DataError(
            f"{where}: {blank.sum()} of {len(frame)} rows have no {column} "
            f"(lines {first_few(line_numbers(blank))}): give each one"
        )


def read_split(path: Path, manifest: pd.DataFrame) -> "pd.Series[str]":
    """The part of each of the manifest's rows, in the manifest's order.

    People edit the split, so it is checked against the manifest each time.

    Raises:
        DataError: columns missing, an unknown part, a path twice or not in the manifest, a
            manifest row without a part, another patient than the manifest's.
    """
    frame = read_table(path, ("path", "patient_id", "split"))
    unknown = ~frame["split"].isin(SPLITS).to_numpy(dtype=bool)
    if unknown.any():
        raise DataError(
            f"{path}: {unknown.sum()} rows have an unknown split "
            f"(lines {first_few(line_numbers(unknown))}): use {', '.join(SPLITS)}"
        )
    check_paths(frame["path"], str(path))
    indexed = frame.set_index("path")
    strangers = indexed.index.difference(pd.Index(manifest["path"])).tolist()
    absent = pd.Index(manifest["path"]).difference(indexed.index).tolist()
    if strangers or absent:
        raise DataError(
            f"{path} is not a split of this manifest: {len(strangers)} paths are not in it"
            f"{_examples(strangers)}, {len(absent)} of its paths are missing{_examples(absent)}: "
            "run `cxrtool split --force` to split it anew"
        )
    indexed = indexed.loc[manifest["path"]]
    moved = (indexed["patient_id"].to_numpy() != manifest["patient_id"].to_numpy()).astype(bool)
    if moved.any():
        names = manifest["path"][moved].tolist()
        raise DataError(
            f"{path}: {len(names)} rows name another patient than the manifest"
            f"{_examples(names)}: run `cxrtool split --force` to split it anew"
        )
    return pd.Series(indexed["split"].to_numpy(), index=manifest.index, name="split")


def _examples(names: Sequence[str]) -> str:
    return f" ({first_few(names)})" if names else ""


def patients_in_two_splits(split: pd.DataFrame) -> int:
    """How many patients of a table with `patient_id` and `split` are in more than one part."""
    return int((split.groupby("patient_id")["split"].nunique() > 1).sum())


def read_pixels(path: Path, manifest: pd.DataFrame) -> pd.DataFrame:
    """The pixel table's rows for the manifest's images, in its order, as int64 columns.

    Raises:
        DataError: columns missing, or an image of the manifest without a row.
    """
    frame = read_table(path, PIXEL_COLUMNS)
    numbers = frame[list(PIXEL_COLUMNS[1:])].apply(pd.to_numeric, errors="coerce")
    bad = ~(numbers >= 0).all(axis=1) | ~(numbers[["width", "height"]] > 0).all(axis=1)
    bad |= frame["path"].duplicated()
    if bad.any():
        raise DataError(
            f"{path} was altered (lines {first_few(line_numbers(bad.to_numpy(dtype=bool)))}): "
            "run `cxrtool prepare` again"
        )
    frame = numbers.astype("int64").set_index(frame["path"])
    absent = pd.Index(manifest["path"]).difference(frame.index).tolist()
    if absent:
        raise DataError(
            f"{path} lacks {len(absent)} images of the manifest{_examples(absent)}: "
            "run `cxrtool prepare` again"
        )
    chosen: pd.DataFrame = frame.loc[manifest["path"]].reset_index()
    return chosen


def mean_and_deviation(pixels: pd.DataFrame) -> tuple[float, float]:
    """The pixel mean and standard deviation of some images, in units of full white (0 to 1).

    Each image counts the same whatever its size, since each is squished to the same square.
    """
    area = (pixels["width"] * pixels["height"]).to_numpy(dtype=float)
    mean = (pixels["pixel_sum"].to_numpy(dtype=float) / area).mean()
    square = (pixels["pixel_square_sum"].to_numpy(dtype=float) / area).mean()
    deviation = float(np.sqrt(max(square - mean**2, 0.0)))
    # A folder of blank images has no deviation; a division by zero would hide that.
    return float(mean) / 255, max(deviation / 255, 1e-6)
