"""`predict`: images and a model to a row of probabilities and decisions an image. No fastai.

Rows are made in order, and written as they are made; what is in memory does not grow with them.
torch is imported by the engine that needs it, and by nothing else here.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cxrtool.core.config import SR_CLASSES, PredictConfig, options_of, worker_count
from cxrtool.core.console import SILENT, Mute, Reporter
from cxrtool.core.errors import UsageError, counted
from cxrtool.core.files import check_writable
from cxrtool.core.locks import only_writer
from cxrtool.core.marked_folders import make_room
from cxrtool.core.private_folder import private_folder
from cxrtool.core.workspace import Workspace
from cxrtool.data.prediction_rows import Row, kind_of
from cxrtool.evaluation.decisions import threshold_warnings, without_verdict
from cxrtool.evaluation.sample import check_unit
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.inputs import Inputs, list_images
from cxrtool.inference.journal import check_begun
from cxrtool.inference.more_columns import columns_asked
from cxrtool.inference.scorer import is_exported, load_model
from cxrtool.inference.sources import DICOMWEB
from cxrtool.inference.studies import find_studies, unknown_studies
from cxrtool.inference.study_sink import StudySink
from cxrtool.inference.table import write_table
from cxrtool.inference.work import Listener, PredictResult, Work
from cxrtool.networks.published_runs import run_of
from cxrtool.pacs import DICOM_MARK, why_absent
from cxrtool.pacs.trust import check_tls, is_https

if TYPE_CHECKING:
    from cxrtool.core.processes import Processes
    from cxrtool.pacs.destinations import Destination


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
        _check_options(config, workspace)
        destinations = _destinations(config, inputs)
        models = [None] if config.run is None else list(dict.fromkeys(config.run))
        # Before minutes are spent on anything else.
        runs = [
            None if is_exported(workspace.runs, one) else run_of(workspace.runs, one, reporter)
            for one in models
        ]
        if config.output is not None:
            check_writable(config.output)
            if processes is None or processes.first:
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
        told = reporter if processes is None or processes.first else Mute()
        images = _images(config, inputs, told, stack, processes)
        if images.passed_over:
            told.note(images.others())
        studies = find_studies(images, config.workers) if config.unit == "study" else None
        every, images = images, images if studies is None else studies.frontal
        compute = Compute(
            engine=config.engine,
            device=_device(config.device, processes),
            precision=config.precision,
            images=len(images),
        )
        members = tuple(load_model(workspace.runs, one, compute, told) for one in models)
        ensemble = Ensemble(members=members, tta=config.tta)
        work = Work(
            config=config,
            images=images,
            ensemble=ensemble,
            run=runs[0],
            reporter=told,
            listener=listener,
            processes=processes,
            more=columns_asked(ensemble, ids=config.ids, provenance=config.provenance),
            studies=studies,
            sink=_sink(config, workspace, models, ensemble, every, images, told, destinations),
        )
        _tell(work)
        return _pass_on(work) if config.output is None else write_table(work, config.output)


def _images(
    config: PredictConfig,
    inputs: Sequence[str],
    reporter: Reporter,
    stack: ExitStack,
    processes: "Processes | None",
) -> Inputs:
    """The images on this machine, or those of archives, which are fetched as they are needed.

    Raises:
        DataError, UsageError: as `list_images`, `web_archives` and `find_web_images`.
    """
    if not any(text.startswith(DICOMWEB) for text in inputs):
        if config.query is not None:
            raise UsageError(f"--query is for an archive: {DICOMWEB}https://HOST/dicom-web")
        return list_images(inputs, config.split)
    if processes is not None:
        raise UsageError("an archive may answer each process otherwise: start without torchrun")
    from cxrtool.pacs.dicomweb_query import parse_query
    from cxrtool.pacs.web_images import find_web_images, web_archives

    archives = web_archives(config, inputs)
    queries = [parse_query(text) for text in config.query or ()]
    folder = stack.enter_context(private_folder("images"))
    return find_web_images(archives, queries, folder, reporter)


def _destinations(config: PredictConfig, inputs: Sequence[str]) -> "Sequence[Destination]":
    """The archives that results are sent to.

    Raises:
        UsageError, DataError: as `destinations_of` and `check_tls`.
    """
    sources = [text.removeprefix(DICOMWEB) for text in inputs if text.startswith(DICOMWEB)]
    if config.to:
        from cxrtool.pacs.destinations import destinations_of

        return destinations_of(config, sources)
    check_tls(config, [is_https(url) for url in sources])
    return ()


def _sink(
    config: PredictConfig,
    workspace: Workspace,
    models: Sequence[str | None],
    ensemble: Ensemble,
    every: Inputs,
    images: Inputs,
    reporter: Reporter,
    destinations: "Sequence[Destination]",
) -> StudySink | None:
    """What makes DICOM results of all inputs' studies, of which `images` are scored."""
    if config.dicom is None:
        return None
    from cxrtool.pacs.predicted_studies import PredictedStudies
    from cxrtool.pacs.result_folders import ResultFolders
    from cxrtool.pacs.result_sender import ResultSender
    from cxrtool.pacs.study_scorer import study_scorer_of

    folders = ResultFolders(
        folder=config.dicom, sr_class=config.sr_class, presentation=config.presentation_states
    )
    scorer = study_scorer_of(workspace.runs, models, ensemble, reporter)
    if scorer.without_maps:
        reporter.warn(f"pictures without heat maps, and no marks: {scorer.without_maps}")
    sender = ResultSender(destinations, config.dicom, reporter) if destinations else None
    return PredictedStudies(scorer, folders, every, images.names, reporter, config.workers, sender)


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
    _check_dicom(config)
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


def _check_dicom(config: PredictConfig) -> None:
    if not config.to:
        if config.archive_tls:
            raise UsageError("--archive-tls goes with --to AE@HOST:PORT")
        if config.ae != options_of(PredictConfig)["ae"].default:
            raise UsageError("--ae goes with --to AE@HOST:PORT")
    if config.dicom is None:
        if config.to:
            raise UsageError("--to sends the results of --dicom DIR, which stay there")
        if config.presentation_states:
            raise UsageError("--presentation-states goes with --dicom DIR")
        if config.sr_class != SR_CLASSES[0]:
            raise UsageError("--sr-class goes with --dicom DIR")
    elif absent := why_absent():
        raise UsageError(f"--dicom: {absent}")
    elif os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            "--dicom: the images of a study must be scored by one process, not by several"
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
