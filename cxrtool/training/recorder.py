"""What `train` leaves behind: settings, history, checkpoints, the best weights, thresholds."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from cxrtool.core.config import RECIPES, TrainConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.errors import RunError
from cxrtool.core.files import sha256, whole_file, write_text
from cxrtool.core.json_files import seal_of, write_json
from cxrtool.core.new_runs import OpenRun
from cxrtool.core.numbers import number, or_none
from cxrtool.core.run_cards import sealed_thresholds
from cxrtool.core.runs import STUDY
from cxrtool.core.workspace import Workspace
from cxrtool.data.ancestry import TRAIN, VALID, Ancestry, find_ancestry, patients_facts, write_seen
from cxrtool.data.labels import majority
from cxrtool.data.logits import probabilities_of
from cxrtool.data.prediction_rows import write_rows
from cxrtool.data.prediction_tables import rows_of
from cxrtool.data.provenance import described
from cxrtool.data.run_predictions import seal_predictions
from cxrtool.data.seen import keep_ancestors_keys, row_pictures
from cxrtool.evaluation.decisions import threshold_warnings
from cxrtool.evaluation.operating_points import OperatingPoint, choose_point
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.thresholds import parse_rule
from cxrtool.training.checkpoints import BEST_LOGITS, Checkpoint, write_checkpoint, write_tensors
from cxrtool.training.control import ControlState
from cxrtool.training.figures import draw_curves
from cxrtool.training.machine import describe_machine
from cxrtool.training.resume import HERE_ONLY
from cxrtool.training.schedules import PHASES, PROBE
from cxrtool.training.setup import Setup
from cxrtool.training.tracking import Tracker


def settings_of(config: TrainConfig, seed: int) -> dict[str, Any]:
    """The options that make a training what it is; as YAML, a file for `train --config`."""
    kept = {key: value for key, value in asdict(config).items() if key not in HERE_ONLY}
    if config.recipe not in RECIPES:
        del kept["recipe"]  # a file's path may name a person, and all that it says is here
    return {**kept, "seed": seed}


def training_loss(config: TrainConfig) -> str:
    """What a training loss is, and what weighs in it, in a few words."""
    after = f"cross-entropy, AUC margin after epoch {config.auc_after}"
    names = {"bce": "cross-entropy", "asymmetric": "asymmetric", "auc": after}
    weighed = [] if config.pos_weight == "none" else [f"positives weighted: {config.pos_weight}"]
    drawn = ["weighted sampling"] if config.sampling == "weighted" else []
    return ", ".join([names[config.loss], *weighed, *drawn])


class RunRecorder:
    """Writes a run's folder while the run goes on."""

    def __init__(
        self,
        opened: OpenRun,
        setup: Setup,
        workspace: Workspace,
        reporter: Reporter,
        study: str | None = None,
    ) -> None:
        self.study = study
        self.opened, self.run = opened, opened.run
        self.setup, self.config, self.data = setup, setup.config, setup.data
        self.workspace, self.reporter = workspace, reporter
        self.tracker = Tracker(None, SILENT)
        self._best_logits: NDArray[np.float32] | None = None
        self._best_sha256: str | None = None
        self._settings: dict[str, Any] = {}

    def begin(self, settings: dict[str, Any], before: dict[str, Any] | None) -> None:
        """Write what is known before the first epoch.

        Args:
            settings: of the training.
            before: what environment.json says of a run that goes on; None: it begins.
        """
        self._settings = settings
        # First: what is killed from here on can be resumed.
        write_text(self.run.config, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        # Before the first step: a run that has seen anything has them.
        if before is None or not (self.run.patients.is_file() and self.run.pictures.is_file()):
            self._write_seen(self.setup.ancestry if before is None else self._older_start())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        machine = describe_machine(self.setup)
        if before is None:
            began = {
                "began": now,
                "identity": hashlib.sha256(f"{self.run.path}{time.time_ns()}".encode()).hexdigest(),
                "weights_from": self.setup.loaded.source,
                "squish": list(self.data.image_sizes(self.config.image_size)),
                "manifest_sha256": sha256(self.workspace.manifest),
                "split_sha256": sha256(self.workspace.split),
            }
            resumed: list[dict[str, Any]] = []
        else:
            began = {key: before[key] for key in _OF_THE_START}
            resumed = [*before["resumed"], {"at": now, **machine}]
            machine = {key: before[key] for key in machine}
        self.environment = {
            **machine,
            **began,
            "epochs": self.config.epochs,
            # Of the search that trains it now: a run that a user resumes is the user's.
            STUDY: self.study,
            "resumed": resumed,
        }
        write_json(self.run.environment, self.environment)

    def _older_start(self) -> Ancestry:
        """What a run of version 0.1 that is resumed began from: it kept the name alone."""
        try:
            return find_ancestry(self.config.weights, self.workspace.runs)
        except RunError as error:
            self.reporter.warn(
                f"what {self.run.name} started from is no longer known ({error}): whether its "
                "patients are among those that are scored cannot be checked"
            )
            return Ancestry()

    def _write_seen(self, ancestry: Ancestry) -> None:
        """Write whom and what the run is about to see, and what it began from has seen.

        Before the first step: the runs that it began from may be gone when it ends.
        """
        frame, registers = self.data.frame, self.data.info.origin.registers
        patients = {
            name: self.data.part(valid=name == "valid")["patient_id"].unique().tolist()
            for name in ("train", "valid")
        }
        key = keep_ancestors_keys(self.workspace, ancestry)
        facts = patients_facts(**patients, registers=registers, ancestry=ancestry, key=key)
        write_json(self.run.patients, facts)
        paths, workers = frame["path"].tolist(), self.config.workers
        pictures, places = row_pictures(self.workspace, paths, workers, self.reporter)
        valid = frame["is_valid"].to_numpy(dtype=bool)[places]
        own = {TRAIN: pictures.choose(~valid), VALID: pictures.choose(valid)}
        write_seen(self.run.pictures, own, ancestry)

    @property
    def identity(self) -> str:
        """The run's name for Weights & Biases, under which it goes on when it is resumed."""
        return str(self.environment["identity"])[:16]

    def track(self, tracker: Tracker, history: Sequence[dict[str, Any]]) -> None:
        """Log from now on; first, what the run did before: offline, each start has a folder."""
        self.tracker = tracker
        for step, row in enumerate(history):
            tracker.log(row, step)
        if history and self.config.wandb == "offline":
            self.reporter.note(
                "Weights & Biases: the epochs before are logged again, so that the new folder "
                "holds the whole run: of this run's folders, sync only the newest"
            )

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Take from a checkpoint what is needed at the end."""
        logits = checkpoint.tensors.get(BEST_LOGITS)
        self._best_logits = None if logits is None else logits.numpy()
        self._best_sha256 = checkpoint.facts.get("best_sha256")

    def keep(self, checkpoint: Checkpoint, state: ControlState) -> None:
        """Write a checkpoint; then the weights that it does not need any more can go.

        Raises:
            NotWrittenError: it could not be written; the one before is whole.
        """
        if self._best_logits is not None:
            checkpoint.tensors[BEST_LOGITS] = torch.from_numpy(self._best_logits)
        # Whose it is, and of which settings and weights.
        bound = {
            "run": self.environment["identity"],
            "settings": self._settings,
            "best_sha256": self._best_sha256,
        }
        write_checkpoint(self.run.checkpoint, replace(checkpoint, facts=checkpoint.facts | bound))
        for path in self.run.checkpoints.glob("best-*.safetensors"):
            if state.best_step is None or path != self.run.best(state.best_step):
                path.unlink(missing_ok=True)
        if state.step:
            self.opened.settle()

    def validated(
        self,
        row: dict[str, Any],
        better: bool,
        logits: NDArray[np.float32],
        network: nn.Module,
        state: ControlState,
    ) -> None:
        """Write the history, and the weights where they are the best so far.

        Raises:
            NotWrittenError, OSError: the disk is full.
        """
        if better:
            self._best_logits = logits
            # A name of its own: the checkpoint before still needs the weights before.
            write_tensors(self.run.best(state.step), dict(network.state_dict()))
            self._best_sha256 = sha256(self.run.best(state.step))
        write_table(pd.DataFrame(state.history), self.run.history)
        self.tracker.log(row, len(state.history) - 1)
        self._say(row, better, state)

    def _say(self, row: dict[str, Any], better: bool, state: ControlState) -> None:
        if state.phase == PROBE:
            return  # said when it was fitted
        rows = state.history
        before = rows[-2] if len(rows) > 1 else row
        if row["lr"] != before["lr"] and self.config.schedule == "plateau":
            self.reporter.note(f"learning rate {before['lr']:.1e} -> {row['lr']:.1e}")
        # Epochs done: a fraction, where there are several validations in one.
        done = state.epoch + state.validations / self.config.validations
        self.reporter.note(
            f"epoch {done:g}/{self.config.epochs}  {PHASES[row['phase']]}  "
            f"loss {row['train_loss']:.4f}  valid AUROC {number(row['valid_mean_auroc'], 4)}  "
            f"{row['images_per_second']:,.0f} images/s{'  best' if better else ''}"
        )
        for label in self.data.labels:
            self.reporter.detail(f"  {label}: valid AUROC {number(row[label], 4)}")

    def finish(self, state: ControlState) -> None:
        """Thresholds and predictions of the best epoch on valid; model.json last of all.

        From then on only more epochs need the checkpoint, which goes unless it is to be kept.
        """
        if self._best_logits is None or state.best_step is None:
            raise RunError(
                "no validation gave a mean AUROC, so there is no best epoch to keep: valid needs "
                "both positive and negative images of a label"
            )
        labels, valid = self.data.labels, self.data.part(valid=True)
        sample = _valid_sample(valid, self.data.targets(valid=True), self._best_logits, labels)
        points = {name: choose_point(parse_rule(name), sample, "valid") for name in POINTS}
        stored = {name: _by_label(point, labels) for name, point in points.items()}
        thresholds = stored[YOUDEN]
        for text in threshold_warnings(thresholds, points[YOUDEN].without):
            self.reporter.note(text)
        weights_sha256 = self._best_weights(state.best_step)
        # A run that is extended is none that others may read while its files change.
        self.run.model.unlink(missing_ok=True)
        if self.run.best(state.best_step).is_file():
            self.run.best(state.best_step).replace(self.run.weights)
        rows = rows_of(valid["path"].tolist(), self._best_logits, labels, thresholds)
        write_rows(rows, self.run.predictions("valid"), labels, logits=True)
        seal_predictions(self.run, "valid", weights_sha256)
        chosen = {
            "operating_point": YOUDEN,
            "chosen_on": "valid",
            "thresholds": thresholds,
            "operating_points": stored,
            "calibration": None,
            "without": dict(points[YOUDEN].without),
        }
        write_json(self.run.thresholds, sealed_thresholds(chosen, weights_sha256))
        write_json(self.run.labels, self._labels())
        with whole_file(self.run.curves) as path:
            draw_curves(pd.DataFrame(state.history), path, training_loss=training_loss(self.config))
        self._remove_older_scores()
        write_json(self.run.model, self._model(state))
        if not self.config.keep_checkpoint:
            self.run.checkpoint.unlink(missing_ok=True)
        self._summarise(state, thresholds)

    def _best_weights(self, step: int) -> str:
        """The SHA-256 of the best weights' file, which is as this training wrote it.

        Raises:
            RunError: it is not there, or another.
        """
        best = self.run.best(step) if self.run.best(step).is_file() else self.run.weights
        found = sha256(best) if best.is_file() else None
        if found is None or self._best_sha256 not in (None, found):
            raise RunError(
                f"{best} is not what training wrote as its best weights: they were replaced during "
                "training; train again"
            )
        return found

    def _remove_older_scores(self) -> None:
        """What an extended run's former weights scored on other parts is not its own any more."""
        for folder in (self.run.predictions("test").parent, self.run.metrics("test").parent):
            for path in folder.glob("*") if folder.is_dir() else ():
                if path not in (self.run.predictions("valid"), self.run.predictions_facts("valid")):
                    path.unlink()

    def _summarise(self, state: ControlState, thresholds: dict[str, float | None]) -> None:
        row = next(row for row in state.history if row["step"] == state.best_step)
        figures = {f"valid/{label}/auroc": or_none(row[label]) for label in self.data.labels}
        figures |= {f"valid/{label}/threshold": thresholds[label] for label in self.data.labels}
        self.tracker.summarise(figures)

    def _labels(self) -> dict[str, Any]:
        positive, decided = majority(self.data.targets(valid=False))
        sampling = self.setup.sampling
        counts = {
            label: {
                "positives": int(positive[:, at].sum()),
                "n": int(decided[:, at].sum()),
                "drawn": float(sampling.drawn[at]),
            }
            for at, label in enumerate(self.data.labels)
        }
        return {
            "labels": list(self.data.labels),
            "uncertainty": self.config.uncertainty,
            "blank": self.config.blank,
            "train": counts,
        }

    def _bound(self) -> tuple[Path, ...]:
        """The files that model.json has the fingerprints of."""
        run = self.run
        return run.weights, run.labels, run.patients, run.pictures

    def _model(self, state: ControlState) -> dict[str, Any]:
        about = {
            "arch": self.config.arch,
            "recipe": Path(self.config.recipe).stem,
            "drop_rate": self.config.drop_rate,
            "image_size": self.config.image_size,
            "squish": self.environment["squish"],
            "fold": self.config.fold,
            "pixel_mean": self.data.mean,
            "pixel_std": self.data.std,
            "pixels_of": self.data.pixels_of,
            "weights_from": self.environment["weights_from"],
            "data": described(self.data.info),
            "sha256": {path.name: sha256(path) for path in self._bound()},
            "manifest_sha256": self.environment["manifest_sha256"],
            "split_sha256": self.environment["split_sha256"],
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "best_step": state.best_step,
            "valid_mean_auroc": or_none(float(state.best_auroc or 0)),
            "images": {
                name: len(self.data.part(valid=name == "valid")) for name in ("train", "valid")
            },
            "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "identity": self.environment["identity"],
        }
        return {**about, "sealed": seal_of(about)}


YOUDEN = "youden"
POINTS = (YOUDEN, "f1")
"""The rules whose thresholds every run has from the start; others are asked of `evaluate`."""
_OF_THE_START = (
    "began",
    "identity",
    "weights_from",
    "squish",
    "manifest_sha256",
    "split_sha256",
)


def _valid_sample(
    valid: pd.DataFrame,
    targets: NDArray[np.float32],
    logits: NDArray[np.float32],
    labels: tuple[str, ...],
) -> Sample:
    """The run's logits (n, C) of valid, and targets (n, C), NaN where there is none."""
    positive, decided = majority(targets)
    return Sample(
        labels=labels,
        keys=valid["path"].to_numpy(dtype=str),
        patients=valid["patient_id"].to_numpy(dtype=str),
        studies=np.full(len(valid), ""),
        targets=positive,
        mask=decided,
        scores=probabilities_of(logits),
        logits=logits.astype(np.float64),
    )


def _by_label(point: OperatingPoint, labels: tuple[str, ...]) -> dict[str, float | None]:
    numbers = zip(labels, point.thresholds, strict=True)
    return {label: or_none(float(value)) for label, value in numbers}
