"""A whole drawn data set on disk, in the layout of CheXpert-v1.0-small."""

import csv
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrtool import __version__
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import names_file, umask
from cxrtool.core.json_files import JsonResult, write_json
from cxrtool.core.locks import locked
from cxrtool.core.origin import MARK, OLD_MARK, OLD_WORDS, drawn_mark
from cxrtool.core.pools import in_processes
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.phantoms.anatomy import Build, draw_build
from cxrtool.data.phantoms.film import Exposure, draw_exposure
from cxrtool.data.phantoms.findings import draw_radiograph
from cxrtool.data.phantoms.tables import (
    RATES,
    LabelRow,
    draw_label_rows,
    radiologists_row,
    strengths,
)

ROOT = "CheXpert-v1.0-small"
FIRST_VALID = 64_541
"""The number of the first patient of valid.csv, as in CheXpert."""

COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS)
BOX_COLUMNS = ("Path", "Label", "x0", "y0", "x1", "y1")
JPEG_QUALITY = 90
CHUNK = 4
"""Patients that a process draws at a time."""

README = f"""\
{OLD_WORDS}

cxrtool drew every image, label and box in this folder with a random number generator, so that its
commands can be tried without medical data. The layout, the names and the label values follow
CheXpert-v1.0-small; nothing else does. Nothing that is measured here says anything about people.

  train.csv, valid.csv   one row an image: 1 positive, 0 negative, -1 uncertain, blank not mentioned
  boxes.csv              where each finding was drawn: x0, y0, x1, y1 in pixels of that image
  {MARK}             says the same to programs: keep it beside the images
"""


@dataclass(frozen=True)
class DrawnDataset(JsonResult):
    """What was drawn, and where it lies."""

    folder: Path
    """The CheXpert-v1.0-small folder."""
    images: int
    frontal: int
    patients: int
    seconds: float


Row = dict[str, Any]


@dataclass(frozen=True)
class _Task:
    """One patient to draw."""

    folder: Path
    seed: int
    rates: str
    split: str
    number: int


@dataclass(frozen=True)
class _Drawn:
    """The table rows and boxes of one patient's images."""

    rows: tuple[Row, ...]
    boxes: tuple[Row, ...]


def draw_dataset(
    folder: Path,
    *,
    patients: int,
    seed: int = 42,
    rates: str = "demo",
    valid_patients: int = 20,
    workers: int = 0,
    on_image: Callable[[int], None] | None = None,
) -> DrawnDataset:
    """Draw a data set of chest X-rays into `folder`/CheXpert-v1.0-small.

    Patient k looks the same whatever `patients` and `workers` are.

    Args:
        folder: where the data set's folder is made.
        patients: patients of train.csv, each with about two frontal images.
        seed: of everything that is drawn.
        rates: `demo` (every finding common enough to learn) or `chexpert` (its true rates).
        valid_patients: patients of valid.csv, labelled as radiologists do: 0 or 1 only.
        workers: processes to draw with; 0 or 1: this one does.
        on_image: called with the number of images newly finished.

    Raises:
        UsageError: a count or a rate that cannot be.
        DataError: the data set's folder exists already.
    """
    _check_arguments(patients, seed, rates, valid_patients, workers)
    target = folder / ROOT
    if target.exists():
        raise DataError(f"{target} exists already: remove it, or draw into another folder")
    began = time.monotonic()
    with locked(folder, "drawing", "draw into another folder"), names_file(target):
        for left in folder.glob(f".{ROOT}.*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{ROOT}.", dir=folder))
        try:
            tasks = [_Task(scratch, seed, rates, "train", k + 1) for k in range(patients)]
            tasks += [
                _Task(scratch, seed, rates, "valid", FIRST_VALID + k) for k in range(valid_patients)
            ]
            drawn: list[_Drawn] = []
            doing = "draws images"
            for some in in_processes(
                _draw_patients, tasks, chunk=CHUNK, processes=workers, doing=doing
            ):
                drawn += some
                if on_image is not None:
                    on_image(sum(len(patient.rows) for patient in some))
            rows = _write_tables(scratch, drawn)
            write_json(scratch / MARK, drawn_mark(seed, rates, f"cxrtool {__version__}"))
            # mkdtemp makes private folders; a data set is as open as any other folder.
            scratch.chmod(0o777 & ~umask())
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    frontal = sum(row["Frontal/Lateral"] == "Frontal" for row in rows)
    return DrawnDataset(target, len(rows), frontal, patients, time.monotonic() - began)


