"""`export`: a run to one ONNX file that needs neither torch nor cxrtool, checked beforehand."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool import __version__
from cxrtool.core.config import ExportConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, RunError, UsageError, counted
from cxrtool.core.files import check_writable, refuse_existing, whole_file
from cxrtool.core.json_files import FORMAT, JsonResult, seal_of
from cxrtool.core.run_cards import RunCard, read_card, sampling_remark
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import Metrics, read_as
from cxrtool.core.workspace import Workspace
from cxrtool.data.logits import probabilities_of
from cxrtool.data.provenance import data_of_run
from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring
from cxrtool.images.resizing import squish
from cxrtool.inference.engines.exported import KEY
from cxrtool.inference.engines.onnx_file import fingerprint_of
from cxrtool.inference.inputs import list_images
from cxrtool.inference.scorer import EXPORTED
from cxrtool.networks.published_runs import run_of

NEEDED = ("onnx", "onnxscript", "onnxruntime")
IMAGES = 16
"""Real ones that the graph is compared with the run on."""
TOLERANCE = 1e-4
"""The largest difference of a probability from fp32 torch's."""
NOTICE = "Research software, not a medical device. No clinical decision may rest on it."


@dataclass(frozen=True)
class ExportResult(JsonResult):
    """An exported model, and how it was checked."""

    run: str
    output: Path
    bytes: int
    images: int
    """On how many it was compared with the run."""
    difference: float
    """The largest of a probability."""
    labels: tuple[str, ...]
    image_size: int
    seconds: float


def export_run(
    config: ExportConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> ExportResult:
    """Write a run as one ONNX file, compared with the run before it gets its name.

    Its input `images` is grey bytes (n, image_size, image_size), its outputs are `probabilities`
    and `logits`, both (n, labels).

    Raises:
        RunError: no such run, an altered one, no image to check with, or a graph that gives other
            probabilities: nothing is written then.
        DataError: the file exists, or an image to check with cannot be read.
        UsageError: what it needs is not installed, or the file's name does not end in .onnx.
    """
    started = time.perf_counter()
    run = run_of(workspace.runs, config.run, reporter)
    output = config.output or Path(f"{run.name}{EXPORTED}")
    if output.suffix.lower() != EXPORTED:
        raise UsageError(f"--output {output}: end it in {EXPORTED}")
    refuse_existing(output, force=config.force, what="it")
    check_writable(output)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"export needs {', '.join(missing)}: `pip install 'cxrtool[export]'` adds it"
        )
    card = read_card(run)
    pixels = _real_images(config, card, workspace)
    with reporter.busy("loading torch"):
        from cxrtool.inference.engines.graphs import convert_onnx
    with whole_file(output) as temporary:
        with reporter.busy("exporting"):
            convert_onnx(run, card, temporary)
            _describe(temporary, _metadata(run, card))
        with reporter.busy(f"checking on {counted(len(pixels), 'image')}"):
            difference = _largest_difference(temporary, run, card, pixels)
        if not difference <= TOLERANCE:
            raise RunError(
                f"{run.name}: the exported graph gives other probabilities than the run, up to "
                f"{difference:.1e} apart (at most {TOLERANCE:.0e} is accepted): it was not written"
            )
        size = temporary.stat().st_size
    return ExportResult(
        run=run.name,
        output=output,
        bytes=size,
        images=len(pixels),
        difference=difference,
        labels=card.labels,
        image_size=card.image_size,
        seconds=time.perf_counter() - started,
    )


def _real_images(config: ExportConfig, card: RunCard, workspace: Workspace) -> NDArray[np.uint8]:
    """Those named, or some of valid, as the network sees them: (n, image_size, image_size)."""

    def seen(file: Path) -> NDArray[np.uint8]:
        return squish(read_for_scoring(file)[0], *card.image_sizes)

    if config.check:
        files = list_images([str(path) for path in config.check]).files[:IMAGES]
        return np.stack([seen(Path(file)) for file in files])
    found: list[NDArray[np.uint8]] = []
    for file in _valid_images(card, workspace):
        with suppress(ImageError):
            found.append(seen(file))
        if len(found) == IMAGES:
            break
    if not found:
        raise RunError(
            "there is no image of the valid part to compare the graph with the run on: name some "
            "with --check FILE or FOLDER"
        )
    return np.stack(found)


