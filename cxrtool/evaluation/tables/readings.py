"""Tables of what human readers said: a file a reader, or one with a column `reader`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.data.labels import targets_and_mask
from cxrtool.data.manifest import label_values
from cxrtool.evaluation.human_readers import Reading, compare_readers
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.scoring import Scored
from cxrtool.evaluation.tables.columns import named_columns, read_columns
from cxrtool.evaluation.tables.keys import (
    IMAGE,
    KNOWN,
    STUDY,
    KeyColumn,
    fold,
    key_columns,
    refuse_blank,
    refuse_repeated,
)

READER = "reader"
"""The column, as `fold` writes it, that names who read a row."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What readers said of a sample's rows."""

    readers: tuple[Reading, ...]
    notes: tuple[str, ...]
    """What was left out of their tables."""


def read_readings(files: Sequence[Path], sample: Sample, unit: str, policy: str) -> Readings:
    """Read what readers said of the rows of a sample.

    Labels are 1, 0, -1 (which counts as `policy` says, as in the truth) and blank for "not read".
    A sample of studies takes tables of images, too: a study is positive if an image of it is.

    Args:
        files: CSV tables with a key (a path or a study) and labels. Each is one reader's, called
            after the file, or has a column `reader`.
        sample: what is scored.
        unit: what a row of it is: "image" or "study".
        policy: the policy of uncertain labels.

    Raises:
        DataError: a table cannot be read, has no label of the sample's or none of its rows, names
            a row twice, or two readers are called the same.
        UsageError: studies were read, and images are scored.
    """
    found: list[Reading] = []
    notes: list[str] = []
    for path in files:
        frame, told = read_columns(path)
        notes += told
        for name, rows in _by_reader(frame, path):
            reading, left_out = _reading(name, rows, path, sample, unit, policy)
            found.append(reading)
            if left_out:
                notes.append(
                    f"{path.name}: {counted(left_out, 'row')} of {name} left out, which are not "
                    "among those that are scored"
                )
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"--readers: {first_few(twice)} is there twice: call readers differently")
    return Readings(readers=tuple(found), notes=tuple(notes))


def beside_readers(scored: Scored, files: Sequence[Path] | None, reporter: Reporter) -> Scored:
    """An evaluation with what readers' tables say of the same rows; itself without any.

    Raises what `read_readings` does.
    """
    if not files:
        return scored
    result = scored.result
    found = read_readings(files, scored.sample, result.unit, result.protocol.uncertainty)
    for note in found.notes:
        reporter.note(note)
    readers = compare_readers(scored.sample, found.readers, scored.draws)
    return replace(scored, result=replace(result, readers=readers))


def _by_reader(frame: pd.DataFrame, path: Path) -> list[tuple[str, pd.DataFrame]]:
    """Each reader's rows: by the column that names them, or all as those of the file's name."""
    column = next((name for name in frame.columns if fold(str(name)) == READER), None)
    if column is None:
        return [(path.name.removesuffix(".gz").removesuffix(".csv"), frame)]
    names = frame[column].str.strip()
    if (names == "").any():
        raise DataError(f"{path}: {(names == '').sum()} rows name no reader in its column {column}")
    rest = frame.drop(columns=column)
    return [(str(name), rows) for name, rows in rest.groupby(names.to_numpy(), sort=True)]


def _reading(
    name: str, frame: pd.DataFrame, path: Path, sample: Sample, unit: str, policy: str
) -> tuple[Reading, int]:
    """One reader's calls on the rows of a sample, and how many rows of the table have no place."""
    columns = [str(column) for column in frame.columns]
    labels = named_columns(sample.labels, columns, path)
    if not labels:
        raise DataError(
            f"{path} has none of the labels that are scored ({first_few(sample.labels)}): its "
            f"columns are {first_few(columns, 30)}"
        )
    key, place = _matched(frame, path, sample, unit)
    raw = label_values(frame[list(labels.values())], list(labels.values()), path)
    targets, mask = targets_and_mask(raw, list(labels), policy, "ignore")
    size = len(sample.keys), len(sample.labels)
    called, read = np.zeros(size, bool), np.zeros(size, bool)
    there = place >= 0
    if not there.any():
        raise DataError(
            f"{path}: none of its {counted(len(frame), 'row')} is among those that are scored "
            f"(its {key.name} begins with {first_few(key.exact.tolist())}, the scored ones with "
            f"{first_few(sample.keys.tolist())}): readers must have read the same images or "
            "studies"
        )
    for at, label in enumerate(labels):
        column = sample.labels.index(label)
        known = there & mask[:, at]
        read[place[known], column] = True
        called[place[known & (targets[:, at] == 1)], column] = True
    return Reading(name=name, called=called, read=read), int((~there).sum())


def _matched(
    frame: pd.DataFrame, path: Path, sample: Sample, unit: str
) -> tuple[KeyColumn, NDArray[np.int64]]:
    """The column that names the rows, and each row's place in the sample; -1 for none."""
    keys = key_columns(frame, [name for name in frame.columns if fold(str(name)) in KNOWN])
    if not keys:
        raise DataError(
            f"{path} names no image or study: a column such as path or study is needed. Its "
            f"columns are {first_few(list(frame.columns), 30)}"
        )
    of_unit = [key for key in keys if key.unit == unit]
    key = (of_unit or keys)[0]
    refuse_blank(key, path)
    if key.unit == STUDY and unit == IMAGE:
        _refuse_shared_studies(sample, path)
    # Images of a study that is scored as one are put together: only an image may not come twice.
    names = key.images if key.images is not None and unit == STUDY else key.normal
    refuse_repeated(names, key.name, path)
    theirs = _normal(sample, key.unit)
    places = dict(zip(theirs.tolist(), range(len(theirs)), strict=True))
    return key, np.array([places.get(one, -1) for one in key.normal], np.int64)


def _normal(sample: Sample, unit: str) -> NDArray[np.object_]:
    """The sample's keys in the one way of writing that tables' keys are brought to."""
    name, cells = ("path", sample.keys) if unit == IMAGE else ("study_id", sample.studies)
    return next(
        key.normal
        for key in key_columns(pd.DataFrame({name: cells.astype(object)}), [name])
        if key.unit == unit
    )


def _refuse_shared_studies(sample: Sample, path: Path) -> None:
    several = len(sample.studies) - len(np.unique(sample.studies))
    if several or (sample.studies == "").any():
        raise UsageError(
            f"--readers {path.name} reads studies, and images are scored, {several:,} of which "
            "share their study with another: add --unit study"
        )
