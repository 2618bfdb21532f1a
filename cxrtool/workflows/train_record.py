"""What `train` leaves behind: settings, history, the best epoch's weights, thresholds."""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from cxrtool.config import TrainConfig, worker_count
from cxrtool.files import sha256, whole_file, write_json, write_text
from cxrtool.learner import ControlState
from cxrtool.metrics import youden_threshold
from cxrtool.predictions import format_scores, prediction_frame
from cxrtool.report import Reporter, number, or_none
from cxrtool.runs import NewRunFolder, RunFolder
from cxrtool.tables import write_table
from cxrtool.tracking import Tracker
from cxrtool.workflows.train_data import TrainingData
from cxrtool.workspace import Workspace

LIBRARIES = ("cxrtool", "torch", "torchvision", "fastai", "numpy", "pandas", "pillow")
HERE_ONLY = ("name", "force", "device", "workers", "wandb")
"""Options that say where a training runs, not what it is: not in a run's config.yaml."""
PHASES = {"head": "head alone", "top": "head and top block", "all": "all blocks"}
BLANK_POLICY = "zeros"


def settings_of(config: TrainConfig, seed: int) -> dict[str, Any]:
    """The options that make a training what it is; as YAML, a file for `train --config`."""
    kept = {key: value for key, value in asdict(config).items() if key not in HERE_ONLY}
    return {**kept, "seed": seed}


class RunRecorder:
    """Writes a run's folder while the run goes on."""

    def __init__(
        self,
        folder: NewRunFolder,
        config: TrainConfig,
        data: TrainingData,
        network: nn.Module,
        tracker: Tracker,
        reporter: Reporter,
    ) -> None:
        self.folder = folder
        self.config, self.data, self.network = config, data, network
        self.tracker, self.reporter = tracker, reporter
        self._rows: list[dict[str, Any]] = []
        self._best_logits: NDArray[np.float32] | None = None

    @property
    def run(self) -> RunFolder:
        """The run where it lies now."""
        return self.folder.run

    def begin(
        self, settings: dict[str, Any], device: torch.device, source: str, workspace: Workspace
    ) -> None:
        """Write what is known before the first epoch."""
        self.fingerprints = {
            "manifest_sha256": sha256(workspace.manifest),
            "split_sha256": sha256(workspace.split),
        }
        self.weights_source = source
        write_text(self.run.config, yaml.safe_dump(settings, sort_keys=False))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        environment = {
            "python": platform.python_version(),
            "system": platform.platform(),
            "libraries": {library: version(library) for library in LIBRARIES},
            "device": f"{device} ({name})",
            "threads": torch.get_num_threads(),
            "workers": worker_count(self.config.workers),
            **self.fingerprints,
        }
        write_json(self.run.environment, environment)

    def end_epoch(self, row: dict[str, Any], better: bool, logits: NDArray[np.float32]) -> None:
        """Write the history, and the weights where they are the best so far."""
        if better:
            self._best_logits = logits
            self._save_weights()
        self._rows.append(row)
        write_table(pd.DataFrame(self._rows), self.run.history)
        self.folder.keep()
        self.tracker.log(row)
        best = "  best so far" if better else ""
        images = len(self.data.part(valid=False))
        rate = self._rows[-2]["lr"] if len(self._rows) > 1 else row["lr"]
        if row["lr"] != rate:
            self.reporter.note(f"learning rate {rate:.1e} -> {row['lr']:.1e}")
        self.reporter.note(
            f"epoch {row['epoch']:>{len(str(self.config.epochs))}}/{self.config.epochs}  "
            f"{PHASES[row['phase']]}  loss {row['train_loss']:.4f}  "
            f"valid AUROC {number(row['valid_mean_auroc'], 4)}  "
            f"{images / row['train_seconds']:,.0f} images/s{best}"
        )

        for label in self.data.labels:
            self.reporter.detail(f"  {label}: valid AUROC {number(row[label], 4)}")

    def _save_weights(self) -> None:
        tensors = {
            key: value.detach().cpu().contiguous()
            for key, value in self.network.state_dict().items()
        }
        with whole_file(self.run.weights) as path:
            save_file(tensors, path)

    def finish(self, state: ControlState) -> None:
        """Thresholds and predictions of the best epoch on valid; model.json last of all."""
        if self._best_logits is None:
            raise AssertionError("training ended without an epoch")
        labels, valid = self.data.labels, self.data.part(valid=True)
        scores = torch.sigmoid(torch.from_numpy(self._best_logits)).numpy()
        thresholds = choose_thresholds(self.data.targets(valid=True), scores, labels)
        table = prediction_frame(valid["path"].tolist(), scores, labels, thresholds)
        write_table(format_scores(table, labels), self.run.predictions("valid"))
        write_json(
            self.run.thresholds,
            {"operating_point": "youden", "chosen_on": "valid", "thresholds": thresholds},
        )
        patients = {
            name: sorted(self.data.part(valid=name == "valid")["patient_id"].unique())
            for name in ("train", "valid")
        }
        write_json(self.run.patients, patients)
        write_json(self.run.labels, self._labels())
        write_json(self.run.model, self._model(state))

    def _labels(self) -> dict[str, Any]:
        targets = self.data.targets(valid=False)
        counts = {
            label: {"positives": int((column > 0.5).sum()), "n": int((~np.isnan(column)).sum())}
            for label, column in zip(self.data.labels, targets.T, strict=True)
        }
        return {
            "labels": list(self.data.labels),
            "uncertainty": self.config.uncertainty,
            "blank": BLANK_POLICY,
            "train": counts,
        }

    def _model(self, state: ControlState) -> dict[str, Any]:
        return {
            "arch": self.config.arch,
            "drop_rate": self.config.drop_rate,
            "image_size": self.config.image_size,
            "squish": list(self.data.sides(self.config.image_size)),
            "fold": self.config.fold,
            "pixel_mean": self.data.mean,
            "pixel_std": self.data.std,
            "weights_from": self.weights_source,
            "sha256": {
                path.name: sha256(path)
                for path in (self.run.weights, self.run.labels, self.run.patients)
            },
            **self.fingerprints,
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "valid_mean_auroc": or_none(float(state.best_auroc or 0)),
            "images": {
                name: len(self.data.part(valid=name == "valid")) for name in ("train", "valid")
            },
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def choose_thresholds(
    targets: NDArray[np.float32], scores: NDArray[np.float32], labels: tuple[str, ...]
) -> dict[str, float | None]:
    """Each label's threshold with the greatest Youden's J; None where a class is missing."""
    thresholds = {}
    for label, target, score in zip(labels, targets.T, scores.T, strict=True):
        mask = ~np.isnan(target)
        thresholds[label] = or_none(youden_threshold(target > 0.5, score, mask))
    return thresholds
