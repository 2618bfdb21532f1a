"""`predict`: images and a model to a row of probabilities and decisions an image. No fastai.

Rows are made in order, and written as they are made; what is in memory does not grow with them.
torch is imported by the engine that needs it, and by nothing else here.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cxrtool.config import PredictConfig, worker_count
from cxrtool.ensemble import Ensemble
from cxrtool.errors import CxrToolError, DataError, StoppedError, UsageError, counted
from cxrtool.files import check_writable
from cxrtool.journal import Journal, check_begun
from cxrtool.prediction_rows import (
    Row,
    cells,
    csv_line,
    decide,
    header,
    kind_of,
    read_rows,
    write_rows,
)
from cxrtool.report import SILENT, Mute, Reporter
from cxrtool.runs import RunFolder, find_run
from cxrtool.scorer import is_exported, load_model
from cxrtool.workflows.predict_inputs import Inputs, list_images
from cxrtool.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from cxrtool.distributed import Processes
    from cxrtool.workflows.predict_heatmaps import Heatmaps

FEW = 64
"""Images whose number and speed are worth no line of their own."""
SAMPLE = 8
"""Rows of a finished table that are scored again, to see that the model is the same."""
TOLERANCE = 0.03
"""How far apart the same model's probabilities may lie: bf16 has 8 bits."""


class Listener(Protocol):
    """Is told of rows as they are made."""

    def begin(self, ensemble: Ensemble, images: int) -> None:
        """So many images are about to be scored."""

    def row(self, row: Row) -> None:
        """The next one, in order."""


@dataclass(frozen=True)
class PredictResult:
    """Predictions, and how the making went."""

    model: str
    labels: tuple[str, ...]
    thresholds: dict[str, float | None]
    """On the scale of the probabilities."""
    rows: list[Row] = field(repr=False)
    """Empty where they went to a file or a listener."""
    images: int
    failed: int
    seconds: float
    images_per_second: float
    output: Path | None
    engine: dict[str, str]
    """Its name, device and precision."""
    exact: bool = False
    heatmaps: Path | None = None
    drawn: int = 0
    """How many heat maps."""
    writes: bool = True
    """Whether this process is the one that tells the result."""

    @property
    def table(self) -> "pd.DataFrame":
        """The rows as a table, also those that were written to a file."""
        from cxrtool.predictions import frame_of_rows

        rows = self.rows if self.output is None else read_rows(self.output, self.labels)
        return frame_of_rows(rows, self.labels, exact=self.exact)

    def csv(self) -> str:
        """The rows as CSV text."""
        lines = [cells(row, self.labels, exact=self.exact) for row in self.rows]
        return "".join(csv_line(line) for line in [header(self.labels), *lines])

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it; with the rows, where no file holds them."""
        values: dict[str, Any] = {
            "run": self.model,
            "engine": self.engine,
            "images": self.images,
            "failed": self.failed,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "output": str(self.output) if self.output else None,
        }
        if self.heatmaps is not None:
            values |= {"heatmaps": str(self.heatmaps), "drawn": self.drawn}
        if self.output is None:
            values["predictions"] = [row.as_json(self.labels) for row in self.rows]
        return values


def predict_images(
    config: PredictConfig,
    inputs: Sequence[str],
    workspace: Workspace,
    reporter: Reporter = SILENT,
    listener: Listener | None = None,
) -> PredictResult:
    """Score images, folders, globs or the paths in a CSV with one model, or with several.

    Every input gets a row, in order; what cannot be read gets one with the reason. Started by
    torchrun, several processes share the images; the first one writes the table.

    Args:
        config: the models, what computes, and where the rows go.
        inputs: as `list_images` takes them.
        workspace: where runs are looked for by name.
        reporter: told how it goes.
        listener: told of each row as it is made, in place of keeping them.

    Raises:
        DataError: an input that is nothing at all, an output that exists, or a full disk.
        RunError: no such run, or it is incomplete or altered.
        UsageError: options that do not go together.
        StoppedError: Ctrl-C, while a table was being written; it can be gone on with.
    """
    with _processes(config) as processes:
        _check_options(config)
        models = [None] if config.run is None else list(dict.fromkeys(config.run))
        # Before minutes are spent on anything else.
        runs = [None if is_exported(one) else find_run(workspace.runs, one) for one in models]
        if config.output is not None:
            check_writable(config.output)
            check_begun(config.output, force=config.force, resume=config.resume)
        told = reporter if processes is None or processes.first else Mute()
        images = list_images(inputs, config.split)
        members = [
            load_model(
                workspace.runs,
                one,
                device=_device(config.device, processes),
                precision=config.precision,
                engine=config.engine,
                images=len(images),
                reporter=told,
            )
            for one in models
        ]
        work = _Work(
            config=config,
            images=images,
            ensemble=Ensemble(members=tuple(members), tta=config.tta),
            run=runs[0],
            reporter=told,
            listener=listener,
            processes=processes,
        )
        told.note(f"scoring with {work.ensemble.told}")
        batch = config.batch_size or work.ensemble.batch
        told.detail(
            f"{counted(len(images), 'image')} in batches of {batch}, decoded by "
            f"{counted(worker_count(config.workers), 'thread')}"
        )
        return _pass_on(work) if config.output is None else _write(work, config.output)


def _check_options(config: PredictConfig) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        UsageError: they do not.
    """
    if config.output is not None:
        kind_of(config.output)
        if config.json_lines:
            raise UsageError("--json-lines is for stdout: end --output in .jsonl for a file")
    elif config.resume:
        raise UsageError("--resume goes on with a table: name it with --output")
    if config.heatmaps is None:
        if config.heatmap_labels is not None:
            raise UsageError("--heatmap-labels goes with --heatmaps DIR")
    elif config.run is not None and len(config.run) > 1:
        raise UsageError("--heatmaps shows where one network looked: name one --run")
    elif config.run is not None and is_exported(config.run[0]):
        raise UsageError(
            f"--heatmaps needs the run itself, with its weights: {config.run[0]} is an exported "
            "model"
        )


