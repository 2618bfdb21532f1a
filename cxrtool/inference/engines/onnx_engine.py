"""Scoring with ONNX Runtime on the CPU, from an ONNX file. No torch."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import worker_count
from cxrtool.data.logits import logits_of
from cxrtool.inference.engines.base import Logits, Pending, Pixels
from cxrtool.inference.engines.graph_files import Graph

INPUT, OUTPUT, LOGITS = "images", "probabilities", "logits"
FATAL_ALONE = 4
"""Of ONNX Runtime's five levels of its log, which goes to stderr."""


def import_onnxruntime() -> Any:
    """ONNX Runtime, silent, and without the telemetry that its official builds have.

    From 1.29 on it tells Microsoft of models and their hashes, and keeps an identifier in the
    user's home: it looks at the variable when it is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(FATAL_ALONE)
    return onnxruntime


class OnnxEngine:
    """An ONNX graph on all cores, in fp32; a batch is scored when it is submitted."""

    name = "onnxruntime"
    device = "cpu"
    precision = "fp32"
    depth = 1
    batch = 8

    def __init__(self, graph: Graph) -> None:
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = worker_count(None, most=None)
        options.log_severity_level = FATAL_ALONE
        self._session = runtime.InferenceSession(
            graph.model, options, providers=["CPUExecutionProvider"]
        )
        # Graphs of version 0.1 have probabilities alone.
        self._has_logits = LOGITS in [output.name for output in self._session.get_outputs()]

    def submit(self, pixels: Pixels) -> Pending:
        """Score grey images (n, image_size, image_size)."""
        if self._has_logits:
            logits: Logits = self._session.run([LOGITS], {INPUT: pixels})[0]
        else:
            logits = logits_of(self.probabilities(pixels))
        return lambda: logits

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """What the graph itself gives others of grey images: (n, labels)."""
        scores: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: pixels})[0]
        return scores
