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
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
GRAPH, METADATA = 7, 14
INPUT, OUTPUT = 11, 12
EXTERNAL_DATA, DATA_LOCATION = 13, 14
FIXED = {1: 8, 5: 4}
"""The wire types of a fixed length, in bytes."""
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How torch's files begin, zipped or not: both may hold a pickle, which runs code when opened."""
DEEPEST = 50
"""Graphs within graphs; ours has none."""


Shape = tuple[int | None, ...]
"""A tensor's sizes; None where any will do."""


@dataclass(frozen=True)
class OnnxFile:
    """A model's metadata, the bytes of its graph, and what goes in and out of that."""

    metadata: dict[str, str]
    graph: memoryview
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]


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
    whole = memoryview(content)
    try:
        fields = list(_fields(whole))
        graphs = [_bytes(value) for number, value in fields if number == GRAPH]
        if len(graphs) > 1:
            raise ValueError("two graphs")
        graph = graphs[0] if graphs else memoryview(b"")
        found = OnnxFile(
            metadata=dict(_pair(value) for number, value in fields if number == METADATA),
            graph=graph,
            inputs=dict(_value(value) for number, value in _fields(graph) if number == INPUT),
            outputs=dict(_value(value) for number, value in _fields(graph) if number == OUTPUT),
        )
        outside = _refers_outside(whole, "model")
    # Bytes that are no message, or one of another kind.
    except (ValueError, IndexError, KeyError):
        raise RunError(
            f"{path} is no ONNX file, or a damaged one: give a run, or the .onnx that "
            "`cxrtool export` makes of one"
        ) from None
    if outside:
        raise RunError(f"{path} has weights in other files, which is refused: export it again")
    return found


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
    found = {number: bytes(_bytes(value)).decode() for number, value in _fields(_bytes(entry))}
    return found[1], found.get(2, "")


def _value(entry: int | memoryview) -> tuple[str, Shape]:
    """The name and the shape of an input or output: ValueInfoProto."""
    parts = dict(_fields(_bytes(entry)))
    tensor = _only(_only(parts[2], 1), 2)  # its type, of a tensor, the shape of that
    sizes = [dict(_fields(_bytes(size))).get(1) for number, size in _fields(tensor) if number == 1]
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    return bytes(_bytes(parts[1])).decode(), shape


def _only(message: int | memoryview, number: int) -> memoryview:
    return _bytes(dict(_fields(_bytes(message)))[number])


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