def _valid_images(card: RunCard, workspace: Workspace) -> Iterator[Path]:
    """The files of the run's valid part, as far as this workspace has them."""
    from cxrtool.data.manifest import read_manifest, read_split

    try:
        folder = workspace.read_data_info().folder
        manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
        split = read_split(workspace.need(workspace.split, "split"), manifest, card.fold)
    except DataError:
        return
    for path in manifest["path"][split == "valid"]:
        yield folder / path


def _metadata(run: RunFolder, card: RunCard) -> dict[str, Any]:
    """What the file says of itself: nothing of patients, and no path of this machine."""
    scored = run.metrics("test")
    metrics = read_as(scored, Metrics) if scored.is_file() else None
    data = data_of_run(run)
    return {
        "format": FORMAT,
        "cxrtool": __version__,
        "run": run.name,
        "arch": card.arch,
        "labels": list(card.labels),
        "thresholds": card.thresholds,
        "operating_point": card.operating_point,
        "calibration": card.calibration,
        "without": card.without,
        "chosen_on": card.chosen_on,
        "family": card.family,
        "certificates": {label: one.model_dump() for label, one in card.certificates.items()},
        "triage": None if card.triage is None else card.triage.model_dump(mode="json"),
        "sampling_remark": sampling_remark(run, card),
        "uncertainty": card.uncertainty,
        "blank": card.blank,
        "squish": list(card.image_sizes),
        "pixel_mean": card.pixel_mean,
        "pixel_std": card.pixel_std,
        "weights_sha256": card.weights_sha256,
        "train_patients": card.cohort.train,
        "train_data": {name: data.get(name) for name in ("origin", "description")},
        "test_data": metrics and metrics.data,
        "test_mean_auroc": metrics and metrics.mean_auroc,
        "test_protocol": metrics and metrics.protocol,
        "notice": NOTICE,
    }


def _describe(path: Path, about: dict[str, Any]) -> None:
    """Put a graph's metadata into its file."""
    import onnx

    model = onnx.load(path)
    model.producer_name, model.producer_version = "cxrtool", __version__
    model.doc_string = (
        "images: grey bytes (n, side, side), squished to the square with antialiasing; "
        f"probabilities: (n, labels), not calibrated; logits: their log odds. {NOTICE}"
    )
    graph = hashlib.sha256(model.graph.SerializeToString()).hexdigest()
    bound = {**about, "graph_sha256": graph, "model_sha256": fingerprint_of(model)}
    entry = model.metadata_props.add()
    entry.key = KEY
    entry.value = json.dumps({**bound, "sealed": seal_of(bound)}, allow_nan=False)
    onnx.save_model(model, path)


def _largest_difference(
    path: Path, run: RunFolder, card: RunCard, pixels: NDArray[np.uint8]
) -> float:
    """How far a graph's probabilities are from fp32 torch's, one image at a time and together."""
    from cxrtool.inference.engines.graph_files import read_graph
    from cxrtool.inference.engines.graphs import load_scoring, torch_probabilities
    from cxrtool.inference.engines.onnx_engine import OnnxEngine

    expected = torch_probabilities(load_scoring(run, card), pixels)
    engine = OnnxEngine(read_graph(path))
    together, alone = engine.submit(pixels)(), [engine.submit(one[None])() for one in pixels]
    found = [probabilities_of(logits) for logits in (together, np.concatenate(alone))]
    found.append(engine.probabilities(pixels).astype(np.float64))
    return float(max(np.abs(scores - expected).max() for scores in found))
