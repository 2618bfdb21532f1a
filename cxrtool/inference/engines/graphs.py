"""A network's graph for OpenVINO or as ONNX: made with torch, checked against it."""

import errno
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrtool.core.errors import RunError
from cxrtool.core.hardware import native_bf16
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.data.logits import probabilities_of
from cxrtool.inference.engines.base import Engine, Pixels
from cxrtool.inference.engines.graph_files import read_graph
from cxrtool.inference.engines.onnx_engine import (
    INPUT,
    LOGITS,
    OUTPUT,
    OnnxEngine,
    import_onnxruntime,
)
from cxrtool.inference.engines.openvino_engine import OpenVinoEngine, import_openvino
from cxrtool.inference.engines.torch_engine import Scoring
from cxrtool.networks.trained import load_network


class _Told(nn.Module):
    """A graph's two outputs: probabilities, for other programs, and logits, for ranks."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__()
        self.scoring = scoring

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both (n, labels), float32, of grey images (n, image_size, image_size), uint8."""
        logits = self.scoring(images)
        return torch.sigmoid(logits), logits


TOLERANCES = {"fp32": 1e-3, "bf16": 0.2}
"""The largest difference of a probability between a graph that is kept and fp32 torch: bf16 is off
by some thousandths, in a Swin V2 by some hundredths; a graph that it spoils, by more."""


def convert_openvino(run: RunFolder, card: RunCard, path: Path) -> None:
    """Write a run's graph in OpenVINO's form, .xml with its weights beside it.

    Raises:
        RunError: the weights do not fit, or the graph does not score as torch does.
    """
    openvino = import_openvino()
    scoring = load_scoring(run, card)
    image_size = card.image_size
    with _quiet(), torch.inference_mode():
        # Traced here: OpenVINO's own way traces with torch's check, three runs more.
        traced = torch.jit.trace(_Told(scoring).eval(), _example(image_size), check_trace=False)  # type: ignore[no-untyped-call]
        shape = openvino.PartialShape([-1, image_size, image_size])
        model = openvino.convert_model(traced, example_input=_example(image_size), input=[shape])
        with _disk_errors(path):
            openvino.save_model(model, str(path), compress_to_fp16=False)
    for precision in ("fp32", "bf16") if native_bf16() else ("fp32",):
        _check(OpenVinoEngine(read_graph(path), precision=precision), scoring, run, image_size)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """What OpenVINO raises on a full disk speaks of its streams: an OSError, as of other files."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EIO, f"OpenVINO could not write it ({error})", str(path)) from None


def convert_onnx(run: RunFolder, card: RunCard, path: Path) -> None:
    """Write a run's graph as ONNX, in one file, and nothing in it of where it was made.

    Raises:
        RunError: the weights do not fit, or the graph does not score as torch does.
    """
    import_onnxruntime()  # before the exporter could import it: see there
    import onnx

    scoring = load_scoring(run, card)
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            _Told(scoring).eval(),
            (_example(card.image_size),),
            input_names=[INPUT],
            output_names=[OUTPUT, LOGITS],
            dynamic_shapes={INPUT: {0: torch.export.Dim("n")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_where_made(model)
    onnx.save_model(model, path)
    _check(OnnxEngine(read_graph(path)), scoring, run, card.image_size)


def load_scoring(run: RunFolder, card: RunCard) -> Scoring:
    """A run's network on the CPU, in fp32, with what comes before and after it."""
    network = load_network(run, card, "cpu")
    return Scoring(network, card.pixel_mean, card.pixel_std).eval()


def torch_probabilities(scoring: Scoring, pixels: Pixels) -> NDArray[np.float64]:
    """What an engine's probabilities are compared with: fp32 torch's on the CPU."""
    with torch.inference_mode():
        return probabilities_of(scoring(torch.as_tensor(pixels)).numpy())


def _example(image_size: int) -> torch.Tensor:
    """Two images: of a batch of one some exporters take the size for fixed."""
    return torch.zeros(2, image_size, image_size, dtype=torch.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters print and warn of to themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _forget_where_made(message: Any) -> None:
    """Clear the exporter's notes in a protobuf, down to its leaves: stack traces with paths."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                _forget_where_made(part)


def _check(engine: Engine, scoring: Scoring, run: RunFolder, image_size: int) -> None:
    """Hold a new graph against torch, on batches of three sizes.

    Raises:
        RunError: it gives other probabilities.
    """
    for count in (3, 1, 2):
        pixels = _drawings(count, image_size)
        expected = torch_probabilities(scoring, pixels)
        found = probabilities_of(engine.submit(pixels)())
        most = TOLERANCES[engine.precision]
        if found.shape != expected.shape or not np.abs(found - expected).max() <= most:
            raise RunError(
                f"{run.name}: its graph for {engine.name} does not score as torch does "
                f"({engine.precision}): use --engine torch"
            )


def _drawings(count: int, image_size: int) -> Pixels:
    """A bright disc, a ramp and noise: (count, image_size, image_size)."""
    rows, columns = np.mgrid[:image_size, :image_size] / image_size
    disc = 255.0 * ((rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.1)
    noise = np.random.default_rng(0).uniform(0, 255, (image_size, image_size))
    return np.stack([disc, 255 * rows, noise][:count]).astype(np.uint8)
