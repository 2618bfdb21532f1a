"""A network's graph as bytes: engines get these and no path, beside which they could look."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.files import open_regular, read_bytes


@dataclass(frozen=True)
class Graph:
    """An ONNX file, or OpenVINO's .xml with its weights."""

    path: Path
    """Where it was read from, for messages: an engine does not open it."""
    model: bytes = field(repr=False, compare=False)
    weights: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    """Of OpenVINO's form; mapped, so that they are not in memory twice. They must outlive what is
    compiled of them."""

    def sums(self) -> dict[str, str]:
        """The SHA-256 of its files, by name."""
        found = {self.path.name: sha256(self.model).hexdigest()}
        if self.weights is not None:
            found[weights_path(self.path).name] = sha256(self.weights.data).hexdigest()
        return found


def read_graph(path: Path) -> Graph:
    """Read a graph of ours; one in .xml with the weights beside it, if there are any.

    Raises:
        OSError: a file is missing, or no regular one.
    """
    beside = weights_path(path)
    if path.suffix != ".xml":
        with open_regular(path) as file:
            return Graph(path, file.read())
    return Graph(path, read_bytes(path), _mapped(beside) if beside.exists() else None)


def weights_path(graph: Path) -> Path:
    """Where OpenVINO's weights of a graph are."""
    return graph.with_suffix(".bin")


def _mapped(path: Path) -> NDArray[np.uint8]:
    with open_regular(path) as file:
        # Of an empty file nothing can be mapped. Copy on write: OpenVINO wants it writable.
        return np.memmap(file, np.uint8, "c") if file.seek(0, 2) else np.empty(0, np.uint8)
