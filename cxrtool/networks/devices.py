"""Devices, threads and number formats."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from cxrtool.core.errors import UsageError
from cxrtool.core.hardware import native_bf16

_NO_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "MemoryError", "unable to mmap"),
    *("insufficient shared memory", "is killed by signal: Killed"),
)
"""Texts of torch's allocator and loader; a worker's error arrives as text within another."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context for computing in `fp32`, `bf16` or `fp16`."""
    if precision == "fp32":
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype=dtype)


@contextmanager
def compute_threads(number: int | None) -> Iterator[None]:
    """Compute with this many CPU threads; None: torch's own number."""
    if number is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str, local_rank: int | None = None) -> torch.device:
    """Choose a device; `auto` is the fastest available.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.
        local_rank: this process's number on this machine, which is its GPU's.

    Raises:
        UsageError: unknown, or not on this machine.
    """
    if local_rank is not None and name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{local_rank}"
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: use auto, cpu, cuda, cuda:N or mps") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise UsageError(f"--device {name}: this machine has no such device; try --device auto")
    return device


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error means that a device, the machine or a worker ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def choose_precision(name: str, device: torch.device) -> str:
    """Choose a number format; `auto` is bf16 if native, fp16 on GPUs with units for it, or fp32.

    bf16 from compute capability 8.0 on (Ampere), fp16's tensor cores from 7.0 on (Volta).
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    if device.type == "cpu":
        return "bf16" if native_bf16() else "fp32"
    return "fp32"
