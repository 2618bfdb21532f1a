"""Where the rows of one table are in another: the pair of key columns that fits, and its match.

Not by `pandas.merge(validate=...)`: which of several columns are the keys is known only once each
pair was tried, and its error names neither lines nor keys.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxrtool.core.errors import DataError, first_few
from cxrtool.evaluation.tables.keys import (
    GENERIC,
    IMAGE,
    KNOWN,
    STUDY,
    KeyColumn,
    Rows,
    Texts,
    fold,
    refuse_blank,
    refuse_repeated,
)

DEEPEST = 8
"""At most so many of a path's last parts are compared."""
SHAPED_PARTS = 3
"""Of a path in CheXpert's folders: patient, study, image."""
_ENDING = re.compile(r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|gif|npy|npz|nii)(?:\.gz)?$", re.I)


class Place(NamedTuple):
    """Where one column's keys are found in another's."""

    rows: Rows
    """(n,) for each key the first row of the other table with it, -1 for none."""
    codes: Rows
    """(m,) equal numbers for rows of the other table that have the same key."""
    how: str
    """What was compared, if it is not the cells or CheXpert's paths themselves."""

    @property
    def found(self) -> int:
        """How many keys were found."""
        return int((self.rows >= 0).sum())


@dataclass(frozen=True, kw_only=True)
class Side:
    """A table's columns that may be keys."""

    path: Path
    columns: Sequence[KeyColumn]
    key: str | None
    """The one that the user names."""
    names: Sequence[str]
    """All columns of the table, to be told in a message."""

    @property
    def named(self) -> list[KeyColumn]:
        """The columns that may be used."""
        return [column for column in self.columns if self.key in (None, column.name)]

    @property
    def names_images(self) -> bool:
        """Whether each row is of an image of its own, so that its study may be named again."""
        images = [column for column in self.columns if column.unit == IMAGE]
        return any(column.names_rows and not column.numbers_rows for column in images)


class Pair(NamedTuple):
    """A column of the predictions, one of the truth, and where the first is in the second."""

    mine: KeyColumn
    theirs: KeyColumn
    place: Place

    @property
    def description(self) -> str:
        """The two columns' names."""
        mine, theirs = self.mine.name, self.theirs.name
        return mine if mine == theirs else f"{mine}={theirs}"


def choose_pair(scores: Side, truth: Side) -> Pair:
    """The pair of key columns by which most rows of the predictions are found in the truth.

    Columns pair up that have the same name or both a known one. Of CheXpert's paths what counts
    is from the patient on, unless that makes two of the truth's the same. Where nothing is found
    and no `--key` says which columns are the keys, the ends of the paths are tried.

    Raises:
        DataError: no columns pair up, nothing is found, two pairs find as many rows and contradict
            each other, or the rows are not unique.
    """
    couples = list(_couples(scores, truth))
    if not couples:
        raise DataError(_no_common_column(scores, truth))
    pairs = [Pair(mine, theirs, _place(mine, theirs)) for mine, theirs in couples]
    found = [pair for pair in pairs if pair.place.found]
    if not found and scores.key is None:
        ends = [Pair(mine, theirs, _by_ends(mine, theirs)) for mine, theirs in couples]
        found = [pair for pair in ends if pair.place.found]
    if not found:
        raise DataError(_no_overlap(pairs[0], scores, truth))
    best = min(found, key=_order)
    _refuse_contradiction(best, found, scores, truth)
    _refuse_repeated(best, scores, truth)
    return best


def _couples(scores: Side, truth: Side) -> Iterator[tuple[KeyColumn, KeyColumn]]:
    images = any(column.shaped and column.unit == IMAGE for column in truth.named)
    for mine in scores.named:
        for theirs in truth.named:
            if mine.images is not None and images and theirs.unit == STUDY:
                continue  # two tables of images: that they share studies does not join them
            if _may_pair(mine, theirs, explicit=scores.key is not None):
                yield mine, theirs


def _may_pair(mine: KeyColumn, theirs: KeyColumn, *, explicit: bool) -> bool:
    names = fold(mine.name), fold(theirs.name)
    known = all(name in KNOWN for name in names)
    loose = explicit or any(name in GENERIC for name in names)
    same = mine.unit == theirs.unit or (loose and not (mine.shaped and theirs.shaped))
    return same and (explicit or known or names[0] == names[1])


def _order(pair: Pair) -> tuple[bool, bool, int, int]:
    numbers = pair.mine.numbers_rows and pair.theirs.numbers_rows
    rank = pair.mine.rank + pair.theirs.rank
    return numbers, pair.mine.unit == STUDY, -pair.place.found, rank


