"""What a run has seen, itself or through the weights that it began from, over any generations."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from cxrtool.core.errors import RunError
from cxrtool.core.files import read_bytes, sha256, whole_file
from cxrtool.core.json_files import read_json
from cxrtool.core.patient_keys import PatientKey
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder, find_run
from cxrtool.core.schemas import AncestorFacts, RunPatients, read_as
from cxrtool.core.start_cards import find_start
from cxrtool.data.pictures import EXACT, LOOKS, Pictures, joined_pictures, keys_of
from cxrtool.data.starts import file_of, is_published

TRAIN, VALID, BEFORE = 1, 2, 4
"""How a run has seen a picture: it was trained or chosen on it; the same times BEFORE, what it
began from was. They add up."""
MOST_PICTURES = 2**31
"""Bytes of a run's fingerprints that are read: of some forty million images."""
_RUN = re.compile(r"run (.+)")
"""How a run of version 0.1 names the run that it began from."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Patients by ids or hashes of ids, and in which data sets these ids are theirs."""

    registers: tuple[str, ...] | None
    """None: in any, as far as is known."""
    key: str | None = None
    """The fingerprint of what their ids are hashed with; None: the ids are plain."""
    train: frozenset[str]
    valid: frozenset[str] = frozenset()
    """Those that an epoch was chosen on."""

    def known_in(self, registers: Iterable[str], *, chosen: bool) -> frozenset[str]:
        """Those trained or, with `chosen`, chosen on, in a data set of some registers: none where
        the same ids are other people's."""
        if self.registers is not None and set(self.registers).isdisjoint(registers):
            return frozenset()
        return self.train | self.valid if chosen else self.train


@dataclass(frozen=True, kw_only=True)
class SeenPictures:
    """The pictures that a run has seen."""

    pictures: Pictures
    how: NDArray[np.uint8]
    """(n,) sums of TRAIN, VALID and both times BEFORE."""

    def seen(self, how: int) -> Pictures:
        """Those that it has seen in one of some ways."""
        return self.pictures.choose((self.how & how) > 0)


@dataclass(frozen=True, kw_only=True)
class Ancestry:
    """What weights have seen before a training begins with them."""

    ancestors: tuple[AncestorFacts, ...] = ()
    """The nearest first."""
    groups: tuple[Group, ...] = ()
    workspaces: tuple[Path, ...] = ()
    """The folders where the keys of their patients may lie."""
    pictures: SeenPictures = field(default_factory=lambda: _together({}))
    """As those weights have seen them, by TRAIN and VALID."""

    @property
    def names(self) -> str:
        """The ancestors' names."""
        return ", ".join(dict.fromkeys(one.name for one in self.ancestors))


def find_ancestry(weights: str, runs: Path) -> Ancestry:
    """What the weights of `train --weights` have seen, where they are a run's: by name, in the
    run's folder, or a copy of its file elsewhere; of a published start, its name.

    Raises:
        RunError: the run is not whole.
    """
    if is_published(weights):
        start = find_start(weights)
        # Its patients are not published by number, and are known by its name alone.
        known = () if start is None else (AncestorFacts(name=start.name, weights_sha256=None),)
        return Ancestry(ancestors=known)
    file = file_of(weights, runs)
    run = find_run(runs, weights) if file is None else run_of_weights(file, runs)
    return Ancestry() if run is None else _ancestry_of(run, runs, frozenset())


def run_of_weights(path: Path, runs: Path) -> RunFolder | None:
    """The run that a file of weights is of, or a copy of; None: of none that is here."""
    place = path.resolve()
    for folder in (place.parent, place.parent.parent):
        run = RunFolder(folder)
        if run.patients.is_file() or run.cohort.is_file():
            return run
    size, digest = place.stat().st_size, ""
    for run in map(RunFolder, sorted(runs.glob("*/"))):
        for file in (run.weights, *run.checkpoints.glob("*.safetensors")):
            # Only a file of the same length can be the same.
            if file.is_file() and file.stat().st_size == size:
                digest = digest or sha256(place)
                if sha256(file) == digest:
                    return run
    return None


def _ancestry_of(run: RunFolder, runs: Path, younger: frozenset[Path]) -> Ancestry:
    """What a run has seen, as an ancestor of another."""
    card = read_card(run) if run.finished else None
    own = AncestorFacts(
        name=run.name,
        weights_sha256=card.weights_sha256 if card else None,
        packed=card is not None and card.packed,
    )
    if own.packed:
        return Ancestry(ancestors=(own,))
    patients = read_as(run.patients, RunPatients)
    groups = [
        Group(
            registers=patients.registers,
            key=patients.key,
            train=patients.train,
            valid=patients.valid,
        ),
        *(Group(**dict(one)) for one in patients.inherited),
    ]
    seen = [read_seen(run)] if run.pictures.is_file() else []
    ancestors = [own, *patients.ancestors]
    workspaces = [run.path.parent.parent]
    if patients.registers is None:
        # Version 0.1 kept the name of its start and no more.
        older = _older_start(run, runs, younger | {run.path.resolve()})
        ancestors += older.ancestors
        groups += older.groups
        workspaces += older.workspaces
        seen.append(older.pictures)
    return Ancestry(
        ancestors=tuple(dict.fromkeys(ancestors)),
        groups=tuple(groups),
        workspaces=tuple(dict.fromkeys(workspaces)),
        pictures=_together(
            {
                how: joined_pictures([one.seen(how | how * BEFORE) for one in seen])
                for how in (TRAIN, VALID)
            }
        ),
    )


