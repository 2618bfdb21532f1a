"""A run's folder: every path in it, what it says of its model, and whether it is whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtool.core.errors import DataError, RunError, counted, did_you_mean, first_few, near_names
from cxrtool.core.files import read_json, seal_of, sha256
from cxrtool.core.shares import MENDING, shifted_labels, told_of_shifted
from cxrtool.core.trials import best_trial, trials_among
from cxrtool.core.unicode_forms import on_disk
from cxrtool.core.workspace import ELSEWHERE, Workspace, workspace_option

if TYPE_CHECKING:
    from cxrtool.core.schemas import (
        AncestorFacts,
        InheritedFacts,
        RunLabels,
        RunModel,
        RunThresholds,
    )

EDITABLE = "thresholds"
"""The one key of thresholds.json that may be edited by hand."""
LEAST_PATIENTS = 10
"""With fewer of a class on valid no threshold is chosen (`intervals.LEAST_PATIENTS`)."""
LATEST = 10**11
"""Seconds since 1970: no run finishes after the year 5138, where dates have their end, too."""


@dataclass(frozen=True)
class RunFolder:
    """The paths in `runs/<name>/`. `model.json` is written last: with it the run is finished."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> Path:
        """All options of the training, as a file for `train --config`."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, device, and fingerprints of manifest and split."""
        return self.path / "environment.json"

    @property
    def labels(self) -> Path:
        """The labels in the order of the logits, and the policies."""
        return self.path / "labels.json"

    @property
    def history(self) -> Path:
        """A row an epoch."""
        return self.path / "history.csv"

    @property
    def weights(self) -> Path:
        """The best epoch's weights."""
        return self.path / "model.safetensors"

    @property
    def model(self) -> Path:
        """What the weights are weights of, and the other files' SHA-256."""
        return self.path / "model.json"

    @property
    def thresholds(self) -> Path:
        """Each label's operating point."""
        return self.path / "thresholds.json"

    @property
    def patients(self) -> Path:
        """Whom it was trained and chosen on, so that nobody is tested on them by mistake."""
        return self.path / "patients.json"

    @property
    def pictures(self) -> Path:
        """The fingerprints of the images that it, or what it began from, has seen."""
        return self.path / "pictures.safetensors"

    def predictions(self, split: str) -> Path:
        """The probabilities on a split."""
        return self.path / "predictions" / f"{split}.csv"

    def predictions_facts(self, split: str) -> Path:
        """Of which weights the probabilities on a split are."""
        return self.path / "predictions" / f"{split}.json"

    def metrics(self, split: str) -> Path:
        """The scores on a split."""
        return self.path / "metrics" / f"{split}.json"

    def score_figures(self, split: str) -> Path:
        """The folder of pictures of the scores on a split."""
        return self.path / "figures" / split

    def report(self, split: str) -> Path:
        """The page about the scores on a split: of test, the run's own."""
        return self.path / ("report.html" if split == "test" else f"report-{split}.html")

    @property
    def curves(self) -> Path:
        """Losses, scores and learning rate over the training."""
        return self.path / "figures" / "curves.png"

    @property
    def checkpoints(self) -> Path:
        """What `train --resume` goes on from."""
        return self.path / "checkpoint"

    @property
    def checkpoint(self) -> Path:
        """The last state of the training."""
        return self.checkpoints / "last.safetensors"

    def best(self, step: int) -> Path:
        """The weights that were the best so far, after so many steps, while the run goes on."""
        return self.checkpoints / f"best-{step}.safetensors"

    @property
    def graphs(self) -> Path:
        """The network's graphs for engines other than torch."""
        return self.path / "graphs"

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.model.is_file()

    @property
    def never_began(self) -> bool:
        """Whether nothing is in it but settings and what it was to see.

        Training was killed before its first checkpoint then. `train --resume` begins it from the
        settings, and a new run may take its name.
        """
        folders = (self.path, self.checkpoints)
        inside = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        settings = (self.config, self.environment, self.checkpoints, self.patients, self.pictures)
        return self.path.is_dir() and all(
            path in settings or path.name.startswith(".") for path in inside
        )


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What a finished run says of itself."""

    arch: str
    drop_rate: float
    image_size: int
    image_sizes: tuple[int, ...]
    """The squares that an image is squished to in turn; the last is the network's input."""
    fold: int | None
    """The fold that was its valid part, if it was trained on folds."""
    pixel_mean: float
    pixel_std: float
    manifest_sha256: str
    split_sha256: str
    weights_sha256: str
    labels: tuple[str, ...]
    uncertainty: str
    blank: str
    thresholds: dict[str, float | None]
    """Each label's, as `predict` uses them."""
    operating_point: str
    """The rule that they were chosen by."""
    operating_points: dict[str, dict[str, float | None]]
    """The thresholds of all rules that were asked for so far."""
    calibration: dict[str, Any] | None
    """What `predict` makes of the network's probabilities, as `evaluate --keep` stored it."""
    train_patients: frozenset[str]
    valid_patients: frozenset[str]
    registers: tuple[str, ...] | None = None
    """In which data sets these ids are the same people; None: in all, as far as is known."""
    ancestors: tuple["AncestorFacts", ...] = ()
    """The runs that it began from, the nearest first, over all generations."""
    inherited: tuple["InheritedFacts", ...] = ()
    """Their patients."""
    has_pictures: bool = False
    """Whether it keeps the fingerprints of its images; those of version 0.1 do not."""
    without: dict[str, str] = field(default_factory=dict)
    """Why labels have no threshold; of version 0.1, why one that they have says little."""
    edited: tuple[str, ...] = ()
    """The labels whose threshold was edited by hand."""
    shifted: tuple[str, ...] | None = None
    """The labels that weighted sampling drew clearly more or less often than the data have them;
    None: not known, of a run of version 0.1."""
    sealed: bool = True
    """Whether model.json has a fingerprint of its own; those of version 0.1 have none."""