def _check_arguments(
    patients: int, seed: int, rates: str, valid_patients: int, workers: int
) -> None:
    if patients < 1:
        raise UsageError(f"{patients} patients cannot be drawn: give at least 1")
    if patients >= FIRST_VALID:
        raise UsageError(f"{patients} patients are too many: give at most {FIRST_VALID - 1}")
    if min(valid_patients, workers, seed) < 0:
        raise UsageError(
            f"valid patients ({valid_patients}), workers ({workers}) and seed ({seed}) "
            "must not be negative"
        )
    if rates not in RATES:
        raise UsageError(f"rates {rates!r} are not known: use {' or '.join(sorted(RATES))}")


def _draw_patients(tasks: Sequence[_Task]) -> list[_Drawn]:
    return [_draw_patient(task) for task in tasks]


def _draw_patient(task: _Task) -> _Drawn:
    """Draw and save all images of one patient."""
    key = (task.seed, int(task.split == "valid"), task.number)
    rng = np.random.default_rng(key)
    female, age = bool(rng.random() < 0.41), int(np.clip(rng.normal(60, 18), 18, 90))
    build = draw_build(rng, female=female, age=age)
    studies = 1 if task.split == "valid" else int(rng.choice(4, p=(0.46, 0.26, 0.16, 0.12))) + 1
    label_rows = draw_label_rows(rng, studies, task.rates)
    rows, boxes = [], []
    for study, labels in enumerate(label_rows, start=1):
        study_key = (*key, study)
        shown = strengths(np.random.default_rng([*study_key, 0]), labels)
        if task.split == "valid":
            labels = radiologists_row(labels)
        for view, exposure in enumerate(_exposures(study_key), start=1):
            side = "lateral" if exposure.lateral else "frontal"
            place = f"{task.split}/patient{task.number:05d}/study{study}/view{view}_{side}.jpg"
            row = {"Path": f"{ROOT}/{place}", "Sex": "Female" if female else "Male"}
            rows.append({**row, "Age": min(90, age + study // 2), **_row(exposure, labels)})
            found = _draw_image(task.folder / place, build, exposure, shown, study_key)
            boxes += [{"Path": row["Path"], **box} for box in found]
    return _Drawn(tuple(rows), tuple(boxes))


def _exposures(study_key: tuple[int, ...]) -> list[Exposure]:
    """A study's images: one frontal; at times a lateral or a second frontal with it."""
    rng = np.random.default_rng([*study_key, 9])
    kind = rng.choice(3, p=(0.70, 0.19, 0.11))
    portable = bool(rng.random() < (0.35 if kind == 1 else 0.96))
    exposures = [draw_exposure(rng, lateral=False, portable=portable)]
    if kind:
        exposures.append(draw_exposure(rng, lateral=bool(kind == 1), portable=portable))
    return exposures


def _row(exposure: Exposure, labels: LabelRow) -> Row:
    """The part of a table's row that follows from the exposure and the labels."""
    position = "" if exposure.lateral else "AP" if exposure.portable else "PA"
    values = {label: "" if math.isnan(v) else f"{v:.1f}" for label, v in labels.items()}
    return {
        "Frontal/Lateral": "Lateral" if exposure.lateral else "Frontal",
        "AP/PA": position,
        **values,
    }


def _draw_image(
    path: Path, build: Build, exposure: Exposure, shown: dict[str, float], seed: tuple[int, ...]
) -> list[Row]:
    image, boxes = draw_radiograph(build, exposure, shown, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=JPEG_QUALITY)
    return [
        {"Label": label, **dict(zip(("x0", "y0", "x1", "y1"), map(int, box), strict=True))}
        for label, box in boxes
    ]


def _write_tables(folder: Path, drawn: list[_Drawn]) -> list[Row]:
    """Write train.csv, valid.csv, boxes.csv and README.txt, sorted by path; all rows."""
    rows = sorted((row for patient in drawn for row in patient.rows), key=lambda row: row["Path"])
    boxes = sorted((box for patient in drawn for box in patient.boxes), key=lambda box: box["Path"])
    for split in ("train", "valid"):
        chosen = [row for row in rows if row["Path"].startswith(f"{ROOT}/{split}/")]
        _write_csv(folder / f"{split}.csv", COLUMNS, chosen)
    _write_csv(folder / "boxes.csv", BOX_COLUMNS, boxes)
    (folder / OLD_MARK).write_text(README, encoding="utf-8")
    return rows


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
