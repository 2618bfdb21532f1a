"""What a search begins with: its study, its space, and what its trials have in common."""

import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage
from pydantic import Field

from cxrtool.core.config import TrainConfig, TuneConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import (
    DataError,
    RunError,
    UsageError,
    counted,
    did_you_mean,
    first_few,
    near_names,
)
from cxrtool.core.files import sha256
from cxrtool.core.locks import is_locked, locked
from cxrtool.core.names import name_of_training
from cxrtool.core.schemas import MOST, Record, Seed, Sha256, Word, checked, model_of
from cxrtool.core.start_cards import name_of_start
from cxrtool.core.unicode_forms import normal, on_disk
from cxrtool.core.workspace import Workspace, is_folder_name
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.search.space import (
    Space,
    applied,
    as_yaml,
    default_space,
    holds,
    parse_space,
    read_space,
    size,
    span,
    values_of,
)
from cxrtool.search.study import Study, StudyFolder, create_study, facts_of, load_study
from cxrtool.search.study_storage import MEETINGS
from cxrtool.training.choices import refuse_frozen, resolve
from cxrtool.training.recorder import settings_of
from cxrtool.training.resume import HERE_ONLY

BEFORE_PRUNING = 3
"""Trials that are trained to their end before one is stopped for being below their median."""


class SearchFacts(Record):
    """What a study's database keeps of its search."""

    INSTEAD: ClassVar[str] = "restore its database from a copy, or begin another study"
    backend: Word
    space: dict[Word, Any]
    """As a file of `tune --space`, which is checked as such."""
    settings: dict[Word, Any]
    """Of the trials, and their seed."""
    seed: Seed
    manifest_sha256: Sha256
    split_sha256: Sha256
    trials: Annotated[int, Field(ge=1, le=MOST)] | None = None
    sweep: Word | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search that is ready to begin."""

    folder: StudyFolder
    workspace: Workspace
    space: Space
    training: TrainConfig
    """What all trials have in common."""
    seed: int
    backend: str
    fingerprints: Mapping[str, str]
    sweep: str | None = None
    selected_on: str = ""
    """Which images the scores are of, in words; known once the study is."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the study keeps, so that only the same search resumes it."""
        return {
            "format": 1,
            "backend": self.backend,
            "space": as_yaml(self.space),
            "settings": settings_of(self.training, self.seed),
            "seed": self.seed,
            **self.fingerprints,
        }

    @property
    def description(self) -> str:
        """What is searched, in words."""
        return ", ".join(self.space)

    @property
    def most(self) -> int:
        """How many different trials there can be."""
        return size(self.space) or 10**9

    def exhausted(self, points: int) -> bool:
        """Whether every combination was tried."""
        return points >= self.most


def plan_search(
    config: TuneConfig,
    workspace: Workspace,
    *,
    seed: int,
) -> Search:
    """The search that the options ask for; `begin_study` may find that the study has another.

    Raises:
        UsageError: options or a space that cannot be.
        DataError: no manifest or split, or a study by this name.
        RunError: no study to resume.
    """
    _refuse_idle(config)
    workspace.need(workspace.manifest, "prepare")
    workspace.need(workspace.split, "split")
    training = config.training()
    space = default_space(training)
    if config.space is not None:
        space = read_space(config.space, training)
    check_space(space, training)
    return Search(
        folder=_folder(config, workspace),
        workspace=workspace,
        space=space,
        training=training,
        seed=seed,
        backend=config.backend,
        fingerprints={
            "manifest_sha256": sha256(workspace.manifest),
            "split_sha256": sha256(workspace.split),
        },
        sweep=config.sweep,
    )


def selection(search: Search) -> str:
    """Which images the trials are chosen by, in words."""
    workspace, training = search.workspace, search.training
    manifest = read_manifest(workspace.manifest)
    valid = manifest[read_split(workspace.split, manifest, training.fold) == "valid"]
    images = min(len(valid), training.limit or len(valid))
    whom = counted(valid["patient_id"].nunique(), "patient")
    fold = "" if training.fold is None else f", fold {training.fold}"
    limited = "" if images == len(valid) else f", {images:,} of them drawn"
    return f"valid ({counted(len(valid), 'image')} of {whom}{limited}{fold})"