def _place(mine: KeyColumn, theirs: KeyColumn) -> Place:
    if len(set(theirs.normal)) < len(set(theirs.exact)):
        return _locate(mine.exact, theirs.exact)  # one patient's number in two folders
    return _locate(mine.normal, theirs.normal)


def _locate(mine: Texts, theirs: Texts, how: str = "") -> Place:
    codes, values = pd.factorize(theirs)
    _, first = np.unique(codes, return_index=True)
    at = pd.Index(values, dtype=object).get_indexer(pd.Index(mine, dtype=object))
    return Place(np.where(at >= 0, first[at], -1), codes.astype(np.int64), how)


def _by_ends(mine: KeyColumn, theirs: KeyColumn) -> Place:
    """The match by the paths' last parts that finds the most, the longest of these.

    Ends count only where they are as unique, in both columns, as the whole paths.
    """
    both = [column.normal for column in (mine, theirs)]
    deepest = min(max(cell.count("/") for cell in column) for column in both) + 1
    depths = range(min(deepest, DEEPEST), 0, -1)
    if mine.shaped and theirs.shaped:
        # All of CheXpert's images are called view1_frontal.jpg: the patient must stay.
        depths = range(SHAPED_PARTS, SHAPED_PARTS - (mine.unit == IMAGE), -1)
    counts = [len(set(column)) for column in both]
    best = Place(np.full(len(both[0]), -1), np.arange(len(both[1])), "")
    for depth in depths:
        for drop in (False, True):
            ends = [_ends(column, depth, drop=drop) for column in both]
            if [len(set(end)) for end in ends] != counts:
                continue
            parts = "file names" if depth == 1 else f"last {depth} parts of the paths"
            found = _locate(ends[0], ends[1], f"the {parts}" + ", without their endings" * drop)
            best = found if found.found > best.found else best
    return best


def _ends(paths: Texts, depth: int, *, drop: bool) -> Texts:
    ends = ["/".join(path.split("/")[-depth:]) for path in paths]
    return np.array([_ENDING.sub("", end) for end in ends] if drop else ends, dtype=object)


def _refuse_contradiction(best: Pair, found: Sequence[Pair], scores: Side, truth: Side) -> None:
    """Refuse to choose where another pair finds as many rows, and others."""
    rivals = [pair for pair in found if _contradict(best.place, pair.place)]
    rivals = [pair for pair in rivals if pair.place.found >= best.place.found]
    if rivals:
        told = [f"{pair.description} ({pair.place.found:,} rows)" for pair in (best, *rivals)]
        raise DataError(
            f"{scores.path} and {truth.path} have several key columns that contradict each other: "
            f"{first_few(told, 10)}: name the right one, such as --key {best.description}"
        )


def _contradict(one: Place, other: Place) -> bool:
    both = (one.rows >= 0) & (other.rows >= 0)
    left, right = one.rows[both], other.rows[both]
    # Of an image and a study it is the study that must be the same.
    return all(bool((codes[left] != codes[right]).any()) for codes in (one.codes, other.codes))


def _refuse_repeated(pair: Pair, scores: Side, truth: Side) -> None:
    """Refuse blank keys, and one row named twice; a study may have a row for each of its images."""
    mine, theirs, (rows, _, _) = pair
    refuse_blank(theirs, truth.path)
    refuse_blank(mine, scores.path)
    if not (theirs.unit == STUDY and truth.names_images):
        refuse_repeated(theirs.exact, theirs.name, truth.path)
    if mine.images is not None:
        refuse_repeated(mine.images, mine.name, scores.path)
    elif not (mine.unit == STUDY and scores.names_images):
        # Two ways of writing one key are found in one row.
        keys = np.where(rows >= 0, theirs.exact[rows], mine.exact)
        refuse_repeated(keys, mine.name, scores.path)


def _no_common_column(scores: Side, truth: Side) -> str:
    return (
        f"{scores.path} and {truth.path} have no key column in common that says which row is "
        f"which. {scores.path.name} has {first_few(scores.names, 30)}; {truth.path.name} has "
        f"{first_few(truth.names, 30)}: name it with --key COLUMN, or with --key "
        "PREDICTIONS_COLUMN=TRUTH_COLUMN where the names differ"
    )


def _no_overlap(pair: Pair, scores: Side, truth: Side) -> str:
    mine, theirs = pair.mine, pair.theirs
    way_on = "Name other columns with --key COLUMN or --key PREDICTIONS_COLUMN=TRUTH_COLUMN"
    if scores.key is not None:
        way_on = "With --key the cells must be equal; without it, the ends of paths are tried too"
    return (
        f"no row of {scores.path} is in {truth.path}: its column {mine.name} has keys such as "
        f"{mine.exact[0]!r}, {theirs.name} of the truth such as {theirs.exact[0]!r}. Is it the "
        f"truth of these images? {way_on}"
    )
