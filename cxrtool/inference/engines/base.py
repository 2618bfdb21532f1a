"""The interface of the engines: grey bytes in, logits out, several batches in flight."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Grey images (n, image_size, image_size), 0 to 255."""
Logits = NDArray[np.floating]
"""(n, labels), log odds as the network gives them: not calibrated."""
Pending = Callable[[], Logits]
"""A batch that is being scored: waits for it and returns its logits. To be called once."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a model is asked to compute with."""

    engine: str = "auto"
    """auto, torch, openvino or onnxruntime."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16."""
    images: int | None = None
    """How many are to be scored, where that is known."""


FASTEST = Compute()
"""What is fastest on this machine."""


class Engine(Protocol):
    """A network that is loaded and ready to score; safe to be used from several threads."""

    name: str
    """`torch`, `openvino` or `onnxruntime`."""
    device: str
    """`cpu`, `cuda:0`, `mps`."""
    precision: str
    """`fp32`, `bf16` or `fp16`: what it computes in."""
    depth: int
    """How many batches are worth having in flight at once."""
    batch: int
    """Images in a batch, where nobody asks for another number: the fastest here."""

    def submit(self, pixels: Pixels) -> Pending:
        """Begin to score images; the array must not change until the result is fetched."""
        ...
