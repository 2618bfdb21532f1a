"""What `predict` has to do with archives: images that come from one, results that are DICOM.

highdicom and the network's libraries are imported where they are asked for: most predictions need
neither.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cxrtool.core.config import SR_CLASSES, PredictConfig, options_of
from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.private_folder import private_folder
from cxrtool.core.workspace import Workspace
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.inputs import Inputs, list_images
from cxrtool.inference.sources import DICOMWEB
from cxrtool.inference.study_sink import StudySink
from cxrtool.pacs import why_absent
from cxrtool.pacs.trust import check_tls, is_https

if TYPE_CHECKING:
    from cxrtool.pacs.destinations import Destination


def check_results(config: PredictConfig) -> None:
    """Refuse options of DICOM results that do not go together.

    Raises:
        UsageError: they do not, or the libraries are not there.
    """
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


def images_of(
    config: PredictConfig,
    inputs: Sequence[str],
    reporter: Reporter,
    stack: ExitStack,
    *,
    alone: bool,
) -> Inputs:
    """The images on this machine, or those of archives, which are fetched as they are needed.

    Args:
        config: which images of an archive these are, and how it is reached.
        inputs: as they were named.
        reporter: told how it goes.
        stack: keeps the folder of what was fetched for as long as it is needed.
        alone: whether no other process scores the same inputs.

    Raises:
        DataError, UsageError: as `list_images`, `web_archives` and `find_web_images`.
    """
    if not any(text.startswith(DICOMWEB) for text in inputs):
        if config.query is not None:
            raise UsageError(f"--query is for an archive: {DICOMWEB}https://HOST/dicom-web")
        return list_images(inputs, config.split)
    if not alone:
        raise UsageError("an archive may answer each process otherwise: start without torchrun")
    from cxrtool.pacs.dicomweb_query import parse_query
    from cxrtool.pacs.web_images import find_web_images, web_archives

    archives = web_archives(config, inputs)
    queries = [parse_query(text) for text in config.query or ()]
    folder = stack.enter_context(private_folder("images"))
    return find_web_images(archives, queries, folder, reporter)


def archives_of_results(config: PredictConfig, inputs: Sequence[str]) -> "Sequence[Destination]":
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


def sink_of_results(
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