def _refuse_idle(config: TuneConfig) -> None:
    if config.backend == "wandb":
        if config.prune or config.storage:
            name = "--prune" if config.prune else "--storage"
            raise UsageError(f"{name} goes with --backend optuna: a sweep has its own way")
        if config.wandb != "off":
            raise UsageError(f"--wandb {config.wandb}: a sweep logs its trials itself")
    elif config.sweep is not None:
        raise UsageError("--sweep goes with --backend wandb")
    if config.resume is not None and (config.name is not None or config.force):
        raise UsageError(
            f"--resume {config.resume} resumes that study: leave out --name and --force"
        )
    if config.storage is not None and config.force:
        raise UsageError(
            "--force: a study in a shared database is others' too; pass another --name"
        )


def check_space(space: Space, training: TrainConfig) -> None:
    """Raise UsageError for a value of the space that `train` would refuse."""
    for name, dimension in space.items():
        for value in span(dimension):
            try:
                tried = applied(training, {name: value})
                refuse_frozen(tried, {name})
                resolve(tried)
            except UsageError as error:
                raise UsageError(f"the space: {name} {value}: {error}") from None


def _folder(config: TuneConfig, workspace: Workspace) -> StudyFolder:
    """The study's folder; an older study makes room where that is asked for."""
    found = {path.parent.name for path in workspace.studies.glob("[!.]*/space.yaml")}
    found |= {path.parent.name for path in workspace.studies.glob("[!.]*/study.db")}
    there = sorted(found)
    if config.resume is not None:
        folder = StudyFolder(on_disk(workspace.studies / config.resume))
        put_back(folder)
        if config.storage is None and folder.never_began:
            raise RunError(
                f"study {config.resume} was killed before it began: give the command that began "
                "it again, which takes its name"
            )
        if config.storage is None and not folder.database.exists():
            near = did_you_mean(near_names(config.resume, there))
            told = f"there are: {first_few(there, 8)}" if there else "there is none"
            raise RunError(f"no study {config.resume!r} in {workspace.studies}{near}; {told}")
        return folder
    default = name_of_training(name_of_start(config.arch, config.weights), config.uncertainty)
    name = config.name or default
    if not is_folder_name(name):
        raise UsageError(f"--name {name!r}: give a plain folder name")
    folder = StudyFolder(on_disk(workspace.studies / normal(name)))
    put_back(folder)
    if config.name is None and config.storage is None and not config.force:
        count = 1
        while _taken(folder):
            count += 1
            folder = StudyFolder(workspace.studies / f"{default}-{count}")
    elif _taken(folder) and config.storage is None:
        _make_room(folder, force=config.force)
    return folder


def _taken(folder: StudyFolder) -> bool:
    """Whether a folder holds anything, or a search is about to begin in it."""
    return folder.path.exists() and not (folder.never_began and not is_locked(folder.path))


def _make_room(folder: StudyFolder, *, force: bool) -> None:
    """Put a study aside that is to be replaced, until a trial of the new one has ended."""
    name, studies = folder.name, folder.path.parent
    if not force:
        raise DataError(
            f"study {name} exists in {studies}: --resume {name} resumes it, "
            "--force replaces it, or pass another --name"
        )
    ours = folder.space.is_file() or folder.database.exists() or folder.never_began
    if any(folder.path.iterdir()) and not ours:
        raise DataError(f"{folder.path} is not a study: it is left alone; pass another --name")
    with locked(folder.path, "search", "name another study"):
        pass
    folder.hide()


def put_back(folder: StudyFolder) -> None:
    """Give a study its name again, where what was to replace it never began."""
    hidden = folder.put_aside
    if not hidden or _taken(folder):
        return
    if folder.path.exists():
        shutil.rmtree(folder.path)
    hidden[-1].rename(folder.path)


def forget_replaced(folder: StudyFolder) -> None:
    """Remove the studies that this one has replaced."""
    for hidden in folder.put_aside:
        shutil.rmtree(hidden, ignore_errors=True)


