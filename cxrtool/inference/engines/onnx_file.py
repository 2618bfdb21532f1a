"""What stands in an ONNX file: read by the package `onnx`, with nothing outside the file.

Two parsers of one format may read two things in the same bytes. So what was read here, and checked,
is written anew for the engines, and no engine sees the file itself.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cxrtool.core.errors import RunError, UsageError

PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How torch's files begin, zipped or not: both may hold a pickle, which runs code when opened."""
PROTOBUF_MOST = 2**31 - 1
"""Bytes of a protobuf message."""

Shape = tuple[int | None, ...]
"""A tensor's sizes; None where any will do."""


@dataclass(frozen=True)
class OnnxFile:
    """A model's metadata, its graph, and what goes in and out of that."""

    metadata: dict[str, str]
    model: bytes
    """All of it, written anew: for an engine."""
    graph: bytes
    """Its graph alone, written anew: of this files of version 0.1 have a fingerprint."""
    fingerprint: str
    """The SHA-256 of all but the metadata: the format's versions and functions also say what a
    graph computes."""
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]


def parse_onnx(content: bytes, path: Path) -> OnnxFile:
    """Read an ONNX file's bytes; `path` is for the messages.

    Raises:
        RunError: they are no ONNX model, or one whose weights lie in other files: their names
            could lead anywhere.
        UsageError: the package that reads them is not installed.
    """
    if content.startswith(PICKLES):
        raise RunError(
            f"{path} is a torch or pickle file, which could run code, and was not opened: give a "
            "run, or the .onnx that `cxrtool export` makes of one"
        )
    if find_spec("onnx") is None:
        raise UsageError(
            "an exported model is read with the package onnx, which is not installed: "
            "`pip install 'cxrtool[cpu]'` adds it, with the engine that scores fastest"
        )
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        if len(content) > PROTOBUF_MOST:
            raise ValueError("too long")
        model.ParseFromString(content)
        # What this version of the format does not have, another's reader may understand.
        model.DiscardUnknownFields()
        if next(_outside(model), None) is not None:
            raise RunError(f"{path} has weights in other files, which is refused: export it again")
        return OnnxFile(
            metadata={entry.key: entry.value for entry in model.metadata_props},
            model=model.SerializeToString(),
            graph=model.graph.SerializeToString(),
            inputs=dict(map(_value, model.graph.input)),
            outputs=dict(map(_value, model.graph.output)),
            fingerprint=fingerprint_of(model),
        )
    # Bytes that are no message, or one of another kind.
    except (DecodeError, ValueError, UnicodeDecodeError):
        raise RunError(
            f"{path} is no ONNX file, or a damaged one: give a run, or the .onnx that "
            "`cxrtool export` makes of one"
        ) from None


def fingerprint_of(model: Any) -> str:
    """The SHA-256 of a model but for its metadata, which is taken out of it."""
    model.ClearField("metadata_props")
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def _outside(message: Any) -> Iterator[Any]:
    """The tensors anywhere in a message whose values are in another file.

    In initializers, sparse ones, attributes, graphs within graphs, functions: by their type, so
    that no place can be forgotten. Protobuf itself bounds how deep messages are.
    """
    if message.DESCRIPTOR.name == "TensorProto":
        if message.external_data or message.data_location:
            yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from _outside(part)


def _value(entry: Any) -> tuple[str, Shape]:
    """The name and the shape of an input or output."""
    sizes = entry.type.tensor_type.shape.dim
    shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in sizes)
    return entry.name, shape
