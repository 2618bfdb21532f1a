"""Which engine scores a run's network here: the fastest that is installed, or the one named."""

from importlib.util import find_spec

from cxrtool.engines.base import Engine
from cxrtool.errors import UsageError
from cxrtool.processors import gpu_seems_there, native_bf16
from cxrtool.report import SILENT, Reporter
from cxrtool.runs import RunCard, RunFolder


def load_engine(
    run: RunFolder,
    card: RunCard,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    images: int | None = None,
    reporter: Reporter = SILENT,
) -> Engine:
    from cxrtool.engines.torch_engine import load_torch
    return load_torch(run, card, device=device, precision=precision)