@contextmanager
def _processes(config: PredictConfig) -> "Iterator[Processes | None]":
    """This process's place among those that torchrun started; None if it is alone."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield None
        return
    import torch

    from cxrtool.distributed import joined, launched, one_voice

    processes = launched()
    with one_voice(processes):
        if config.output is None:
            raise UsageError("several processes write one table: name it with --output")
        with joined(processes, torch.device("cpu")):
            yield processes


def _device(name: str, processes: "Processes | None") -> str:
    """The device of this one of several processes: a GPU of its own, where there are any."""
    if processes is None:
        return name
    from cxrtool.devices import choose_device

    return str(choose_device(name, processes.local_rank))


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Images to score, with what, and for whom."""

    config: PredictConfig
    images: Inputs
    ensemble: Ensemble
    run: RunFolder | None
    """Of which heat maps are drawn."""
    reporter: Reporter
    listener: Listener | None
    processes: "Processes | None"

    @property
    def place(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        return (0, 1) if self.processes is None else (self.processes.rank, self.processes.world)

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.processes is not None:
            self.processes.wait()

    def rows(self, places: Sequence[int], heatmaps: "Heatmaps | None") -> Iterator[Row]:
        """The rows of images, by their places in the list; heat maps are drawn on the way."""
        names = [self.images.names[place] for place in places]
        files = [self.images.files[place] for place in places]
        repeated = self.images.repeated()
        scored = self.ensemble.score(
            names, files, batch_size=self.config.batch_size, workers=self.config.workers
        )
        many = len(places) > FEW
        with self.reporter.steps("scoring", len(places), summary=many) as advance:
            for one in scored:
                row = one.row
                if row.path in repeated:
                    told = f"given {repeated[row.path]} times"
                    row = replace(row, warning="; ".join(filter(None, (row.warning, told))))
                if heatmaps is not None and one.pixels is not None:
                    heatmaps.draw(places[one.index], files[one.index], one.pixels, row)
                yield row
                advance(1)

    def heatmaps(self) -> "Heatmaps | None":
        """What draws the heat maps, where they are asked for."""
        if self.config.heatmaps is None or self.run is None:
            return None
        from cxrtool.workflows.predict_heatmaps import open_heatmaps

        first = self.place[0] == 0
        return open_heatmaps(self.config, self.run, self.ensemble, self.reporter, first=first)

    def result(
        self, *, scored: int, failed: int, seconds: float, drawn: int, rows: Sequence[Row] = ()
    ) -> PredictResult:
        """What came of it, after so many images were scored (all, but for a resumed table)."""
        engine = self.ensemble.members[0].engine
        return PredictResult(
            model=self.ensemble.name,
            labels=self.ensemble.labels,
            thresholds=self.ensemble.thresholds,
            rows=list(rows),
            images=len(self.images),
            failed=failed,
            seconds=seconds,
            images_per_second=scored / seconds,
            output=self.config.output,
            engine={
                "name": engine.name,
                "device": engine.device,
                "precision": engine.precision,
            },
            exact=self.ensemble.exact,
            heatmaps=self.config.heatmaps,
            drawn=drawn,
            writes=self.place[0] == 0,
        )


def _pass_on(work: _Work) -> PredictResult:
    """Score everything; rows go to the listener, or are kept."""
    kept: list[Row] = []
    take = kept.append if work.listener is None else work.listener.row
    heatmaps = work.heatmaps()
    failed = 0
    if work.listener is not None:
        work.listener.begin(work.ensemble, len(work.images))
    started = time.perf_counter()
    for row in work.rows(range(len(work.images)), heatmaps):
        failed += bool(row.error)
        take(row)
    seconds = time.perf_counter() - started
    return work.result(
        scored=len(work.images),
        failed=failed,
        seconds=seconds,
        drawn=0 if heatmaps is None else heatmaps.drawn,
        rows=kept,
    )


def _write(work: _Work, output: Path) -> PredictResult:
    """Score what is not done, keeping a journal, and write the table."""
    journal = Journal(output, _made_with(work.ensemble), work.ensemble.labels)
    rank, world = work.place
    heatmaps = work.heatmaps()
    if rank == 0:
        if not work.config.resume:
            journal.remove()
        elif output.exists() and not journal.files:
            _take_over(work, journal, output)
    work.wait()
    journal.read()
    todo = [at for at, name in enumerate(work.images.names) if not journal.done(name)]
    if work.config.resume:
        done = len(work.images) - len(todo)
        work.reporter.note(f"{done:,} of {len(work.images):,} images are done")
    started = time.perf_counter()
    try:
        with journal.writing(rank) as write:
            for row in work.rows(todo[rank::world], heatmaps):
                write(row)
    except KeyboardInterrupt:
        raise StoppedError(
            f"stopped after {len(journal):,} of {len(work.images):,} images; the same command "
            "with --resume goes on"
        ) from None
    work.wait()
    seconds = time.perf_counter() - started
    failed = 0
    if rank == 0:
        journal.read()
        rows = journal.rows(work.images.names)
        try:
            write_rows(rows, output, work.ensemble.labels, exact=work.ensemble.exact)
        except OSError as error:
            raise DataError(
                f"{output}: {error.strerror}; all rows are kept, and --resume writes them"
            ) from None
        failed = sum(not journal.done(name) for name in work.images.names)
        journal.remove()
    return work.result(
        scored=len(todo),
        failed=failed,
        seconds=seconds,
        drawn=0 if heatmaps is None else heatmaps.drawn,
    )


def _made_with(ensemble: Ensemble) -> dict[str, str]:
    """What rows must have been made with to stand in one table."""
    thresholds = json.dumps(ensemble.thresholds, sort_keys=True)
    return {
        "model": " + ".join(member.fingerprint for member in ensemble.members),
        "engine": ", ".join(member.told for member in ensemble.members),
        "set of thresholds": hashlib.sha256(thresholds.encode()).hexdigest(),
        "--tta": "on" if ensemble.tta else "off",
    }


def _take_over(work: _Work, journal: Journal, output: Path) -> None:
    """Put a finished table's rows into the journal, if this model made them.

    Raises:
        DataError: it did not, or it is another table.
    """
    ensemble = work.ensemble
    files = dict(zip(work.images.names, work.images.files, strict=True))
    sample: list[Row] = []
    try:
        with journal.writing("before") as write:
            for row in read_rows(output, ensemble.labels):
                decided = decide(row.scores or (), ensemble.labels, ensemble.thresholds)
                if row.scores is not None and row.positive != decided:
                    raise DataError(
                        f"{output}: {row.path} was decided by other thresholds: --resume goes on "
                        "with the same ones, --force begins anew"
                    )
                if row.path in files:
                    sample += [row] * (row.scores is not None and len(sample) < SAMPLE)
                    write(row)
            names = [row.path for row in sample]
            again = ensemble.score(names, [files[name] for name in names], workers=0)
            for row, one in zip(sample, again, strict=True):
                _compare(output, row, one.row)
    except CxrToolError:
        journal.remove()
        raise


def _compare(output: Path, row: Row, again: Row) -> None:
    if again.scores is None or row.scores is None:  # the image is gone; its row stays
        return
    apart = max(abs(a - b) for a, b in zip(again.scores, row.scores, strict=True))
    if apart > TOLERANCE:
        raise DataError(
            f"{output}: this model gives {row.path} other probabilities (up to {apart:.2f} apart): "
            "--resume goes on with the same model, --force begins anew"
        )
