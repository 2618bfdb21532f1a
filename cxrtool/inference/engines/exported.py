"""An exported model: an ONNX file that says in its metadata what it is. No torch, no pickle."""

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.files import open_regular
from cxrtool.core.json_files import seal_of, shortened
from cxrtool.inference.engines.base import FASTEST, Compute, Engine
from cxrtool.inference.engines.choose import check_engine, graph_precision, open_graph
from cxrtool.inference.engines.graph_files import Graph
from cxrtool.inference.engines.onnx_engine import INPUT, LOGITS, OUTPUT
from cxrtool.inference.engines.onnx_file import OnnxFile, parse_onnx

if TYPE_CHECKING:
    from cxrtool.core.schemas import CertificateFacts, ExportedFacts, TriageFacts

KEY = "cxrtool"
"""Under which the metadata holds one JSON object."""
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ExportedCard:
    """What an exported model says of itself."""

    labels: tuple[str, ...]
    image_sizes: tuple[int, ...]
    """The squares that an image is squished to in turn; the last is the graph's input."""
    thresholds: dict[str, float | None]
    """Each label's, on the scale of what the graph gives."""
    calibration: dict[str, Any] | None
    """As a run stores it."""
    without: dict[str, str]
    """Why labels have no threshold, or one that says little."""
    operating_point: str
    """The rule that the thresholds were chosen by."""
    chosen_on: str
    """The images that they were chosen on."""
    family: str | None
    """Of which promises certified ones are."""
    certificates: "dict[str, CertificateFacts]"
    """What is known of certified thresholds."""
    triage: "TriageFacts | None"
    """As a run stores it."""
    sha256: str
    """Of the file."""
    sealed: bool
    """Whether the metadata has a fingerprint; that of version 0.1 has none."""
    graph: Graph
    """What an engine is given: what was read of the file, written anew."""
    about: dict[str, Any]
    """All that its metadata has: the run's name, test AUROC, ..."""


def read_exported(path: Path) -> ExportedCard:
    """Read an exported model and what it says of itself, and check that they go together.

    Raises:
        RunError: the file is missing, is no ONNX model, not one of ours, altered, or of another
            format than this version's.
        UsageError: the package that reads such files is not installed.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    found = parse_onnx(content, path)
    about, facts = _metadata(found, path)
    graph = hashlib.sha256(found.graph).hexdigest()
    if graph != facts.graph_sha256 or facts.model_sha256 not in (None, found.fingerprint):
        raise RunError(
            f"{path} is not as it was exported (its SHA-256 differs from the one in its metadata): "
            "copy it again, or export the run again"
        )
    card = ExportedCard(
        labels=facts.labels,
        image_sizes=facts.squish,
        thresholds={label: facts.thresholds[label] for label in facts.labels},
        calibration=facts.calibration,
        without=facts.without or {},
        operating_point=facts.operating_point,
        chosen_on=facts.chosen_on or "valid",
        family=facts.family,
        certificates=facts.certificates or {},
        triage=facts.triage,
        sha256=hashlib.sha256(content).hexdigest(),
        sealed=facts.sealed is not None,
        graph=Graph(path, found.model),
        about=about,
    )
    _check_shapes(found, card, path)
    return card


def _metadata(found: OnnxFile, path: Path) -> tuple[dict[str, Any], "ExportedFacts"]:
    """What a file says of itself, as JSON and as it should be."""
    from cxrtool.core.schemas import ExportedFacts, checked

    if KEY not in found.metadata:
        raise RunError(
            f"{path} is an ONNX file, but none of cxrtool's (its metadata has no {KEY}): what it "
            "takes and gives is not known. Give one that `cxrtool export` made"
        )
    try:
        about = json.loads(found.metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: its metadata was altered ({error}): export it again") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        written_as = about.get("format") if isinstance(about, dict) else None
        raise RunError(
            f"{path} has format {shortened(written_as)}, this version of cxrtool reads format "
            f"{FORMAT}: use the version that wrote it, or export the run again"
        )
    facts = checked(about, ExportedFacts, f"{path}: its metadata was altered")
    # Files of version 0.1 are without.
    if facts.sealed is not None and facts.sealed != seal_of(about):
        raise RunError(
            f"{path}: its metadata was altered since it was exported (`sealed`): export it again"
        )
    return about, facts


def _check_shapes(found: OnnxFile, card: ExportedCard, path: Path) -> None:
    image_size, labels = card.image_sizes[-1], len(card.labels)
    if found.inputs != {INPUT: (None, image_size, image_size)}:
        raise RunError(
            f"{path} cannot be loaded: its graph takes {found.inputs}, by its metadata {INPUT} "
            f"(n, {image_size}, {image_size}): export it again"
        )
    shape = (None, labels)
    # Those of version 0.1 give probabilities alone.
    if found.outputs not in ({OUTPUT: shape}, {OUTPUT: shape, LOGITS: shape}):
        raise RunError(
            f"{path} gives {found.outputs}, by its metadata {OUTPUT} of {labels} labels: "
            "export it again"
        )


def load_exported(
    card: ExportedCard, compute: Compute = FASTEST, reporter: Reporter = SILENT
) -> Engine:
    """An exported model on OpenVINO, where that is installed, or ONNX Runtime.

    Raises:
        RunError: the graph cannot be loaded.
        UsageError: neither engine is installed, or not the one named; or they do not compute on
            that device or in that precision.
    """
    path = card.graph.path
    chosen = compute.engine if compute.engine != "auto" else _fastest(reporter)
    if chosen == "torch":
        raise UsageError(
            f"--engine torch needs the run: {path} is an exported model, for openvino or "
            "onnxruntime"
        )
    check_engine(replace(compute, engine=chosen), [chosen])
    computed = graph_precision(chosen, compute.precision)
    try:
        return open_graph(card.graph, chosen, computed, compute.images)
    # Each library has errors of its own for a graph that it is too old for.
    except Exception as error:
        raise RunError(
            f"{path}: {chosen} cannot load it ({' '.join(str(error).split())}): upgrade {chosen}, "
            "or take another --engine"
        ) from None


def _fastest(reporter: Reporter) -> str:
    """Of the engines for exported models that are installed, the faster."""
    if find_spec("openvino") is not None:
        return "openvino"
    if find_spec("onnxruntime") is None:
        raise UsageError(
            "an exported model needs OpenVINO or ONNX Runtime, and neither is installed: "
            "`pip install 'cxrtool[cpu]'` adds the faster of the two"
        )
    reporter.detail("OpenVINO is not installed, which would be faster: cxrtool[cpu]")
    return "onnxruntime"