def _older_start(run: RunFolder, runs: Path, younger: frozenset[Path]) -> Ancestry:
    """What a run of version 0.1 began from, as far as it is still there."""
    try:
        start = str(read_json(run.environment).get("weights_from", ""))
        named = _RUN.fullmatch(start)
        path = Path(start)
        if named is not None:
            found: RunFolder | None = find_run(run.path.parent, named[1])
        else:
            found = run_of_weights(path, runs) if path.is_file() else None
        if found is None or found.path.resolve() in younger:
            return Ancestry()
        return _ancestry_of(found, runs, younger)
    except (RunError, OSError):
        return Ancestry()


def patients_facts(
    train: Sequence[str],
    valid: Sequence[str],
    registers: Sequence[str],
    ancestry: Ancestry,
    key: PatientKey,
) -> dict[str, Any]:
    """What patients.json is to hold: no id, but hashes in an order that tells nothing either.

    Args:
        train: the ids of those trained on.
        valid: the ids of those that the epoch is chosen on.
        registers: of the data set.
        ancestry: of the weights that the run begins with.
        key: the workspace's own.
    """
    merged: dict[tuple[tuple[str, ...] | None, str | None], Group] = {}
    for group in (_hashed(one, key) for one in ancestry.groups):
        kind = group.registers, group.key
        known = merged.get(kind, Group(registers=kind[0], key=kind[1], train=frozenset()))
        merged[kind] = replace(
            known, train=known.train | group.train, valid=known.valid | group.valid
        )
    return {
        "key": key.fingerprint,
        "train": sorted(key.hashed(train)),
        "valid": sorted(key.hashed(valid)),
        "registers": list(registers),
        "ancestors": [one.model_dump() for one in ancestry.ancestors],
        "inherited": [
            {
                "registers": None if group.registers is None else list(group.registers),
                "key": group.key,
                "train": sorted(group.train),
                "valid": sorted(group.valid),
            }
            for group in merged.values()
        ],
    }


def _hashed(group: Group, key: PatientKey) -> Group:
    """A group whose ids are hashed, if they are not yet: an older run's are plain."""
    if group.key is not None:
        return group
    train, valid = (frozenset(key.hashed(ids)) for ids in (group.train, group.valid))
    return replace(group, key=key.fingerprint, train=train, valid=valid)


def write_seen(path: Path, own: Mapping[int, Pictures], ancestry: Ancestry) -> None:
    """Write the fingerprints of what a run has seen, each once; its `own` by TRAIN and VALID."""
    before = {how * BEFORE: ancestry.pictures.seen(how) for how in (TRAIN, VALID)}
    seen = _together({**own, **before})
    tensors = {"exact": seen.pictures.exact, "looks": seen.pictures.looks, "how": seen.how}
    with whole_file(path) as temporary:
        save_file(tensors, str(temporary))


def _together(parts: Mapping[int, Pictures]) -> SeenPictures:
    """Pictures by how they were seen, each once."""
    every = joined_pictures(list(parts.values()))
    how = np.repeat(list(parts), [len(part) for part in parts.values()]).astype(np.uint8)
    _, first, place = np.unique(keys_of(every.exact), return_index=True, return_inverse=True)
    added = np.zeros(len(first), np.uint8)
    np.bitwise_or.at(added, place, how)
    return SeenPictures(pictures=every.choose(first), how=added)


def read_seen(run: RunFolder) -> SeenPictures:
    """The pictures that a run has seen.

    Raises:
        RunError: the file cannot be read, or is not as it was written.
    """
    try:
        tensors = load(read_bytes(run.pictures, MOST_PICTURES))
        exact, looks, how = (tensors[name] for name in ("exact", "looks", "how"))
        shapes = ((len(how), EXACT), (len(how), LOOKS), (len(how),))
        good = all(one.dtype == np.uint8 for one in (exact, looks, how))
        if not good or (exact.shape, looks.shape, how.shape) != shapes:
            raise ValueError("its tensors are of another shape")
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise RunError(
            f"{run.pictures} cannot be read ({error}): restore it from a copy, or train again"
        ) from None
    return SeenPictures(pictures=Pictures(exact, looks), how=how)