def start_study(
    storage: RDBStorage, search: Search, config: TuneConfig, reporter: Reporter
) -> None:
    """Begin a study in a database.

    Raises:
        optuna.exceptions.DuplicatedStudyError: there is one by this name.
    """
    values = values_of(search.training, search.space) if search.backend == "optuna" else None
    facts = {**search.facts, "trials": config.trials}
    create_study(storage, search.folder.name, search.space, facts, values, pruner=_pruner(config))
    if values is None:
        return
    told = ", ".join(f"{key} {value}" for key, value in values.items())
    if all(holds(dimension, values[name]) for name, dimension in search.space.items()):
        reporter.note(f"the first trial has the settings held: {told}")
    else:
        reporter.note(f"the settings held are not in the space ({told}): no trial begins from them")


def _pruner(config: TuneConfig) -> BasePruner:
    return MedianPruner(BEFORE_PRUNING, 0) if config.prune else NopPruner()


def begin_study(
    storage: RDBStorage,
    search: Search,
    config: TuneConfig,
    given: Collection[str],
    reporter: Reporter,
) -> tuple[Study, Search]:
    """A new study, or the one to resume, and the search as it is there.

    Raises:
        RunError: there is no such study.
        UsageError: options contradict the study.
        DataError: manifest or split are not those of the study.
    """
    name = search.folder.name
    known = facts_of(storage, name)
    if known is None and config.storage is None:
        raise RunError(
            f"{search.folder.database} holds no study {name!r}: restore it from a copy, or begin "
            f"the search anew (--name {name} --force)"
        )
    if known is None and config.resume is not None:
        raise RunError(f"no study {name!r} in the database: begin it without --resume")
    if known is None:
        # Another process may be a moment faster.
        with suppress(optuna.exceptions.DuplicatedStudyError):
            start_study(storage, search, config, reporter)
        known = facts_of(storage, name)
    for wait in MEETINGS:
        if known:
            break
        time.sleep(wait)
        known = facts_of(storage, name)
    found = _of_study(known or {}, search, config, given)
    study = load_study(storage, name, found.space, found.seed, pruner=_pruner(config))
    return study, found


def trials_asked(study: Study, config: TuneConfig, given: Collection[str]) -> int:
    """How many trials a study shall have in all; it keeps the number for those who resume it."""
    kept = study.facts.get("trials")
    if config.resume is not None and "trials" not in given:
        return config.trials if kept is None else int(kept)
    if kept is None or config.resume is not None:
        study.keep(trials=config.trials)
    return config.trials


def _of_study(
    known: Mapping[str, Any],
    search: Search,
    config: TuneConfig,
    given: Collection[str],
) -> Search:
    """The search as a study has it; what was asked for must not contradict it."""
    name = search.folder.name
    if known.get("format") != 1:
        raise RunError(
            f"study {name} was not begun by cxrtool, or was killed as it began: pass another --name"
        )
    facts = checked(dict(known), SearchFacts, f"study {name}")
    for key, value in search.fingerprints.items():
        if known[key] != value:
            file = key.partition("_")[0]
            raise DataError(
                f"{file}.csv is not the one that study {name} was begun with, so its scores could "
                "not be compared: restore it, or begin another study"
            )
    if facts.backend != search.backend:
        raise UsageError(f"study {name} has --backend {facts.backend}")
    settings, seed = dict(facts.settings), facts.seed
    asked = {**settings_of(search.training, search.seed)}
    names = [key for key in settings if config.resume is None or key in given]
    differ = [key for key in names if asked.get(key) != settings[key]]
    joins = config.resume is None or "space" in given
    if joins and as_yaml(search.space) != facts.space:
        differ.append("space")
    if differ:
        options = [f"--{key.replace('_', '-')}" for key in differ]
        raise UsageError(
            f"{first_few(options)} contradicts study "
            f"{name}: its settings come from itself, so leave that out, or begin another study"
        )
    settings.pop("seed", None)
    checked(settings, model_of(TrainConfig), f"study {name}: settings")
    here = {key: getattr(search.training, key) for key in HERE_ONLY}
    training = TrainConfig(**{**settings, **here})
    space = parse_space(facts.space, training, where=f"the space of study {name}")
    sweep = search.sweep or facts.sweep
    return replace(search, space=space, training=training, seed=seed, sweep=sweep)
