"""Scoring with OpenVINO on the CPU, from a graph in its own form or ONNX. No torch."""

import sys
from collections import deque
from functools import cache
from typing import Any

from cxrtool.core.errors import UsageError
from cxrtool.core.hardware import native_bf16
from cxrtool.data.logits import logits_of
from cxrtool.inference.engines.base import Logits, Pending, Pixels
from cxrtool.inference.engines.graph_files import Graph

HINTS = {"fp32": "f32", "bf16": "bf16"}
PARTS = 4
"""At most so many batches are scored at once, as torch does here."""


def import_openvino() -> Any:
    """OpenVINO, without the telemetry that it sends when it is imported and when it converts.

    It would ask Google Analytics and keep files in the user's home. Where its package for that
    cannot be imported, it takes a stub instead that does nothing.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """OpenVINO's core, one for the whole process, which never lets go of it.

    Each core's CPU plugin gives its thread a stack for signals, and takes it back when it goes: of
    two that do not go in the order in which they came, the second leaves the thread with a stack
    that is no more (OpenVINO 2026.4), and then a signal as harmless as a child's end kills the
    process.
    """
    return import_openvino().Core()


def openvino_precision(asked: str) -> str:
    """What OpenVINO computes in here; `auto` to bf16 where the processor has it.

    Raises:
        UsageError: this processor, or OpenVINO on a CPU, does not compute in what was asked for.
    """
    if asked == "fp16":
        raise UsageError("--precision fp16: OpenVINO on a CPU computes in bf16 or fp32")
    core = openvino_core()
    native = native_bf16() and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "bf16" and not native:
        raise UsageError("--precision bf16: this processor does not have it; use fp32")
    return ("bf16" if native else "fp32") if asked == "auto" else asked


class OpenVinoEngine:
    """A graph, compiled for this CPU.

    Cores that share one batch wait for each other, and for those that decode. Where there are many
    images, several batches are scored at once instead, each by its share of the cores.
    """

    name = "openvino"
    device = "cpu"
    batch = 4

    def __init__(self, graph: Graph, *, precision: str, images: int | None = None) -> None:
        """`precision` is fp32 or bf16; `images`, of how many is known."""
        self._openvino = import_openvino()
        self.precision = precision
        core = openvino_core()
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            # Of one compilation with several streams, OpenVINO's own way to score several batches
            # at once, half gave wrong probabilities for an exported Swin V2 (2026.4); of those with
            # one, none did. Probably streams take each other's packed weights.
            "NUM_STREAMS": 1,
        }
        self._weights = graph.weights  # not copied: neither read nor compiled
        self._compiled = [core.compile_model(self._read(core, graph), "CPU", options)]
        if (images or 0) > self.batch:
            cores = self._compiled[0].get_property("INFERENCE_NUM_THREADS")
            parts = max(number for number in range(1, PARTS + 1) if cores % number == 0)
            # Pinned, all parts would have the same cores.
            options |= {"INFERENCE_NUM_THREADS": cores // parts, "ENABLE_CPU_PINNING": False}
            if parts > 1:
                self._compiled = [
                    core.compile_model(self._read(core, graph), "CPU", options)
                    for _ in range(parts)
                ]
        # Graphs of version 0.1 have probabilities alone.
        self._has_logits = len(self._compiled[0].outputs) > 1
        # Each has the next one waiting. They are taken in turn, and so come back in turn.
        self.depth = 2 * len(self._compiled)
        self._idle = deque(one.create_infer_request() for _ in range(2) for one in self._compiled)

    def _read(self, core: Any, graph: Graph) -> Any:
        """From bytes: of a path, it would also read what the file names beside it."""
        if graph.weights is None:
            return core.read_model(graph.model)
        shared = self._openvino.Tensor(graph.weights, shared_memory=True)
        return core.read_model(model=graph.model, weights=shared)

    def submit(self, pixels: Pixels) -> Pending:
        """Begin to score grey images (n, image_size, image_size)."""
        request = self._request()
        # Always a tensor, never the array itself: a request that was given first the one and then
        # the other has been seen to spoil memory (OpenVINO 2026.4).
        request.start_async({0: self._openvino.Tensor(pixels)})

        def fetch() -> Logits:
            request.wait()
            scores: Logits = request.get_output_tensor(int(self._has_logits)).data.copy()
            self._idle.append(request)
            return scores if self._has_logits else logits_of(scores)

        return fetch

    def _request(self) -> Any:
        """The one that is idle for longest; a new one where more are busy than expected."""
        try:
            return self._idle.popleft()
        except IndexError:
            return self._compiled[0].create_infer_request()
