"""The manifest, the split and the pixel table: what columns they have, read, checked, written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import SOFT, SPLITS
from cxrtool.core.csv_tables import FIRST_ROW, line_numbers, read_table, write_table
from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import label_number

ABOUT = ("path", "patient_id", "study_id", "view", "orientation", "sex", "age", "source")
"""The manifest's columns before the labels."""
OPTIONAL = ("race",)
"""Those that only some data sets fill."""
DESCRIBING = (*ABOUT, *OPTIONAL)
"""All that are no labels."""
PIXEL_COLUMNS = ("path", "width", "height", "mode", "pixel_sum", "pixel_square_sum")
RESERVED = ("is_valid", "split", "fold", "positive", "warning", "error")
"""What a label cannot be called: other tables have these columns beside the labels."""
SOURCES = ("train", "valid", "test")
"""The tables that a row can be of: in CheXpert, that of a program's labels, and radiologists' two.
Of other data sets, `valid` is what radiologists labelled where `train` is not."""


def parse_labels(
    frame: pd.DataFrame, columns: Sequence[str], *, shares: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Label columns of text as numbers, and which cells are no label value.

    Returns:
        (rows, columns) of 1, 0, -1, and NaN for a blank (with `shares` also what is between 0 and
        1); and of the same shape where a cell is anything else (its number is 0).
    """
    values = np.empty((len(frame), len(columns)), dtype=np.float32)
    wrong = np.empty(values.shape, dtype=bool)
    for position, column in enumerate(columns):
        # A column of 223,414 cells has four different texts: each is looked up once.
        codes, texts = pd.factorize(frame[column].to_numpy())
        numbers = [label_number(str(text), shares=shares) for text in texts]
        wrong[:, position] = np.array([number is None for number in numbers])[codes]
        values[:, position] = np.array([number or 0.0 for number in numbers])[codes]
    return values, wrong


def readers_of(table: Path) -> str | None:
    """The rule for several readers, where a table is the manifest of a workspace that has one."""
    workspace = Workspace(table.parent)
    if table.name != workspace.manifest.name or not workspace.data_info.is_file():
        return None
    try:
        return workspace.read_data_info().readers
    except DataError:  # somebody else's data.json; ours is checked where it is needed
        return None


def holds_shares(table: Path) -> bool:
    """Whether a table is a manifest in which labels are shares of readers."""
    return readers_of(table) == SOFT


def label_values(frame: pd.DataFrame, labels: Sequence[str], table: Path) -> NDArray[np.float32]:
    """Label columns of a table's text as (rows, labels) numbers: 1, 0, -1, and NaN for a blank.

    Where it `holds_shares`, a label may be anything between 0 and 1.

    Raises:
        DataError: cells with anything else, all of one table at once.
    """
    shares = holds_shares(table)
    values, wrong = parse_labels(frame, labels, shares=shares)
    if wrong.any():
        expected = "0 to 1, -1 or blank" if shares else "1, 0, -1 or blank"
        told = [
            f"line {row + FIRST_ROW}, {labels[column]}: {frame[labels[column]].iloc[row]!r}"
            for row, column in np.argwhere(wrong)
        ]
        raise DataError(
            f"{table}: {counted(len(told), 'label value')} other than {expected} "
            f"({first_few(told)}): correct them and run the command again"
        )
    return values


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write a manifest: the `DESCRIBING` columns, then the labels as 1, 0, -1, a share or blank."""
    written = frame.copy()
    for label in label_columns(frame):
        codes, values = pd.factorize(frame[label].to_numpy(dtype=float))  # NaN is -1, the last
        texts = np.array([*(f"{value:g}" for value in values), ""], dtype=object)
        written[label] = texts[codes]
    write_table(written, path)


def label_columns(frame: pd.DataFrame) -> list[str]:
    """The names of a manifest's labels: all columns after the `DESCRIBING` ones."""
    return [str(column) for column in frame.columns if column not in DESCRIBING]


def read_manifest(path: Path) -> pd.DataFrame:
    """Read and check a manifest.

    Returns:
        Text columns, `age` as float, labels as float32 with NaN for a blank: 1, 0 and -1, and
        where the workspace `holds_shares` what is between 0 and 1.

    Raises:
        DataError: columns missing, no label column, unknown label values, a path that is given
            twice or leaves the data folder, a row without a patient.
    """
    frame = read_table(path, ABOUT)
    labels = label_columns(frame)
    if not labels:
        raise DataError(f"{path} has no label columns after {ABOUT[-1]}")
    reserved = [label for label in labels if label in RESERVED]
    if reserved:
        raise DataError(
            f"{path}: a label cannot be called {first_few(reserved)}: rename its column"
        )
    values = label_values(frame, labels, path)
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
    outside = np.array([leaves_folder(path) for path in paths.tolist()], dtype=bool)
    if outside.any():
        raise DataError(
            f"{where}: {outside.sum()} paths are not inside the data folder "
            f"(lines {first_few(line_numbers(outside))}): "
            "give them relative to it, without `..`"
        )


def leaves_folder(path: str) -> bool:
    """Whether a path is empty, absolute (Windows' way too) or has `..` as a part."""
    if not path or path[0] in "/\\" or path[1:2] == ":":
        return True
    return climbs(path)


def climbs(path: str) -> bool:
    """Whether a path has `..` as a part."""
    # Hardly any path has the two dots, and a pattern would be tried on each of 191,027.
    return ".." in path and ".." in path.replace("\\", "/").split("/")


def _check_filled(frame: pd.DataFrame, column: str, where: str) -> None:
    blank = (frame[column].str.strip() == "").to_numpy(dtype=bool)
    if blank.any():
        raise DataError(
            f"{where}: {blank.sum()} of {len(frame)} rows have no {column} "
            f"(lines {first_few(line_numbers(blank))}): give each one"
        )


def read_split(path: Path, manifest: pd.DataFrame, fold: int | None = None) -> "pd.Series[str]":
    """The part of each of the manifest's rows, in the manifest's order.

    People edit the split, so it is checked against the manifest each time.

    Args:
        path: split.csv.
        manifest: of the same images.
        fold: where given, `valid` is this fold and `train` the other folds.

    Raises:
        DataError: columns missing, an unknown part, a path twice or not in the manifest, a
            manifest row without a part, another patient than the manifest's, no such fold, or
            folds that do not cover train and valid.
    """
    frame = read_table(path, ("path", "patient_id", "split"))
    unknown = ~frame["split"].isin(SPLITS).to_numpy(dtype=bool)
    if unknown.any():
        raise DataError(
            f"{path}: {unknown.sum()} rows have an unknown split "
            f"(lines {first_few(line_numbers(unknown))}): use {', '.join(SPLITS)}"
        )
    check_paths(frame["path"], str(path))
    parts = frame["split"] if fold is None else _parts_of_fold(frame, fold, path)
    indexed = frame.assign(split=parts).set_index("path")
    _check_same_images(indexed.index, pd.Index(manifest["path"]), path)
    indexed = indexed.loc[manifest["path"]]
    moved = (indexed["patient_id"].to_numpy() != manifest["patient_id"].to_numpy()).astype(bool)
    if moved.any():
        names = manifest["path"][moved].tolist()
        raise DataError(
            f"{path}: {len(names)} rows name another patient than the manifest"
            f"{_examples(names)}: run `cxrtool split --force` to split it anew"
        )
    return pd.Series(indexed["split"].to_numpy(), index=manifest.index, name="split")


def _check_same_images(split: "pd.Index[str]", manifest: "pd.Index[str]", path: Path) -> None:
    if split.equals(manifest):
        return
    strangers, absent = split.difference(manifest).tolist(), manifest.difference(split).tolist()
    if strangers or absent:
        raise DataError(
            f"{path} is not a split of this manifest: {len(strangers)} paths are not in it"
            f"{_examples(strangers)}, {len(absent)} of its paths are missing{_examples(absent)}: "
            "run `cxrtool split --force` to split it anew"
        )


def _parts_of_fold(frame: pd.DataFrame, fold: int, path: Path) -> "pd.Series[str]":
    """The parts with `fold` as valid and the other folds as train."""
    if "fold" not in frame.columns:
        raise DataError(f"{path} has no folds: run `cxrtool split --folds 5 --force` first")
    inside = frame["split"].isin(("train", "valid"))
    numbered = frame["fold"].str.fullmatch(r"[0-9]{1,6}")
    wrong = (numbered != inside).to_numpy(dtype=bool)
    if wrong.any():
        raise DataError(
            f"{path}: {wrong.sum()} rows have a wrong fold (lines "
            f"{first_few(line_numbers(wrong))}): rows of train and valid have a number, "
            "the others none"
        )
    there = sorted({int(number) for number in frame["fold"][inside]})
    if fold not in there:
        raise DataError(f"{path} has no fold {fold}: there are {first_few(there, 20)}")
    chosen = frame["fold"] == str(fold)
    return frame["split"].mask(inside, "train").mask(chosen, "valid")


def _examples(names: Sequence[str]) -> str:
    return f" ({first_few(names)})" if names else ""


def patients_in_two_splits(split: pd.DataFrame) -> int:
    """How many patients of a table with `patient_id` and `split` are in more than one part.

    Neither `test` nor `expert` is learned from: a patient of both is in one.
    """
    parts = split["split"].replace({"expert": "test"})
    return int((parts.groupby(split["patient_id"]).nunique() > 1).sum())


def read_pixels(path: Path, manifest: pd.DataFrame) -> pd.DataFrame:
    """The pixel table's rows for the manifest's images, in its order, as int64 columns.

    Raises:
        DataError: columns missing, or an image of the manifest without a row.
    """
    frame = read_table(path, PIXEL_COLUMNS)
    names = [name for name in PIXEL_COLUMNS if name not in ("path", "mode")]
    numbers = frame[names].apply(pd.to_numeric, errors="coerce")
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
