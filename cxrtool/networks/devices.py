"""Where a network computes, and in which number format."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from cxrtool.core.errors import UsageError
from cxrtool.core.hardware import native_bf16

_NO_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "MemoryError", "unable to mmap"),
    *("insufficient shared memory", "is killed by signal: Killed"),
)
"""How torch's allocator and loader say so; a worker's own error comes as text within another."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which a network computes at `fp32`, `bf16` or `fp16`."""
    if precision == "fp32":
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype=dtype)


@contextmanager
def compute_threads(number: int | None) -> Iterator[None]:
    """Compute with so many threads on the CPU; None: with as many as torch takes by itself."""
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
    """`auto` to the fastest there is; otherwise the one named.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.
        local_rank: of several processes on this machine, the number of this one: its GPU's.

    Raises:
        UsageError: no such kind of device, or this machine has none.
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
    """Whether an error says that a device, this machine or a process that decodes had no memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` to bf16 where the hardware computes in it natively, else fp16 on GPUs with units for
    that, else fp32.

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
