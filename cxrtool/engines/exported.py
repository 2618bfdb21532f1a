"""An exported model: an ONNX file that says in its metadata what it is. No torch, no pickle."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrtool.engines.base import Engine
from cxrtool.engines.choose import (
    RUNTIMES,
    are_installed,
    check_engine,
    graph_precision,
    open_graph,
)
from cxrtool.engines.onnx_file import parse_onnx
from cxrtool.errors import RunError, UsageError

KEY = "cxrtool"
"""Under which the metadata holds one JSON object."""
FORMAT = 1
NOTICE = "Research software, not a medical device."


@dataclass(frozen=True, kw_only=True)
class ExportedCard:
    """What an exported model says of itself."""

    name: str
    """Of the run that it was exported from."""
    arch: str
    labels: tuple[str, ...]
    squish: tuple[int, ...]
    """The squares that an image is squished to in turn; the last is the graph's input."""
    thresholds: dict[str, float | None]
    """Each label's, on the scale of what the graph gives."""
    operating_point: str
    calibration: dict[str, Any] | None
    """As a run stores it."""
    uncertainty: str
    blank: str
    test_mean_auroc: float | None
    format: int
    sha256: str
    """Of the file."""
    told: dict[str, Any]
    """The whole of the metadata."""


def read_exported(path: Path) -> ExportedCard:
    """Read what an exported model says of itself, and check its graph against its fingerprint.

    Raises:
        RunError: the file is missing, is no ONNX model, not one of ours, altered, or of another
            format than this version's.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    found = parse_onnx(content, path)
    if KEY not in found.metadata:
        raise RunError(
            f"{path} is an ONNX file that `cxrtool export` did not make (its metadata have no "
            f"{KEY!r}): what its inputs and outputs mean is not known. Export a run"
        )
    try:
        told = json.loads(found.metadata[KEY])
        if told["format"] != FORMAT:
            raise RunError(
                f"{path} has format {told['format']!r}, this version of cxrtool reads format "
                f"{FORMAT}: use the version that wrote it, or export again"
            )
        card = _card(told, hashlib.sha256(content).hexdigest())
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: its metadata were altered ({error}): export it again") from None
    if hashlib.sha256(found.graph).hexdigest() != told.get("graph_sha256"):
        raise RunError(
            f"{path} is not the file that was exported (the SHA-256 of its graph differs from the "
            "one in its metadata): copy it or export it again"
        )
    return card


def _card(told: dict[str, Any], sha256: str) -> ExportedCard:
    labels = tuple(str(label) for label in told["labels"])
    score = told.get("test_mean_auroc")
    card = ExportedCard(
        name=str(told["name"]),
        arch=str(told["arch"]),
        labels=labels,
        squish=tuple(int(side) for side in told["squish"]),
        thresholds={label: told["thresholds"][label] for label in labels},
        operating_point=str(told["operating_point"]),
        calibration=told["calibration"],
        uncertainty=str(told["uncertainty"]),
        blank=str(told["blank"]),
        test_mean_auroc=None if score is None else float(score),
        format=int(told["format"]),
        sha256=sha256,
        told=told,
    )
    # As in a run: just above the highest score, where nobody shall be positive.
    for label, value in card.thresholds.items():
        if value is not None and not 0 <= float(value) <= math.nextafter(1, 2):
            raise ValueError(f"the threshold of {label} is {value}")
    if not labels or len(set(labels)) != len(labels):
        raise ValueError(f"labels {labels}")
    if not card.squish or min(card.squish) < 1:
        raise ValueError(f"squish {card.squish}")
    return card


def load_exported(
    path: Path,
    card: ExportedCard,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    images: int | None = None,
) -> Engine:
    """An exported model on OpenVINO, where that is installed, or ONNX Runtime.

    Args:
        path: the file, and `card` what `read_exported` gave of it.
        engine: auto, openvino or onnxruntime.
        device: auto or cpu.
        precision: auto, fp32, or with OpenVINO bf16.
        images: how many are to be scored, where that is known.

    Raises:
        RunError: the graph cannot be loaded.
        UsageError: neither engine is installed, or not the one named; or they do not compute on
            that device or in that precision.
    """
    chosen = engine if engine != "auto" else _fastest()
    if chosen == "torch":
        raise UsageError(
            f"--engine torch: {path} is an exported model, which runs on openvino or onnxruntime"
        )
    check_engine(chosen, device, RUNTIMES[chosen])
    computed = graph_precision(chosen, precision)
    try:
        return open_graph(path, chosen, computed, images)
    # Each library has errors of its own for a graph that it is too old for.
    except Exception as error:
        raise RunError(
            f"{path}: {chosen} cannot load it ({' '.join(str(error).split())}): upgrade {chosen}, "
            "or take another --engine"
        ) from None


def _fastest() -> str:
    """Of the engines for exported models that are installed, the faster."""
    there = [name for name, packages in RUNTIMES.items() if are_installed(packages)]
    if not there:
        raise UsageError(
            "an exported model needs OpenVINO or ONNX Runtime, and neither is installed: "
            "`pip install 'cxrtool[cpu]'` adds the faster of the two"
        )
    return there[0]
