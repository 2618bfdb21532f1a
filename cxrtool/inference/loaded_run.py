"""`load_run`: a finished run, or an exported model, as an object that scores images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrtool.core.config import PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.workspace import Workspace
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.inputs import list_images
from cxrtool.inference.scorer import load_model
from cxrtool.inference.work import Work

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LoadedRun:
    """A model that is ready to score images."""

    ensemble: Ensemble
    reporter: Reporter

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the columns that `predict` gives."""
        return self.ensemble.labels

    @property
    def thresholds(self) -> dict[str, float | None]:
        """The probability from which a label counts as positive; None where none was chosen."""
        return self.ensemble.thresholds

    def predict(
        self,
        images: str | Path | Sequence[str | Path],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> "pd.DataFrame":
        """Score images: files, folders, globs, or a CSV with a `path` column, one or several.

        Args:
            images: what to score.
            batch_size: images in a batch; None: what is fastest here.
            workers: threads that decode; None: one a core.

        Returns:
            A row an image, in order: `path`, a probability for each label, `warning`, and `error`
            (why an image has no probabilities; "" where it has).

        Raises:
            DataError: something that stands for no image.
        """
        from cxrtool.data.prediction_tables import frame_of_rows

        given = [images] if isinstance(images, str | os.PathLike) else list(images)
        found = list_images([os.fspath(one) for one in given])
        if found.passed_over:
            self.reporter.note(found.others())
        work = Work(
            config=PredictConfig(batch_size=batch_size, workers=workers),
            images=found,
            ensemble=self.ensemble,
            run=None,
            reporter=self.reporter,
            listener=None,
            processes=None,
        )
        rows = list(work.rows(range(len(work.images)), None))
        work.tell_collapses()
        return frame_of_rows(rows, self.labels)[["path", *self.labels, "warning", "error"]]


def load_run(
    run: str | Path | None = None,
    workspace: str | Path = "cxr",
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> LoadedRun:
    """A run by its name or path, ready to score: `load_run("strong").predict("images/")`.

    Args:
        run: of the workspace, or a run's path, or that of an exported model; None: the last
            finished run.
        workspace: where a run that is named is looked for.
        engine: auto, torch, openvino or onnxruntime.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.

    Raises:
        RunError: no such run, or it is unfinished, incomplete or altered.
        UsageError: this machine has no such device or engine.
    """
    reporter = Reporter(progress=False)
    compute = Compute(engine=engine, device=device, precision=precision)
    name = None if run is None else os.fspath(run)
    model = load_model(Workspace(Path(workspace)).runs, name, compute, reporter)
    return LoadedRun(Ensemble(members=(model,)), reporter)
