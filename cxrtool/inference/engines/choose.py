"""Which engine scores a run's network here: the fastest that is installed, or the one named.

Nothing here imports torch before it is chosen.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import NotWrittenError, RunError, UsageError
from cxrtool.core.hardware import gpu_seems_there, native_bf16
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.base import FASTEST, Compute, Engine
from cxrtool.inference.engines.graph_files import Graph
from cxrtool.inference.engines.kept import find_graph, keep_graph

FEW = 64
"""Up to so many images are scored by torch sooner than a graph is made."""
MAKERS = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}
"""The packages that score with a run: they also make its graph."""
EXTRAS = {"openvino": "cpu", "onnxruntime": "export"}
"""Which of this package's extras brings an engine."""


def load_engine(
    run: RunFolder, card: RunCard, compute: Compute = FASTEST, reporter: Reporter = SILENT
) -> Engine:
    """A finished run's network on an engine; `card` is what `read_card` gave of it.

    Raises:
        RunError: the weights do not fit, or their graph does not score as they do.
        UsageError: the engine is not installed, does not compute on that device or in that
            precision; or this machine has no such device.
    """
    if compute.engine != "auto":
        if compute.engine != "torch":
            check_engine(compute, MAKERS[compute.engine])
        return _load(run, card, compute, reporter)
    chosen = choose_engine(compute.device, compute.precision)
    few = compute.images is not None and compute.images <= FEW
    if chosen != "torch" and few and find_graph(run, card, chosen) is None:
        reporter.note(f"--engine {chosen} would make a graph, once, that starts without torch")
        chosen = "torch"
    try:
        return _load(run, card, replace(compute, engine=chosen), reporter)
    except RunError as error:
        if chosen == "torch":
            raise
        reporter.warn(f"{error}. Scoring with torch instead")
        return _load(run, card, replace(compute, engine="torch"), reporter)


def choose_engine(device: str, precision: str) -> str:
    """The fastest engine that is installed for a device.

    On a CPU that is OpenVINO. In bf16, where the processor has it, torch is faster than ONNX
    Runtime in fp32; elsewhere slower.
    """
    if not _on_cpu(device):
        return "torch"
    native = native_bf16()
    bf16 = precision == "bf16" or (precision == "auto" and native)
    if (
        are_installed(MAKERS["openvino"])
        and precision != "fp16"
        and (native or precision != "bf16")
    ):
        return "openvino"
    if are_installed(MAKERS["onnxruntime"]) and precision in ("auto", "fp32") and not bf16:
        return "onnxruntime"
    return "torch"


def are_installed(packages: Sequence[str]) -> bool:
    """Whether all of some packages can be imported; none is."""
    return all(find_spec(package) is not None for package in packages)


def check_engine(compute: Compute, packages: Sequence[str]) -> None:
    """Refuse an engine other than torch that was asked for and cannot be had.

    Raises:
        UsageError: one of its packages is not installed, or the device is not the CPU.
    """
    engine = compute.engine
    if not are_installed(packages):
        extra = EXTRAS[engine]
        raise UsageError(
            f"--engine {engine} is not installed: `pip install 'cxrtool[{extra}]'` adds it"
        )
    if compute.device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {compute.device}: {engine} computes on the CPU; use --engine torch"
        )


def graph_precision(engine: str, asked: str) -> str:
    """What an engine other than torch computes in here, for what was asked: auto, fp32, ...

    Raises:
        UsageError: it does not compute in that.
    """
    if engine == "openvino":
        from cxrtool.inference.engines.openvino_engine import openvino_precision

        return openvino_precision(asked)
    if asked not in ("auto", "fp32"):
        raise UsageError(f"--precision {asked}: ONNX Runtime on a CPU computes in fp32")
    return "fp32"


def open_graph(graph: Graph, engine: str, precision: str, images: int | None) -> Engine:
    """A graph on OpenVINO or ONNX Runtime, in a precision of `graph_precision`."""
    if engine == "openvino":
        from cxrtool.inference.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(graph, precision=precision, images=images)
    from cxrtool.inference.engines.onnx_engine import OnnxEngine

    return OnnxEngine(graph)


def _on_cpu(device: str) -> bool:
    if device != "auto" or not gpu_seems_there():
        return device in ("auto", "cpu")
    from cxrtool.networks.devices import choose_device

    return choose_device(device).type == "cpu"


def _load(run: RunFolder, card: RunCard, compute: Compute, reporter: Reporter) -> Engine:
    engine = compute.engine
    if engine == "torch":
        from cxrtool.inference.engines.torch_engine import load_torch

        return load_torch(run, card, compute)
    computed = graph_precision(engine, compute.precision)  # before a graph is made for nothing
    return open_graph(_graph(run, card, engine, reporter), engine, computed, compute.images)


def _graph(run: RunFolder, card: RunCard, engine: str, reporter: Reporter) -> Graph:
    """The kept graph; one is made, with torch, where there is none."""
    found = find_graph(run, card, engine)
    if found is not None:
        return found

    def make(path: Path) -> None:
        from cxrtool.inference.engines.graphs import convert_onnx, convert_openvino

        (convert_openvino if engine == "openvino" else convert_onnx)(run, card, path)

    try:
        with reporter.busy(f"making a graph for {engine}"):
            return keep_graph(run, card, engine, make, reporter)
    except OSError as error:
        raise NotWrittenError(
            f"{run.name}'s graph for {engine} could be written neither beside the run nor in the "
            f"temporary folder ({error.filename}: {error.strerror}): make room in one of them, or "
            "pass --engine torch, which needs none"
        ) from None