def read_card(run: RunFolder) -> RunCard:
    """Read a finished run's JSON files and check all of it against its fingerprints.

    Raises:
        RunError: the run is not finished, a file is missing, altered or of another version.
    """
    from cxrtool.core.schemas import RunLabels, RunPatients, read_as

    if not run.finished:
        raise RunError(
            f"{run.path} is not a finished run ({run.model.name} is missing): "
            "train it to its end, or name another run"
        )
    _refuse_missing(run, run.labels, run.thresholds, run.patients, run.weights)
    model = _read_model(run)
    labels, patients = read_as(run.labels, RunLabels), read_as(run.patients, RunPatients)
    thresholds = _read_thresholds(run, model, labels)
    kept = [run.pictures] if run.pictures.name in model.sha256 else []
    _refuse_missing(run, *kept)
    _refuse_altered(run, model, run.weights, run.labels, run.patients, *kept)
    return RunCard(
        arch=model.arch,
        drop_rate=model.drop_rate,
        image_size=model.image_size,
        image_sizes=model.squish,
        fold=model.fold,
        pixel_mean=model.pixel_mean,
        pixel_std=model.pixel_std,
        manifest_sha256=model.manifest_sha256,
        split_sha256=model.split_sha256,
        weights_sha256=model.sha256[run.weights.name],
        labels=labels.labels,
        uncertainty=labels.uncertainty,
        blank=labels.blank,
        thresholds={label: thresholds.thresholds[label] for label in labels.labels},
        without=_estimated(model, labels) if thresholds.without is None else thresholds.without,
        edited=_edited(thresholds, labels.labels),
        shifted=_shifted(labels),
        operating_point=thresholds.operating_point,
        operating_points=thresholds.operating_points,
        calibration=thresholds.calibration,
        train_patients=patients.train,
        valid_patients=patients.valid,
        registers=patients.registers,
        ancestors=patients.ancestors,
        inherited=patients.inherited,
        has_pictures=bool(kept),
        sealed=model.sealed is not None,
    )


def _refuse_missing(run: RunFolder, *needed: Path) -> None:
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        raise RunError(
            f"{run.path} is incomplete ({first_few(missing)} missing): "
            "restore the folder from a copy, or train again"
        )


def _refuse_altered(run: RunFolder, model: "RunModel", *paths: Path) -> None:
    for path in paths:
        if sha256(path) != model.sha256[path.name]:
            raise RunError(
                f"{path} is not the file that training wrote (its SHA-256 differs from the one "
                f"in {run.model.name}): restore it from a copy, or train again"
            )


def _read_model(run: RunFolder) -> "RunModel":
    from cxrtool.core.schemas import AGAIN, RunModel, checked

    values = read_json(run.model, AGAIN)
    model = checked(values, RunModel, run.model)
    # Runs of version 0.1 have neither.
    if (model.sealed or model.identity) and model.sealed != seal_of(values):
        raise RunError(f"{run.model} was edited since training wrote it (`sealed`): {AGAIN}")
    return model


