"""Labels of another table than the data set's own: of another labeler, or of radiologists.

A table names images (by a path, or by an id without folder and ending) or studies. A labeler's
table stands for the whole of what it labels: an image that it does not name is left out. Of
radiologists' tables, which are small, it is known who made them: the images that they name become
the rows that are kept apart as better known (source `valid`), and the others keep their labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, UsageError, counted, first_few
from cxrtool.core.origin import whoever_made
from cxrtool.data.label_names import match_columns, match_labels
from cxrtool.data.labels import label_number
from cxrtool.data.manifest import DESCRIBING, label_columns
from cxrtool.data.problems import Problems
from cxrtool.data.sources.locating import image_keys
from cxrtool.data.sources.rows import SourceRows, label_cells, open_table, places

IMAGES = (
    *("path", "path_to_image", "fpath", "dicom_id", "Image Index", "Image ID", "ImageID"),
    *("image_id", "imageid", "filename"),
)
"""Columns that name images, the first of them that is there."""
STUDIES = ("study_id", "StudyID", "AccessionNumber")


@dataclass(frozen=True)
class Known:
    """A table that is known by its name, or by its folder's and its own."""

    name: str
    """With `*`, in small letters."""
    labels_by: str
    expert: bool = False
    """Radiologists looked at the images."""


KNOWN = (
    Known("*visualchexbert*", "visualCheXbert (Jain et al. 2021)"),
    Known("*chexbert*", "CheXbert (Smit et al. 2020)"),
    Known("mimic-cxr-*-negbio.csv*", "NegBio labeler on MIMIC's reports"),
    Known(
        "mimic-cxr-*-test-set-labeled.csv*", "a radiologist who read MIMIC's reports", expert=True
    ),
    Known("*four_findings_expert_labels*", "radiologists (Majkowska et al. 2020)", expert=True),
    Known("google2019_nih*", "radiologists (Majkowska et al. 2020)", expert=True),
    Known("*cxr-lt*", "CXR-LT: a labeler on reports (Holste et al. 2024)"),
)


def find_table(name: str, place: Path, names: Sequence[str]) -> Path:
    """The table that `--labels-from` names: beside the data, or anywhere.

    Args:
        name: as given.
        place: of the data.
        names: what else the data set would take.

    Raises:
        UsageError: there is no such file.
    """
    folder = place if place.is_dir() else place.parent
    candidates = [folder / name, Path(name), *sorted(folder.glob(f"*/{name}"))]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        others = f", nor one of {', '.join(names)}" if names else ""
        raise UsageError(
            f"--labels-from {name}: there is no such table in {folder} or here{others}"
        )
    return found


def relabel(
    rows: SourceRows, table: Path, problems: Problems, *, own: bool = False, needed: bool = True
) -> SourceRows:
    """The same images with the labels of another table.

    Args:
        rows: of the data set.
        table: a CSV or JSON lines.
        problems: what is wrong with it is noted there.
        own: take all its labels; otherwise those alone that the data set has, too.
        needed: that it names no image is an error; otherwise it is noted.

    Raises:
        DataError: it cannot be read, names no images or studies of the data, or one twice, or has
            no labels.
    """
    frame = open_table(table, (), problems)
    known = _known(table)
    labels = _labels(frame, rows, table, own=own)
    values, bad = label_cells(frame, list(labels.values()), table, problems)
    at = _rows_of(frame, rows, table)
    usable = at >= 0
    usable[usable] = ~bad[at[usable]]
    if not usable.any():
        nobody = f"{table} names none of the {len(rows.rows):,} images of the data set"
        if needed:
            raise DataError(f"{nobody}: is it of these?")
        return replace(rows, notes=(*rows.notes, nobody))
    expert = known is not None and known.expert
    sources = rows.rows["source"].to_numpy(dtype=object)
    # A labeler's table stands for all of a source of which it names any row.
    inside = usable if expert else np.isin(sources, sorted(set(sources[usable])))
    kept = [] if own and not expert else label_columns(rows.rows)
    names = list(dict.fromkeys([*kept, *labels]))
    new = np.full((len(rows.rows), len(names)), np.nan, dtype=np.float32)
    columns = np.array([names.index(label) for label in labels], dtype=np.intp)
    new[np.ix_(np.flatnonzero(usable), columns)] = values[at[usable]]
    before = rows.rows.reindex(columns=names).to_numpy(dtype=np.float32)
    made = rows.rows[[name for name in rows.rows if name in DESCRIBING]].copy()
    made[names] = np.where(inside[:, None], new, before)
    by = whoever_made(table.name) if known is None else known.labels_by
    relabelled = replace(rows, tables=(*rows.tables, table.name), rows=made)
    if expert:
        return _with_experts(relabelled, usable, by)
    return _without_the_unnamed(relabelled, inside, usable, by, problems)


