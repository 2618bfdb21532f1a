"""What stands in an ONNX file, read from its bytes: no library is needed, and no code is run.

A protobuf message is a row of fields: a key (number << 3 | wire type), then a varint (type 0), 8
bytes (1), a length and as many bytes (2), or 4 bytes (5). Numbers of fields are those of ONNX's
onnx.proto3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrtool.errors import RunError

# Where a message holds tensors, directly or further down: its fields' numbers to their messages.
TREE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "training": {1: "graph", 2: "graph"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
GRAPH, METADATA = 7, 14
EXTERNAL_DATA, DATA_LOCATION = 13, 14
FIXED = {1: 8, 5: 4}
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How torch's files begin, zipped or not: both may hold a pickle, which runs code when opened."""
DEEPEST = 50
"""Graphs within graphs; ours has none."""


@dataclass(frozen=True)
class OnnxFile:
    """A model's metadata and the bytes of its graph."""

    metadata: dict[str, str]
    graph: memoryview


def parse_onnx(content: bytes, path: Path) -> OnnxFile:
    """Read an ONNX file's bytes; `path` is for the messages.

    Raises:
        RunError: they are no ONNX model, or one whose weights lie in other files: their names
            could lead anywhere.
    """
    if content.startswith(PICKLES):
        raise RunError(
            f"{path} is a torch or pickle file, which could run code, and was not opened: give a "
            "run, or the .onnx that `cxrtool export` makes of one"
        )
    try:
        fields = list(_fields(memoryview(content)))
        metadata = dict(_pair(value) for number, value in fields if number == METADATA)
        graphs = [value for number, value in fields if number == GRAPH]
        outside = _refers_outside(memoryview(content), "model")
    except (ValueError, IndexError, TypeError):
        fields, graphs = [], []
    if len(graphs) != 1 or not isinstance(graphs[0], memoryview):
        raise RunError(
            f"{path} is no ONNX file, or a damaged one: give a run, or the .onnx that "
            "`cxrtool export` makes of one"
        )
    if outside:
        raise RunError(f"{path} keeps weights in other files, which is refused: export it anew")
    return OnnxFile(metadata, graphs[0])


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """A message's fields in order: number, and an integer or bytes. Raises ValueError."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            integer, at = _varint(message, at)
            yield number, integer
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("cut short")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer, seven bits a byte from the lowest on, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("an integer of more than ten bytes")


def _pair(entry: int | memoryview) -> tuple[str, str]:
    """A key and a value of the metadata."""
    found = {number: bytes(value).decode() for number, value in _fields(_bytes(entry))}
    return found[1], found.get(2, "")


def _refers_outside(message: memoryview, kind: str, depth: int = 0) -> bool:
    """Whether a tensor anywhere in a message has its values in another file."""
    if depth > DEEPEST:
        raise ValueError("too deep")
    for number, value in _fields(message):
        if kind == "tensor":
            if number == EXTERNAL_DATA or (number == DATA_LOCATION and value):
                return True
        elif number in TREE[kind] and _refers_outside(_bytes(value), TREE[kind][number], depth + 1):
            return True
    return False


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("an integer where a message belongs")
    return value
