"""What the machine can do, found out without importing torch: bf16 on the CPU, whether a GPU is
there."""

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""How Linux names a processor's units for bf16: Intel's and AMD's vectors and tiles, ARM's."""
GPU_SIGNS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What is there where a GPU that torch can use may be: NVIDIA's and AMD's drivers, WSL's."""


def native_bf16() -> bool:
    """Whether the processor computes in bf16 itself; what imitates it is slower than fp32."""
    return not BF16_FLAGS.isdisjoint(_cpu_flags())


def physical_memory() -> int | None:
    """Bytes of this machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a system without the names
        return None


def gpu_seems_there() -> bool:
    """Whether a GPU may be worth asking torch for: a driver's files, or Apple's own processor.

    Torch alone knows for sure, and takes a second and more to be imported.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(sign).exists() for sign in GPU_SIGNS)


def _cpu_flags() -> Iterator[str]:
    """The processor's feature flags, where the system tells them (Linux)."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        if line.lower().startswith(("flags", "features")):
            yield from line.split(":", 1)[1].split()
            return
