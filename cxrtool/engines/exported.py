"""An exported model: an ONNX file that says in its metadata what it is. No torch, no pickle."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cxrtool.engines.base import FASTEST, Compute, Engine
from cxrtool.engines.choose import check_engine, graph_precision, open_graph
from cxrtool.engines.onnx_engine import INPUT, OUTPUT
from cxrtool.engines.onnx_file import OnnxFile, parse_onnx
from cxrtool.errors import RunError, UsageError
from cxrtool.report import SILENT, Reporter

KEY = "cxrtool"
"""Under which the metadata holds one JSON object."""
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ExportedCard:
    """What an exported model says of itself."""

    labels: tuple[str, ...]
    squish: tuple[int, ...]
    """The squares that an image is squished to in turn; the last is the graph's input."""
    thresholds: dict[str, float | None]
    """Each label's, on the scale of what the graph gives."""
    calibration: dict[str, Any] | None
    """As a run stores it."""
    sha256: str
    """Of the file."""
    about: dict[str, Any]
    """All that its metadata has: the run's name, test AUROC, ..."""


def read_exported(path: Path) -> ExportedCard:
    """Read what an exported model says of itself, and check that its graph goes with it.

    Raises:
        RunError: the file is missing, is no ONNX model, not one of ours, altered, or of another
            format than this version's.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    found = parse_onnx(content, path)
    if KEY not in found.metadata:
        raise RunError(
            f"{path} is an ONNX file, but none of cxrtool's (its metadata has no {KEY}): what it "
            "takes and gives is not known. Give one that `cxrtool export` made"
        )
    try:
        about = json.loads(found.metadata[KEY])
        written_as = about["format"]
        card = _card(about, hashlib.sha256(content).hexdigest())
        altered = hashlib.sha256(found.graph).hexdigest() != about["graph_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: its metadata was altered ({error}): export it again") from None
    if written_as != FORMAT:
        raise RunError(
            f"{path} has format {written_as!r}, this version of cxrtool reads format {FORMAT}: "
            "use the version that wrote it, or export the run again"
        )
    if altered:
        raise RunError(
            f"{path} is not as it was exported (its graph's SHA-256 differs from the one in its "
            "metadata): copy it again, or export the run again"
        )
    _check_shapes(found, card, path)
    return card


def _card(about: dict[str, Any], sha256: str) -> ExportedCard:
    labels = tuple(str(label) for label in about["labels"])
    card = ExportedCard(
        labels=labels,
        squish=tuple(int(side) for side in about["squish"]),
        thresholds={label: about["thresholds"][label] for label in labels},
        calibration=about["calibration"],
        sha256=sha256,
        about=about,
    )
    # As in a run: just above the highest score, where nobody shall be positive.
    for label, value in card.thresholds.items():
        if value is not None and not 0 <= float(value) <= math.nextafter(1, 2):
            raise ValueError(f"the threshold of {label} is {value}")
    if len(set(labels)) != len(labels):
        raise ValueError(f"a label twice in {labels}")
    if not card.squish or min(card.squish) < 1:
        raise ValueError(f"squish {card.squish}")
    return card


def _check_shapes(found: OnnxFile, card: ExportedCard, path: Path) -> None:
    side, labels = card.squish[-1], len(card.labels)
    if found.inputs != {INPUT: (None, side, side)}:
        raise RunError(
            f"{path} cannot be loaded: its graph takes {found.inputs}, by its metadata {INPUT} "
            f"(n, {side}, {side}): export it again"
        )
    if found.outputs != {OUTPUT: (None, labels)}:
        raise RunError(
            f"{path} gives {found.outputs}, by its metadata {OUTPUT} of {labels} labels: "
            "export it again"
        )


def load_exported(path: Path, compute: Compute = FASTEST, reporter: Reporter = SILENT) -> Engine:
    """An exported model on OpenVINO, where that is installed, or ONNX Runtime.

    Args:
        path: a file that `read_exported` has read.
        compute: with what.
        reporter: told where a faster engine could be had.

    Raises:
        RunError: the graph cannot be loaded.
        UsageError: neither engine is installed, or not the one named; or they do not compute on
            that device or in that precision.
    """
    chosen = compute.engine if compute.engine != "auto" else _fastest(reporter)
    if chosen == "torch":
        raise UsageError(
            f"--engine torch needs the run: {path} is an exported model, for openvino or "
            "onnxruntime"
        )
    check_engine(replace(compute, engine=chosen), [chosen])
    computed = graph_precision(chosen, compute.precision)
    try:
        return open_graph(path, chosen, computed, compute.images)
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