def _read_thresholds(run: RunFolder, model: "RunModel", labels: "RunLabels") -> "RunThresholds":
    """A run's thresholds.json; all of it is as cxrtool wrote it, but for thresholds edited by hand.

    Raises:
        RunError: it is not, or it is of another run.
    """
    from cxrtool.core.schemas import AGAIN, RunThresholds, checked

    values = read_json(run.thresholds, AGAIN)
    found = checked(values, RunThresholds, run.thresholds)
    lacking = [label for label in labels.labels if label not in found.thresholds]
    strange = [label for label in found.thresholds if label not in labels.labels]
    if lacking or strange:
        raise RunError(
            f"{run.thresholds}: thresholds lacks {first_few(lacking) or 'none'} of the labels and "
            f"has {first_few(strange) or 'none'} besides: {AGAIN}"
        )
    if found.sealed is None:
        if model.sealed is not None:
            raise RunError(f"{run.thresholds}: `sealed` is missing: {AGAIN}")
        return found
    if found.sealed != seal_of(values, [EDITABLE]):
        raise RunError(
            f"{run.thresholds} was edited since cxrtool wrote it (`sealed`), in more than its "
            f"`{EDITABLE}`: {AGAIN}"
        )
    if found.weights_sha256 != model.sha256[run.weights.name]:
        raise RunError(
            f"{run.thresholds} is of another run: its weights_sha256 is not that of "
            f"{run.weights.name}: {AGAIN}"
        )
    return found


def sealed_thresholds(values: Mapping[str, Any], weights_sha256: str) -> dict[str, Any]:
    """What thresholds.json is to hold, bound to the weights and sealed but for hand's edits."""
    bound = {**values, "weights_sha256": weights_sha256}
    return {**bound, "sealed": seal_of(bound, [EDITABLE])}


def _estimated(model: "RunModel", labels: "RunLabels") -> dict[str, str]:
    """Of a run of version 0.1, the labels that had too few images on valid, as far as train tells.

    It chose thresholds whatever valid held, and kept no count of it. The parts are balanced, so
    that valid holds about the same share of positives as train.
    """
    found: dict[str, str] = {}
    images = (model.images or {}).get("valid", 0)
    for label, counts in (labels.train or {}).items():
        for number, of_class in (
            (counts.positives, "positive"),
            (counts.n - counts.positives, "negative"),
        ):
            expected = round(images * number / counts.n) if counts.n else 0
            if expected < LEAST_PATIENTS:
                found.setdefault(label, f"valid had about {counted(expected, of_class)}")
    return found


def _edited(thresholds: "RunThresholds", labels: Sequence[str]) -> tuple[str, ...]:
    """The labels whose threshold is another than the operating point's that they name."""
    chosen = thresholds.operating_points.get(thresholds.operating_point, thresholds.thresholds)
    return tuple(one for one in labels if chosen.get(one) != thresholds.thresholds[one])


def remarks(run: RunFolder, card: RunCard) -> tuple[str, ...]:
    """What whoever scores with a run should know of its files."""
    found = []
    if card.edited:
        found.append(
            f"{run.name}: thresholds.json was edited by hand for {first_few(card.edited)}: "
            f"decisions go by what it says now; `cxrtool evaluate {run.name} --operating-point "
            f"{card.operating_point} --keep` puts back what was chosen on valid"
        )
    if not card.sealed:
        found.append(
            f"{run.name}: model.json is of version 0.1 and has no fingerprint of its own: whether "
            "its image sizes and means are those of the training cannot be checked"
        )
    return tuple(found)


def sampling_remark(run: RunFolder, card: RunCard) -> str | None:
    """What whoever reads a run's probabilities should know of its sampling; None: nothing.

    A calibration that the run has stored mends what weighted sampling does to them.
    """
    if card.calibration is not None and card.calibration.get("method") in MENDING:
        return None
    known = card.shifted is not None
    labels = card.shifted if card.shifted is not None else _weighed_before(run, card)
    return told_of_shifted(run.name, labels, known=known) if labels else None


def _weighed_before(run: RunFolder, card: RunCard) -> tuple[str, ...]:
    """The labels of a run of version 0.1, if it drew its images by weights that can differ."""
    from cxrtool.core.yaml_files import read_yaml

    try:
        settings = read_yaml(run.config)
    except DataError:
        return ()  # nothing else is lost with the settings of a finished run
    weighted = settings.get("sampling") == "weighted"
    return card.labels if weighted and len(card.labels) > 1 else ()


def _shifted(labels: "RunLabels") -> tuple[str, ...] | None:
    shares = {
        label: (counts.positives / max(counts.n, 1), counts.drawn)
        for label, counts in (labels.train or {}).items()
        if counts.drawn is not None
    }
    return shifted_labels(shares) if shares else None


