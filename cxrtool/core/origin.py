"""Where a data set's images are from, and in which data sets a patient's id is the same person's.

A table that is laid out like a published one is not that one: the kinds below are given on evidence
(their counts, or the mark that the drawing program leaves), never on a layout.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrtool.core.errors import RunError
from cxrtool.core.files import read_text, sha256
from cxrtool.core.json_files import JsonResult, read_json

CHEXPERT, NIH, MIMIC, DRAWN, OWN = "chexpert", "nih", "mimic", "drawn", "own"
NAMES = {
    CHEXPERT: "CheXpert (Stanford Hospital; Irvin et al. 2019)",
    NIH: "ChestX-ray14 (NIH Clinical Center; Wang et al. 2017)",
    MIMIC: "MIMIC-CXR-JPG (Beth Israel Deaconess Medical Center; Johnson et al. 2019)",
}
"""What is said of data that are a published data set's own."""
MARK = "drawn.json"
"""The file in a data folder that says that a program drew its images."""
OLD_MARK, OLD_WORDS = "README.txt", "These images are drawings, not patients."
"""Version 0.1 left no mark but this file, which begins so."""
DRAWN_BY = "the program that drew the images"
DRAWINGS = "drawings by cxrtool: no X-rays, no patients"
BANNER = (
    "The images are drawings by cxrtool, not X-rays of patients. Nothing that is measured on them "
    "says anything about X-rays or people."
)
MISSING = 0.01
"""The share of a large table's rows that a copy may lack and still be that table."""
WHOLE = {"nih": (112_120, 30_805), "mimic": (377_110, 65_379)}
"""Images and patients of the other data sets."""
OLDER = {
    ("train.csv",): {"rows": 223_414, "Male": 132_636, "AP": 161_590, "PA": 29_420},
    ("train.csv", "valid.csv"): {"rows": 223_648, "Male": 132_764, "AP": 161_759, "PA": 29_453},
}
"""What version 0.1 counted over all rows of CheXpert's tables."""


@dataclass(frozen=True, kw_only=True)
class Origin(JsonResult):
    """Where images are from; as JSON, as data.json has it."""

    kind: str
    """One of the five above."""
    description: str
    """The same in words, for readers."""
    registers: tuple[str, ...]
    """In which registers of patients the ids are: the same id in two data sets is the same person
    where they share a register. No name and no place of this machine stands in them."""
    published: tuple[str, ...] = ()
    """The sources (train, valid) whose rows are those of the published table."""

    @property
    def drawn(self) -> bool:
        """Whether a program drew the images."""
        return self.kind == DRAWN

    def for_readers(self) -> dict[str, str]:
        """What a result says of the data that it was measured on."""
        return {"origin": self.kind, "description": self.description}


def published_origin(kind: str, sources: Iterable[str]) -> Origin:
    """The origin of data whose tables are all a published data set's own."""
    return Origin(kind=kind, description=NAMES[kind], registers=(kind,), published=tuple(sources))


def own_origin(
    description: str, folder: Path, tables: Iterable[Path], published: Iterable[str] = ()
) -> Origin:
    """The origin of anybody's data: the ids are those of its folder and of copies of its tables.

    Args:
        description: in words.
        folder: where its images are.
        tables: the files that were read.
        published: sources whose table is a published one nevertheless.
    """
    contents = hashlib.sha256("".join(sha256(path) for path in tables).encode()).hexdigest()
    return Origin(
        kind=OWN,
        description=description,
        registers=(_register_of(folder), f"tables-{contents[:16]}"),
        published=tuple(published),
    )


def _register_of(folder: Path) -> str:
    return f"folder-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"


def whoever_made(table: str) -> str:
    """Who made the labels of a table that is not a published one."""
    return f"whoever made {table}"


def drawn_mark(seed: int, rates: str, program: str) -> dict[str, str | int]:
    """What the mark file in a folder of drawn images says."""
    return {"drawn_by": program, "seed": seed, "rates": rates, "note": OLD_WORDS}


def drawn_origin(folders: Iterable[Path]) -> Origin | None:
    """The origin of drawn images, where one of these folders has their mark."""
    for folder in folders:
        register, marked = _register_of(folder), (folder / MARK).is_file()
        with suppress(OSError, RunError, KeyError, TypeError, ValueError):
            if marked:
                values = read_json(folder / MARK)
                # A patient's number is the same drawing wherever seed and rates are the same.
                register = f"drawn-{int(values['seed'])}-{values['rates']}"
            else:
                marked = read_text(folder / OLD_MARK, most=2**16).startswith(OLD_WORDS)
        if marked:
            return Origin(kind=DRAWN, description=DRAWINGS, registers=(register,))
    return None


def older_origin(values: Mapping[str, Any]) -> Origin:
    """The origin of data that version 0.1 prepared, by the counts in its data.json.

    Raises:
        KeyError, TypeError, ValueError: it is not as it was written.
    """
    folder, dataset = Path(values["folder"]), str(values["dataset"])
    names = [str(name) for name in values["tables"]]
    drawn = drawn_origin([folder])
    if drawn is not None:
        return drawn
    if _was_published(dataset, values):
        return published_origin(dataset, dict(values["labels_by"]))
    laid_out = "" if dataset == "csv" else f", laid out as {dataset}"
    there = [folder / name for name in names if (folder / name).is_file()]
    return own_origin(f"{', '.join(names)}{laid_out}", folder, there)


def labellers(
    origin: Origin, labels_by: Mapping[str, str], tables: Mapping[str, str]
) -> dict[str, str]:
    """Who made the labels of each source: of a published table's only where it is that table.

    Args:
        origin: of the data.
        labels_by: who made those of the published tables.
        tables: the name of each source's table.
    """
    if origin.drawn:
        return dict.fromkeys(labels_by, DRAWN_BY)
    return {
        source: name if source in origin.published else whoever_made(tables[source])
        for source, name in labels_by.items()
    }


def is_whole(dataset: str, rows: int, patients: int) -> bool:
    """Whether another data set's rows and patients are all of the published ones, but for a few."""
    all_rows, all_patients = WHOLE[dataset]
    missing = all_rows - rows
    return 0 <= missing <= MISSING * all_rows and 0 <= all_patients - patients <= missing


def _was_published(dataset: str, values: Mapping[str, Any]) -> bool:
    """Whether data.json of version 0.1 counts what the published tables hold."""
    counts = {"rows": values["rows"]}
    totals = {"rows": WHOLE[dataset][0]} if dataset in WHOLE else None
    if dataset == CHEXPERT:
        counts |= {**values["sex"], **values["orientation"]}
        totals = OLDER.get(tuple(map(str, values["tables"])))
    if totals is None:
        return False
    missing = totals["rows"] - int(counts["rows"])
    few = 0 <= missing <= MISSING * totals["rows"]
    return few and all(0 <= n - int(counts.get(key, 0)) <= missing for key, n in totals.items())