def _known(table: Path) -> Known | None:
    """What is known of a table; CXR-LT's are called train_labeled.csv, in a folder of its name."""
    names = (table.name.lower(), f"{table.parent.name}/{table.name}".lower())
    known = (one for one in KNOWN if any(fnmatch(name, one.name) for name in names))
    return next(known, None)


def _with_experts(rows: SourceRows, usable: NDArray[np.bool_], by: str) -> SourceRows:
    """The rows that radiologists labelled are of the source `valid`."""
    made = rows.rows.assign(source=rows.rows["source"].mask(usable, "valid"))
    note = f"{counted(int(usable.sum()), 'image')} have the labels of {rows.tables[-1]}"
    labels_by = {**rows.labels_by, "valid": by}
    return replace(rows, rows=made, labels_by=labels_by, notes=(*rows.notes, note))


def _without_the_unnamed(
    rows: SourceRows,
    inside: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    by: str,
    problems: Problems,
) -> SourceRows:
    """Rows of the sources that were labelled anew are left out where the table names them not."""
    left, paths = inside & ~usable, rows.rows["path"]
    told = f"no labels in {rows.tables[-1]}"
    problems.add("image without labels", paths[left].tolist(), told, kept=False)
    labels_by = {**rows.labels_by, **dict.fromkeys(sorted(set(rows.rows["source"][inside])), by)}
    return replace(rows, labels_by=labels_by).at(paths.mask(left, ""))


def _labels(frame: pd.DataFrame, rows: SourceRows, table: Path, *, own: bool) -> dict[str, str]:
    """{label: column} of the labels that are taken."""
    if own:
        keys = match_columns((*IMAGES, *STUDIES), frame.columns, str(table)).values()
        names = [str(name) for name in frame.columns if name not in keys]
        labels = {name: name for name in names if _is_label(frame[name])}
    else:
        labels = match_labels(label_columns(rows.rows), frame.columns, str(table))
    if not labels:
        raise DataError(
            f"{table} has no column of a label: its columns are "
            f"{first_few(list(frame.columns), 30)}"
        )
    return labels


def _is_label(cells: "pd.Series[str]") -> bool:
    numbers = [label_number(str(text)) for text in cells.unique()]
    return None not in numbers and any(number in (0, 1) for number in numbers)


def _rows_of(frame: pd.DataFrame, rows: SourceRows, table: Path) -> NDArray[np.intp]:
    """For each image the row of the table that names it or its study, -1 for none."""
    there = match_columns((*IMAGES, *STUDIES), frame.columns, str(table))
    images = next((there[name] for name in IMAGES if name in there), None)
    studies = next((there[name] for name in STUDIES if name in there), None)
    if images is not None:
        given, wanted = image_keys(frame[images].tolist(), rows.rows["path"].tolist())
    elif studies is not None:
        # The manifest's begin with the patient's, and MIMIC's with an `s`.
        given = [text.strip() for text in frame[studies]]
        wanted = [study.rpartition("/")[2].removeprefix("s") for study in rows.rows["study_id"]]
    else:
        raise DataError(
            f"{table} has no column that names images or studies ({', '.join((*IMAGES, *STUDIES))})"
        )
    keys = pd.Index(given)
    twice = keys.duplicated()
    if twice.any():
        raise DataError(
            f"{table}: {twice.sum():,} rows name what an earlier one has named "
            f"({first_few(places(table, twice))}): remove all but one of each"
        )
    return keys.get_indexer(pd.Index(wanted))
