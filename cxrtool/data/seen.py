"""Which rows of a data set a run has seen: by their pictures and, in its data set, by patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.errors import counted
from cxrtool.core.patient_keys import PatientKey, keep_keys, own_key, read_keys
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import AncestorFacts
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


@dataclass(frozen=True, kw_only=True)
class SeenByRun:
    """What of some rows a run has seen, by whatever way."""

    itself: SeenRows
    before: SeenRows
    """What it began from has seen these, and it has not."""
    unchecked: tuple[str, ...]
    """What could not be looked for, and why."""


def began_from_packs(name: str, ancestors: Sequence[AncestorFacts]) -> tuple[str, ...]:
    """That nobody knows whom the packs have seen that a run began from; nothing where none was."""
    packs = dict.fromkeys(one.name for one in ancestors if one.packed)
    return tuple(
        f"{name} began from {pack}, a pack, which does not say whom it was trained on: where they "
        "are among these patients, the scores are too good"
        for pack in packs
    )


def known_keys(workspaces: Sequence[Path]) -> dict[str, PatientKey]:
    """The keys of patients' ids that lie in some workspaces, by their fingerprints.

    Raises:
        DataError: a file of them was damaged.
    """
    files = dict.fromkeys(Workspace(folder).patients_key for folder in workspaces)
    return {key.fingerprint: key for file in files for key in read_keys(file)}


def keep_ancestors_keys(workspace: Workspace, ancestry: Ancestry) -> PatientKey:
    """A workspace's own key, made if need be; those of a run's ancestors elsewhere are put beside
    it, so that its patients can be told from theirs when they are gone.

    Raises:
        DataError: a file of keys was damaged.
        OSError: it cannot be written.
    """
    own = own_key(workspace.patients_key)
    needed = {group.key for group in ancestry.groups}
    there = known_keys(ancestry.workspaces)
    keep_keys(workspace.patients_key, [key for name, key in there.items() if name in needed])
    return own


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
) -> SeenByRun:
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
    homes = (run.path.parent.parent,)
    look = _Look(rows, workspace, homes, workers, reporter)
    mine = Group(
        registers=None if own else card.registers,
        key=card.patients_key,
        train=card.train_patients,
        valid=card.valid_patients,
    )
    older = [Group(**dict(one)) for one in card.inherited]
    itself = look.patients([mine], chosen=chosen)
    before = look.patients(older, chosen=chosen) - itself
    unchecked = look.unchecked(split, run.name, pictures=card.has_pictures)
    if card.packed and not own and look.may_be_of(card.cohort.collections):
        unchecked += (
            f"{run.name} was a pack, which does not say whom it has seen: where they are among the "
            f"patients of {split}, the scores are too good",
        )
    unchecked += began_from_packs(run.name, card.ancestors)
    if not card.has_pictures:
        return SeenByRun(
            itself=look.seen(itself, None), before=look.seen(before, None), unchecked=unchecked
        )
    found = read_seen(run)
    again = (found.how & ways) > 0
    earlier = ((found.how & (ways * BEFORE)) > 0) & ~again
    return SeenByRun(
        itself=look.seen(itself, found.pictures.choose(again)),
        before=look.seen(before, found.pictures.choose(earlier)),
        unchecked=unchecked,
    )


def rows_seen_before(
    ancestry: Ancestry,
    rows: pd.DataFrame,
    workspace: Workspace,
    *,
    workers: int | None,
    reporter: Reporter,
) -> SeenRows:
    """What of valid's rows the weights were trained on that a training begins with."""
    look = _Look(rows, workspace, ancestry.workspaces, workers, reporter)
    patients = look.patients(ancestry.groups, chosen=False)
    for text in look.unchecked(VALID_SPLIT, ancestry.names, pictures=True):
        reporter.warn(text)
    return look.seen(patients, ancestry.pictures.seen(TRAIN))


class _Look:
    """A look at the rows of a workspace."""

    def __init__(
        self,
        rows: pd.DataFrame,
        workspace: Workspace,
        homes: Sequence[Path],
        workers: int | None,
        reporter: Reporter,
    ) -> None:
        self._rows, self._workspace = rows, workspace
        self._keys = known_keys([workspace.folder, *homes])
        self._hashes: dict[str, dict[str, str]] = {}
        self._without_key = False
        self._workers, self._reporter = workers, reporter
        self._registers = workspace.read_data_info().origin.registers
        self._made: tuple[Pictures, NDArray[np.intp]] | None = None

    def patients(self, groups: Sequence[Group], *, chosen: bool) -> frozenset[str]:
        """The ids of the rows that are of the same people as those of the groups."""
        found: set[str] = set()
        for group in groups:
            known = group.known_in(self._registers, chosen=chosen)
            if known and group.key is not None and group.key not in self._keys:
                self._without_key = True
            elif known:
                ids = self._ids(group.key)
                found.update(ids[one] for one in known & ids.keys())
        return frozenset(found)

    def may_be_of(self, collections: Sequence[str]) -> bool:
        """Whether the rows may be of published collections; of none, they may be of anybody's."""
        return not collections or not set(collections).isdisjoint(self._registers)

    def _ids(self, key: str | None) -> dict[str, str]:
        """The rows' patients by what stands for them in files of a key; None: themselves."""
        everybody = [str(patient) for patient in self._rows["patient_id"].unique()]
        if key is None:
            return dict(zip(everybody, everybody, strict=True))
        if key not in self._hashes:
            hashes = self._keys[key].hashed(everybody)
            self._hashes[key] = dict(zip(hashes, everybody, strict=True))
        return self._hashes[key]

    def unchecked(self, split: str, whose: str, *, pictures: bool) -> tuple[str, ...]:
        """That some of the groups could not be looked for, and what to do; nothing if all were."""
        if not self._without_key:
            return ()
        place = self._workspace.patients_key
        still = " (their pictures are compared)" if pictures else ""
        return (
            f"whether patients of {split} are among those that {whose} has seen cannot be checked "
            f"by their ids{still}: they are hashed with a key that is not here. Add the "
            f"{place.name} of the workspace of that training to this one: cat "
            f"WORKSPACE/{place.name} >> {place}",
        )

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
