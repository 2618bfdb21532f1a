"""A run's folder: every path in it, what it says of its model, and whether it is whole."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrtool.errors import DataError, RunError, first_few
from cxrtool.files import read_json, sha256


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
        """What the weights are weights of, and their SHA-256."""
        return self.path / "model.json"

    @property
    def thresholds(self) -> Path:
        """Each label's operating point."""
        return self.path / "thresholds.json"

    @property
    def patients(self) -> Path:
        """The training patients, so that nobody is tested on them by mistake."""
        return self.path / "patients.json"

    def predictions(self, split: str) -> Path:
        """The probabilities on a split."""
        return self.path / "predictions" / f"{split}.csv"

    def metrics(self, split: str) -> Path:
        """The scores on a split."""
        return self.path / "metrics" / f"{split}.json"

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.model.is_file()


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What a finished run says of itself."""

    arch: str
    drop_rate: float
    image_size: int
    pixel_mean: float
    pixel_std: float
    weights_sha256: str
    manifest_sha256: str
    split_sha256: str
    labels: tuple[str, ...]
    uncertainty: str
    blank: str
    thresholds: dict[str, float | None]


def read_card(run: RunFolder) -> RunCard:
    """Read a finished run's JSON files and check its weights against their fingerprint.

    Raises:
        RunError: the run is not finished, a file is missing, altered or of another version.
    """
    if not run.finished:
        raise RunError(
            f"{run.path} is not a finished run ({run.model.name} is missing): "
            "train it to its end, or name another run"
        )
    missing = [
        path.name for path in (run.labels, run.thresholds, run.weights) if not path.is_file()
    ]
    if missing:
        raise RunError(
            f"{run.path} is incomplete ({first_few(missing)} missing): "
            "restore the folder from a copy, or train again"
        )
    model, labels = read_json(run.model), read_json(run.labels)
    thresholds = read_json(run.thresholds)
    try:
        card = _card(model, labels, thresholds)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path}: its JSON files lack or misspell {error}: "
            "restore the folder from a copy, or train again"
        ) from None
    if sha256(run.weights) != card.weights_sha256:
        raise RunError(
            f"{run.weights} is not the file that training wrote (its SHA-256 differs from "
            f"{run.model.name}'s): restore it from a copy, or train again"
        )
    return card


def _card(model: dict[str, Any], labels: dict[str, Any], thresholds: dict[str, Any]) -> RunCard:
    names = tuple(labels["labels"])
    return RunCard(
        arch=model["arch"],
        drop_rate=float(model["drop_rate"]),
        image_size=int(model["image_size"]),
        pixel_mean=float(model["pixel_mean"]),
        pixel_std=float(model["pixel_std"]),
        weights_sha256=model["weights_sha256"],
        manifest_sha256=model["manifest_sha256"],
        split_sha256=model["split_sha256"],
        labels=names,
        uncertainty=labels["uncertainty"],
        blank=labels["blank"],
        thresholds={name: thresholds["thresholds"][name] for name in names},
    )


def new_run(runs: Path, name: str | None, default: str, *, force: bool) -> RunFolder:
    """Where a new run goes: `name`, or the first of default, default-2, ... that is free.

    Raises:
        DataError: the name is no folder's name, or is taken and `force` is not given.
    """
    if name is None:
        number, free = 1, default
        while (runs / free).exists():
            number += 1
            free = f"{default}-{number}"
        return RunFolder(runs / free)
    if name in ("", ".", "..", "last") or name.startswith(".") or set(name) & set("/\\:"):
        raise DataError(f"--name {name!r}: give a plain folder name")
    if (runs / name).exists() and not force:
        raise DataError(f"run {name} exists in {runs}: --force replaces it, or pass another --name")
    return RunFolder(runs / name)


def find_run(runs: Path, given: str | None) -> RunFolder:
    """The run that a user means: a name, a path, or (`None`, `last`) the last finished run.

    Raises:
        RunError: there is none such; the message names those there are.
    """
    folders = sorted(path for path in runs.glob("*/") if not path.name.startswith("."))
    if given not in (None, "last"):
        for path in (runs / str(given), Path(str(given))):
            if path.is_dir():
                return RunFolder(path)
        there = f"there are: {first_few([path.name for path in folders], 8)}" if folders else ""
        raise RunError(f"no run {given} in {runs}; {there or 'run `cxrtool train` first'}")
    finished = [run for run in map(RunFolder, folders) if run.finished]
    if not finished:
        began = f" ({len(folders)} did not finish)" if folders else ""
        raise RunError(f"no finished run in {runs}{began}: run `cxrtool train` first")
    return max(finished, key=lambda run: (run.model.stat().st_mtime_ns, run.name))


class NewRunFolder:
    """A run in the making: `with NewRunFolder(run) as folder`.

    It begins under a hidden name and takes its own with `keep()`, after the first epoch; only
    then does an older run of that name go. If training fails or is killed before, the older run
    is there as it was.
    """

    def __init__(self, run: RunFolder) -> None:
        self.target = run
        self.kept = False

    def __enter__(self) -> "NewRunFolder":
        runs = self.target.path.parent
        runs.mkdir(parents=True, exist_ok=True)
        self._hidden = Path(tempfile.mkdtemp(prefix=f".{self.target.name}-", dir=runs))
        self._hidden.chmod(runs.stat().st_mode)  # mkdtemp's folders are the owner's alone
        return self

    @property
    def run(self) -> RunFolder:
        """The run where it lies now."""
        return self.target if self.kept else RunFolder(self._hidden)

    def keep(self) -> None:
        """Take the run's own name; from now on the folder stays, whatever happens."""
        if self.kept:
            return
        replaced = self._hidden.with_name(f"{self._hidden.name}-replaced")
        if self.target.path.exists():
            self.target.path.rename(replaced)
        self._hidden.rename(self.target.path)
        self.kept = True
        shutil.rmtree(replaced, ignore_errors=True)

    def __exit__(self, *error: object) -> None:
        if not self.kept:
            shutil.rmtree(self._hidden, ignore_errors=True)
