"""Which rows of a data set a run has seen: by their pictures and, in its data set, by patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.errors import counted
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.ancestry import BEFORE, TRAIN, VALID, Ancestry, Group, read_seen
from cxrtool.data.pictures import (
    Pictures,
    fingerprint_files,
    pictures_frame,
    pictures_of,
    read_pictures,
)

VALID_SPLIT = "valid"


@dataclass(frozen=True, kw_only=True)
class SeenRows:
    """What of some rows a run has seen."""

    patients: list[str]
    """Those whose ids it knows, in the rows' order."""
    images: list[str]
    """The paths of pictures that it knows, whatever their patients are called."""
    of_patients: int
    of_images: int
    """How many there are."""

    def __bool__(self) -> bool:
        return bool(self.patients or self.images)

    def describe(self, split: str, whose: str) -> list[str]:
        """A sentence a kind; `whose` ends it: "the run was trained on"."""
        told = []
        if self.patients:
            told.append(
                f"{len(self.patients)} of {self.of_patients} patients in {split} are among those "
                f"that {whose}"
            )
        if self.images:
            told.append(
                f"{len(self.images)} of {self.of_images} images in {split} are pictures that "
                f"{whose}"
            )
        return told


def row_pictures(
    workspace: Workspace, paths: Sequence[str], workers: int | None, reporter: Reporter
) -> tuple[Pictures, NDArray[np.intp]]:
    """The fingerprints of images of a workspace; those that it lacks are made, and kept in it.

    Returns:
        The fingerprints of those that can be read, and their places among `paths`.

    Raises:
        DataError: pictures.csv was altered.
    """
    known = read_pictures(workspace.pictures) if workspace.pictures.is_file() else {}
    missing = [path for path in paths if path not in known]
    if missing:
        folder = workspace.read_data_info().folder
        files = [folder / path for path in missing]
        with reporter.steps("fingerprinting images", len(files)) as advance:
            made = fingerprint_files(files, worker_count(workers, most=None), advance)
        new = {path: text for path, text in zip(missing, made, strict=True) if text}
        known |= new
        if new:
            _keep(workspace, known, reporter)
        if len(new) < len(missing):
            reporter.warn(
                f"{counted(len(missing) - len(new), 'image')} of {len(paths):,} cannot be read "
                f"from {folder}: whether a run has seen such a picture is not known"
            )
    places = np.array([row for row, path in enumerate(paths) if path in known], np.intp)
    return pictures_of([known[paths[row]] for row in places]), places


def _keep(workspace: Workspace, known: dict[str, str], reporter: Reporter) -> None:
    """Keep fingerprints for the next time, where the workspace can be written to."""
    try:
        write_table(pictures_frame(known), workspace.pictures)
    except OSError as error:
        reporter.detail(f"{workspace.pictures} could not be written ({error.strerror})")


def rows_seen_by(
    run: RunFolder,
    card: RunCard,
    rows: pd.DataFrame,
    split: str,
    workspace: Workspace,
    *,
    own: bool,
    workers: int | None,
    reporter: Reporter,
) -> tuple[SeenRows, SeenRows]:
    """What of a manifest's rows a run has seen, and what besides the runs that it began from have.

    Seen is what they were trained on and, unless these rows are its valid, chosen on.

    Args:
        run: a finished one.
        card: its own.
        rows: `path` and `patient_id` of those to be scored.
        split: the part that they are.
        workspace: they are of.
        own: the manifest is that of the run's training.
        workers: threads to decode with, where fingerprints are still to be made.
        reporter: told how that goes.
    """
    chosen = split != VALID_SPLIT
    ways = TRAIN | VALID if chosen else TRAIN
    look = _Look(rows, workspace, workers, reporter)
    mine = Group(
        registers=None if own else card.registers,
        train=card.train_patients,
        valid=card.valid_patients,
    )
    older = [Group(**dict(one)) for one in card.inherited]
    itself = look.patients([mine], chosen=chosen)
    before = look.patients(older, chosen=chosen) - itself
    if not card.has_pictures:
        return look.seen(itself, None), look.seen(before, None)
    found = read_seen(run)
    again = (found.how & ways) > 0
    earlier = ((found.how & (ways * BEFORE)) > 0) & ~again
    return (
        look.seen(itself, found.pictures.choose(again)),
        look.seen(before, found.pictures.choose(earlier)),
    )


def rows_seen_before(
    ancestry: Ancestry,
    rows: pd.DataFrame,
    workspace: Workspace,
    *,
    workers: int | None,
    reporter: Reporter,
) -> SeenRows:
    """What of some rows the weights were trained on that a training begins with."""
    look = _Look(rows, workspace, workers, reporter)
    patients = look.patients(ancestry.groups, chosen=False)
    return look.seen(patients, ancestry.pictures.seen(TRAIN))


class _Look:
    """A look at the rows of a workspace."""

    def __init__(
        self, rows: pd.DataFrame, workspace: Workspace, workers: int | None, reporter: Reporter
    ) -> None:
        self._rows, self._workspace = rows, workspace
        self._workers, self._reporter = workers, reporter
        self._registers = workspace.read_data_info().origin.registers
        self._made: tuple[Pictures, NDArray[np.intp]] | None = None

    def patients(self, groups: Sequence[Group], *, chosen: bool) -> frozenset[str]:
        """The ids of the groups that mean the same people here."""
        known = (group.known_in(self._registers, chosen=chosen) for group in groups)
        return frozenset[str]().union(*known)

    def seen(self, known: frozenset[str], pictures: Pictures | None) -> SeenRows:
        """Which of the rows are of these patients, or among these pictures."""
        everybody, paths = self._rows["patient_id"].unique(), self._rows["path"].tolist()
        images: list[str] = []
        if pictures is not None and len(pictures):
            if self._made is None:
                self._made = row_pictures(self._workspace, paths, self._workers, self._reporter)
            own, places = self._made
            images = [paths[row] for row in places[own.among(pictures)]]
        return SeenRows(
            patients=[str(patient) for patient in everybody if patient in known],
            images=images,
            of_patients=len(everybody),
            of_images=len(paths),
        )
