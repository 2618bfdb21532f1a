"""`train --resume`: a run's own settings, and what may differ from them."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import DataError, RunError, UsageError, first_few
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, shortened
from cxrtool.core.runs import RunFolder, find_resumable
from cxrtool.core.schemas import (
    AGAIN,
    Count,
    ImageSizes,
    OpenRecord,
    Seed,
    Sha256,
    Text,
    Word,
    checked,
    model_of,
)
from cxrtool.core.workspace import Workspace
from cxrtool.core.yaml_files import read_yaml
from cxrtool.data.starts import is_recorded
from cxrtool.training.checkpoints import BEST_LOGITS, Checkpoint
from cxrtool.training.data import TrainingData

HERE_ONLY = (
    "name",
    "force",
    "device",
    "workers",
    "threads",
    "wandb",
    "resume",
    "checkpoint_every",
    "dry_run",
    "lr_find",
)
"""Options that say where or how a training runs, not what it is: not in a run's config.yaml."""
LONGER = ("epochs", "patience", "keep_checkpoint")
"""What a run that is resumed may have more of."""


class RunEnvironment(OpenRecord):
    """environment.json: machine and data of the training."""

    INSTEAD: ClassVar[str] = "restore it from a copy, or begin a new run"
    began: Word
    identity: Sha256
    weights_from: Text
    squish: ImageSizes
    manifest_sha256: Sha256
    split_sha256: Sha256
    epochs: Count
    resumed: list[dict[str, Any]]
    python: Word
    system: Word
    libraries: dict[str, str]
    git_commit: Text | None
    device: Word
    processes: Count
    threads: Count
    workers: Count


@dataclass(frozen=True)
class Resumed:
    """A run to go on with, and the settings that it goes on by."""

    run: RunFolder
    config: TrainConfig
    seed: int
    environment: dict[str, Any] | None
    """What the run wrote of the machine and the data when it began; None: it never did."""
    settings: dict[str, Any]
    """What its config.yaml says."""


def read_resumed(
    config: TrainConfig, workspace: Workspace, seed: int, given: Collection[str]
) -> Resumed:
    """The run that `--resume` names, with its settings.

    Args:
        config: this call's settings, of which only what may differ is taken.
        workspace: where the run is.
        seed: this call's.
        given: the options that were given, by the names of their fields (and `seed`).

    Raises:
        RunError: no such run, or nothing to go on from.
        UsageError: an option that contradicts the run.
        DataError: manifest or split are not those that the run began with.
    """
    run = find_resumable(workspace.runs, str(config.resume))
    settings, own, own_seed = _own_settings(run)
    began_from = is_recorded(own.weights, config.weights, workspace.runs)
    _refuse_contradictions(run, config, own, set(given) - ({"weights"} if began_from else set()))
    if "seed" in given and seed != own_seed:
        raise _contradiction(run, "seed", seed, own_seed)
    # Of what was killed before its first checkpoint, the settings count and nothing else.
    environment = None if run.never_began else _environment(run)
    if environment is None and began_from:
        own = replace(own, weights=config.weights)  # which says where it is
    here = {name: getattr(config, name) for name in HERE_ONLY}
    longer = {name: getattr(config, name) for name in LONGER if name in given}
    resumed = Resumed(run, replace(own, **here, **longer), own_seed, environment, settings)
    if environment is None:
        return resumed
    for key, path in (("manifest_sha256", workspace.manifest), ("split_sha256", workspace.split)):
        if environment.get(key) != sha256(path):
            raise DataError(
                f"{path} is not the one that run {run.name} began with: restore it to resume, or "
                f"begin a new run from its weights (--weights {run.name})"
            )
    return resumed


def _environment(run: RunFolder) -> dict[str, Any]:
    values = read_json(run.environment, RunEnvironment.INSTEAD)
    checked(values, RunEnvironment, run.environment)
    return values