def find_run(runs: Path, given: str | None) -> RunFolder:
    """The run that a user means: a name, a path, or (`None`, `last`) the last finished run.

    Raises:
        RunError: there is none such; the message names those there are.
    """
    folders = sorted(path for path in runs.glob("*/") if not path.name.startswith("."))
    if given not in (None, "last"):
        named = named_run(runs, str(given))
        if named is not None:
            return named
        if given and (path := Path(given).resolve()).is_dir():
            return RunFolder(path)
        raise RunError(_no_such_run(runs, str(given), [path.name for path in folders]))
    finished = [run for run in map(RunFolder, folders) if run.finished]
    trials = trials_among(run.path for run in finished)
    if trials and len(trials) == len(finished):
        raise RunError(_only_trials(runs, trials))
    finished = [run for run in finished if run.name not in trials]
    if not finished:
        began = f" ({len(folders)} did not finish)" if folders else ""
        missing = Workspace(runs.parent).missing()
        raise RunError(
            f"{missing or f'no finished run in {runs}{began}'}: run "
            f"`cxrtool train{workspace_option(runs.parent)}` first" + (ELSEWHERE if missing else "")
        )
    return max(finished, key=lambda run: (finished_at(run), run.name))


def named_run(runs: Path, given: str) -> RunFolder | None:
    """The run that has a name, if one has: it comes before what is so called where the user is."""
    folder = on_disk(runs / given) if given and given == Path(given).name else None
    return RunFolder(folder) if folder is not None and folder.is_dir() else None


def finished_at(run: RunFolder) -> float:
    """When a finished run came to its end, in seconds since 1970.

    As its model.json says, which a copy of the folder does not change; else by the file's time.
    """
    try:
        finished = datetime.fromisoformat(read_json(run.model)["finished"]).timestamp()
        return finished if 0 < finished < LATEST else run.model.stat().st_mtime
    except (RunError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return run.model.stat().st_mtime


def _no_such_run(runs: Path, given: str, names: list[str]) -> str:
    """What is said of a name that no run has: near ones, all that there are, or none at all."""
    if names:
        near = did_you_mean(near_names(given, names))
        return f"no run {given!r} in {runs}{near}; there are: {first_few(names, 8)}"
    missing = Workspace(runs.parent).missing()
    none = f"no run {given!r}: {missing}" if missing else f"no run {given!r} in {runs}"
    command = f"`cxrtool train{workspace_option(runs.parent)}`"
    return f"{none}; run {command} first{ELSEWHERE if missing else ''}"


def _only_trials(runs: Path, trials: dict[str, str]) -> str:
    """What is said where a search left all finished runs, the worst ones too."""
    studies = runs.parent / "studies"
    named = {study: best_trial(studies / study, trials) for study in sorted({*trials.values()})}
    best = [f"{run} is the best of study {study}" for study, run in named.items() if run]
    return (
        f"all that is finished in {runs} ({counted(len(trials), 'run')}) is a search's trials, "
        f"good and bad ones: name a run{f' ({first_few(best)})' if best else ''}"
    )


def find_resumable(runs: Path, given: str) -> RunFolder:
    """The run to go on with: a name, a path, or `last`, the one that was last at work.

    Raises:
        RunError: there is none such, or it has no checkpoint.
    """
    if given == "last":
        folders = [path for path in runs.glob("*/") if not path.name.startswith(".")]
        dated = {run: _last_at_work(run) for run in map(RunFolder, folders)}
        begun = [run for run, when in dated.items() if when is not None]
        trials = trials_among(run.path for run in begun)
        begun = [run for run in begun if run.name not in trials]
        if not begun:
            more = " but trials, which `tune --resume` goes on with" if trials else ""
            raise RunError(
                f"no run in {runs} has a checkpoint to go on from{more}: train without it"
            )
        return max(begun, key=lambda run: (dated[run] or 0, run.name))
    run = find_run(runs, given)
    if run.never_began and not run.config.is_file():
        raise RunError(
            f"{run.path} was killed before its settings were written: give the command that began "
            "it again, which takes its name"
        )
    # What is there and no file is named where it is read.
    if run.finished and not run.checkpoint.exists():
        raise RunError(
            f"{run.path} has no checkpoint to go on from: it is finished, and a finished run keeps "
            "one with --keep-checkpoint alone. Begin a new run from its weights (`cxrtool train "
            f"--weights {run.name}`), and give --keep-checkpoint to one that is to be extended"
        )
    if not (run.checkpoint.exists() or run.never_began):
        raise RunError(
            f"{run.path} has no checkpoint to go on from ({run.checkpoint.name} is missing): "
            "train again, or start from its weights with --weights"
        )
    return run


def _last_at_work(run: RunFolder) -> int | None:
    """When a run that can be resumed was written to; None for another."""
    if run.checkpoint.is_file():
        return run.checkpoint.stat().st_mtime_ns
    return run.config.stat().st_mtime_ns if run.never_began and run.config.is_file() else None
