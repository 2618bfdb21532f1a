"""Scoring with ONNX Runtime on the CPU, from an ONNX file. No torch."""

import os
from typing import Any

from cxrtool.config import worker_count
from cxrtool.engines.base import Pending, Pixels, Probabilities
from cxrtool.engines.graph_files import Graph

INPUT, OUTPUT = "images", "probabilities"
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

    def submit(self, pixels: Pixels) -> Pending:
        """Score grey images (n, side, side)."""
        scores: Probabilities = self._session.run([OUTPUT], {INPUT: pixels})[0]
        return lambda: scores