def _own_settings(run: RunFolder) -> tuple[dict[str, Any], TrainConfig, int]:
    """What a run's config.yaml says: as it stands there, as settings, and its seed.

    Raises:
        RunError: it cannot be read, or a value is not of the kind or in the range that it should.
    """
    try:
        values = read_yaml(run.config)
    except DataError as error:
        raise RunError(f"{error}: restore it from a copy") from None
    kinds = checked({**values, "seed": values.get("seed")}, _SavedSettings, run.config)
    return values, TrainConfig(**kinds.model_dump(exclude={"seed"})), kinds.seed


class _SavedSettings(model_of(TrainConfig)):  # type: ignore[misc]
    INSTEAD: ClassVar[str] = "restore it from a copy"
    seed: Seed


def check_checkpoint(checkpoint: Checkpoint, resumed: Resumed, data: TrainingData) -> None:
    """Refuse to go on from a checkpoint that is not this run's, or from other settings than its.

    Raises:
        RunError: it is another run's; config.yaml was edited since; the best weights so far are
            others; or what it keeps of them is of other images.
    """
    run, facts = resumed.run, checkpoint.facts
    own = (resumed.environment or {}).get("identity")
    if facts.get("run") not in (None, own):
        raise RunError(f"{run.checkpoint} is of another run than {run.environment.name}: {AGAIN}")
    free = {*LONGER, "recipe"}  # a recipe is a name for values that all stand there
    edited = [
        f"{key} {shortened(resumed.settings.get(key))}, and was {shortened(value)}"
        for key, value in facts.get("settings", {}).items()
        if key not in free and resumed.settings.get(key) != value
    ]
    if edited:
        raise RunError(
            f"{run.config} was edited after the training that {run.checkpoint.name} resumes "
            f"({first_few(edited)}): restore it from a copy, or begin a new run"
        )
    best, step = facts.get("best_sha256"), facts["control"]["best_step"]
    if best is not None and step is not None:
        kept = run.best(step) if run.best(step).is_file() else run.weights
        if not kept.is_file() or sha256(kept) != best:
            raise RunError(
                f"{kept} is not the file of best weights that {run.checkpoint.name} names: {AGAIN}"
            )
    logits, shape = checkpoint.tensors.get(BEST_LOGITS), data.targets(valid=True).shape
    if logits is not None and tuple(logits.shape) != shape:
        raise RunError(
            f"{run.checkpoint}: {BEST_LOGITS} has shape {tuple(logits.shape)}, and the valid part "
            f"{shape}: {AGAIN}"
        )


def _refuse_contradictions(
    run: RunFolder, config: TrainConfig, own: TrainConfig, given: Collection[str]
) -> None:
    for name in sorted(given):
        if name in HERE_ONLY or not hasattr(own, name):
            if name in ("name", "force", "dry_run", "lr_find"):
                raise UsageError(f"--resume continues run {run.name}: leave --{_flag(name)} out")
            continue
        asked, had = getattr(config, name), getattr(own, name)
        if name in LONGER:
            if asked < had and name == "epochs":
                raise UsageError(
                    f"--resume {run.name}: it was started with {had} epochs, and cannot have fewer"
                )
        elif asked != had and not (name == "precision" and asked == "auto"):
            raise _contradiction(run, name, asked, had)


def _contradiction(run: RunFolder, name: str, asked: object, had: object) -> UsageError:
    was = "unset" if had is None else had
    return UsageError(
        f"--{_flag(name)} {asked} contradicts run {run.name}, which has {was}: settings come from "
        f"the run, so leave it out, or begin a new run (--weights {run.name} starts from this one)"
    )


def _flag(name: str) -> str:
    return name.replace("_", "-")


def refuse_other_pixels(resumed: Resumed, data: TrainingData) -> None:
    """The network must go on seeing its images made smaller in the same way.

    Raises:
        DataError: the cache that the run read from is gone, or of another size.
    """
    began = resumed.environment["squish"] if resumed.environment else None
    if began is not None and list(data.image_sizes(resumed.config.image_size)) != began:
        raise DataError(
            f"run {resumed.run.name} began with images made smaller to {began} px, and now they "
            f"would be {list(data.image_sizes(resumed.config.image_size))}: make its cache again "
            f"(`cxrtool prepare --cache-size {began[0]}`)"
        )
