"""`predict`: images and a model to a row of probabilities and decisions an image. No fastai.

Rows are made in order, and written as they are made; what is in memory does not grow with them.
torch is imported by the engine that needs it, and by nothing else here.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cxrtool.core.config import PredictConfig, worker_count
from cxrtool.core.console import SILENT, Mute, Reporter
from cxrtool.core.errors import UsageError, counted
from cxrtool.core.files import check_writable
from cxrtool.core.locks import only_writer
from cxrtool.core.marked_folders import make_room
from cxrtool.core.workspace import Workspace
from cxrtool.data.prediction_rows import Row, kind_of
from cxrtool.evaluation.decisions import threshold_warnings, without_verdict
from cxrtool.evaluation.sample import check_unit
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.journal import check_begun
from cxrtool.inference.more_columns import columns_asked
from cxrtool.inference.scorer import is_exported, load_model
from cxrtool.inference.studies import find_studies, unknown_studies
from cxrtool.inference.table import write_table
from cxrtool.inference.work import Listener, PredictResult, Work
from cxrtool.networks.published_runs import run_of
from cxrtool.pacs import DICOM_MARK
from cxrtool.pacs.predict_parts import (
    archives_of_results,
    check_results,
    images_of,
    sink_of_results,
)

if TYPE_CHECKING:
    from cxrtool.core.processes import Processes


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
        inputs: as `list_images` takes them, or archives (`dicomweb:URL`), of which
            `config.query` says which images.
        workspace: where runs are looked for by name.
        reporter: told how it goes.
        listener: told of each row as it is made, in place of keeping them.

    Raises:
        DataError: an input that is nothing at all, an output that exists or that another process
            is writing, or a full disk.
        RunError: no such run, or it is incomplete or altered.
        UsageError: options that do not go together.
        StoppedError: Ctrl-C, while a table was being written; it can be resumed.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(_processes(config))
        first = processes is None or processes.first
        _check_options(config, workspace)
        destinations = archives_of_results(config, inputs)
        models = [None] if config.run is None else list(dict.fromkeys(config.run))
        # Before minutes are spent on anything else.
        runs = [
            None if is_exported(workspace.runs, one) else run_of(workspace.runs, one, reporter)
            for one in models
        ]
        _make_room(config, stack, first=first)
        told = reporter if first else Mute()
        images = images_of(config, inputs, told, stack, alone=processes is None)
        if images.passed_over:
            told.note(images.others())
        studies = find_studies(images, config.workers) if config.unit == "study" else None
        scored = images if studies is None else studies.frontal
        ensemble = _load(config, models, workspace, told, processes, len(scored))
        sink = sink_of_results(
            config, workspace, models, ensemble, images, scored, told, destinations
        )
        work = Work(
            config=config,
            images=scored,
            ensemble=ensemble,
            run=runs[0],
            reporter=told,
            listener=listener,
            processes=processes,
            more=columns_asked(ensemble, ids=config.ids, provenance=config.provenance),
            studies=studies,
            sink=sink,
        )
        _tell(work)
        return _pass_on(work) if config.output is None else write_table(work, config.output)


def _make_room(config: PredictConfig, stack: ExitStack, *, first: bool) -> None:
    """Have the places of what is written for this process alone, and empty but for what it resumes.

    Raises:
        DataError: something is there, another process writes it, or it cannot be written.
    """
    if config.output is not None:
        check_writable(config.output)
        if first:
            stack.enter_context(only_writer(config.output))
        check_begun(config.output, force=config.force, resume=config.resume)
    if config.dicom is not None:
        make_room(
            config.dicom,
            DICOM_MARK,
            option="--dicom",
            what="DICOM results",
            force=config.force,
            resume=config.resume,
        )


def _load(
    config: PredictConfig,
    models: Sequence[str | None],
    workspace: Workspace,
    reporter: Reporter,
    processes: "Processes | None",
    images: int,
) -> Ensemble:
    """The models, ready to score so many images."""
    compute = Compute(
        engine=config.engine,
        device=_device(config.device, processes),
        precision=config.precision,
        images=images,
    )
    members = tuple(load_model(workspace.runs, one, compute, reporter) for one in models)
    return Ensemble(members=members, tta=config.tta)


def _tell(work: Work) -> None:
    """Say what is about to be done, and with what."""
    config = work.config
    work.more.check(work.ensemble.labels, work.columns)
    if work.studies is not None:
        work.reporter.note(work.studies.told())
        if text := unknown_studies(work.studies):
            work.reporter.warn(text)
    batch = config.batch_size or work.ensemble.batch
    work.reporter.note(f"scoring with {work.ensemble.description}")
    for text in threshold_warnings(work.ensemble.thresholds, work.ensemble.without):
        work.reporter.warn(text)
    for text in work.ensemble.promises:
        work.reporter.note(f"promised: {text}")
    if work.ensemble.lost_promises:
        work.reporter.warn(
            "certified thresholds are those of a model's own scores: of the mean of several models "
            "or views nothing is promised, and there are no verdicts"
        )
    for text in without_verdict(work.ensemble.without_verdict, work.ensemble.labels):
        work.reporter.warn(text)
    work.reporter.detail(
        f"{counted(len(work.images), 'image')} in batches of {batch}, decoded by "
        f"{counted(worker_count(config.workers), 'thread')}"
    )


def _check_options(config: PredictConfig, workspace: Workspace) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        UsageError: they do not.
    """
    check_unit(config.unit, config.aggregate)
    if config.output is not None:
        kind_of(config.output)
        if config.json_lines:
            raise UsageError("--json-lines is for stdout: end --output in .jsonl for a file")
    elif config.resume and config.dicom is None:
        raise UsageError(
            "--resume needs what it resumes: name the table with --output, or the folder of DICOM "
            "results with --dicom"
        )
    check_results(config)
    if config.heatmaps is None:
        if config.heatmap_labels is not None:
            raise UsageError("--heatmap-labels goes with --heatmaps DIR")
    elif config.run is not None and len(config.run) > 1:
        raise UsageError("--heatmaps shows where one network looked: name one --run")
    elif config.run is not None and is_exported(workspace.runs, config.run[0]):
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

    from cxrtool.core.processes import joined, launched, one_voice

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
    from cxrtool.networks.devices import choose_device

    return str(choose_device(name, processes.local_rank))


def _pass_on(work: Work) -> PredictResult:
    """Score everything; rows go to the listener, or are kept."""
    kept: list[Row] = []
    take = kept.append if work.listener is None else work.listener.row
    heatmaps = work.heatmaps()
    places = list(range(len(work.images)))
    if work.config.resume and work.studies is None:  # of DICOM results: no table is resumed
        places = [place for place in places if work.lacks_results(place)]
    if work.listener is not None:
        count = len(places) if work.studies is None else len(work.studies.studies)
        work.listener.begin(work.ensemble, count, work.columns)
    started = time.perf_counter()
    for row in work.told_rows(work.rows(places, heatmaps)):
        take(row)
    seconds = time.perf_counter() - started
    work.tell_collapses()
    return work.result(
        scored=len(places),
        seconds=seconds,
        drawn=0 if heatmaps is None else heatmaps.drawn,
        rows=kept,
    )
