"""Read torch's pickled files without running anything: all but tensors is an inert stand-in.

`torch.load` either runs what a file says (`weights_only=False`), or refuses files whose tensors lie
in a pickled network or beside numpy's numbers, as most published chest X-ray weights do. Here no
name in a file is ever looked up: classes and functions become `Unbuilt`, which keeps what it is
given and does nothing, and only the descriptions of tensors are followed, within their storages.
"""

import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from cxrtool.core.errors import WeightsError, first_few
from cxrtool.networks.pickle_commands import is_command

ZIP = b"PK\x03\x04"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What torch's files from before version 1.6 begin with."""
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
TYPES = {str(dtype).removeprefix("torch."): dtype for dtype in STORAGES.values()}


class Unbuilt:
    """An object of a file, whose class was not looked up: it keeps what it was given."""

    __slots__ = ("items", "state")
    written = "object"
    """The name of its class, or of the function that would have made it."""

    def __new__(cls, *given: object, **named: object) -> "Unbuilt":
        """Make one, whatever it is given."""
        made = object.__new__(cls)
        made.state, made.items = {}, {}
        return made

    def __init__(self, *given: object, **named: object) -> None:
        self.state: dict[Any, Any]
        self.items: dict[Any, Any]

    def __call__(self, *given: object, **named: object) -> "Unbuilt":
        """What a call of it would have made: another that is not built."""
        return type(self)()

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, Mapping):
                self.state.update(part)

    def __setitem__(self, key: object, value: object) -> None:
        self.items[key] = value

    def append(self, value: object) -> None:
        """Take an item of a list; tensors in lists have no name and are of no use."""

    def extend(self, values: object) -> None:
        """The same of several."""

    def add(self, value: object) -> None:
        """The same of a set."""

    def parts(self) -> dict[Any, Any]:
        """What it holds by name: of a network its tensors and its layers, else all it was given."""
        if "_modules" not in self.state:
            return {**self.state, **self.items}
        named: dict[Any, Any] = {}
        for kind in ("_parameters", "_buffers", "_modules"):
            inside = self.state.get(kind)
            named |= dict(inside) if isinstance(inside, Mapping) else {}
        return named

    def words(self) -> dict[str, tuple[str, ...]]:
        """Those of its attributes that are lists of words: a network's labels."""
        return {
            str(name): tuple(value)
            for name, value in self.state.items()
            if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        }


def parts_of(value: object) -> Mapping[Any, Any] | None:
    """What a dictionary or an object holds by name; None of anything else."""
    inside = value.parts() if isinstance(value, Unbuilt) else value
    if not isinstance(inside, Mapping):
        return None
    return {key: _released(one) for key, one in inside.items()}


def read_inert(path: Path) -> object:
    """What a file of `torch.save` holds: tensors, plain values, and `Unbuilt` for all else.

    Raises:
        WeightsError: it holds commands; they are named, and none was run.
        Exception: whatever a damaged file provokes.
    """
    names = _Names()
    try:
        with path.open("rb") as file:
            archive = file.read(len(ZIP)) == ZIP
            file.seek(0)
            found = _read_zip(file, names) if archive else _read_old(file, names)
    except Exception:
        _refuse_commands(path, names)
        raise
    _refuse_commands(path, names)
    return _released(found)


def _refuse_commands(path: Path, names: "_Names") -> None:
    if names.commands:
        raise WeightsError(
            f"{path} is refused: it contains code ({first_few(sorted(names.commands))}) beside its "
            "tensors; none of it was run. Weights need no such commands: get the file from those "
            "who trained it, or have them save only the tensors (torch.save(network.state_dict(), "
            "FILE), or a .safetensors file)"
        )


@dataclass
class _Names:
    """The names that a file wrote, of classes and functions."""

    commands: set[str] = field(default_factory=set)

    def stand_in(self, module: str, name: str) -> type[Unbuilt]:
        """A class in the place of the one that was written."""
        written = f"{module}.{name}"
        if is_command(module, name):
            self.commands.add(written)
        return type("Unbuilt", (Unbuilt,), {"__slots__": (), "written": written})


class _InertUnpickler(pickle.Unpickler):
    """Builds plain values; tensors by what `storage` gives for their storages."""

    def __init__(
        self, file: IO[bytes], names: _Names, storage: Callable[[Any], Tensor] | None = None
    ) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self._names, self._storage = names, storage

    def find_class(self, module: str, name: str, /) -> Any:
        """What stands for a name: one of our own functions for tensors, or a stand-in."""
        if module in ("torch", "torch.storage") and name in STORAGES:
            return _Kind(STORAGES[name])
        if module == "torch" and name in TYPES:
            return _Kind(TYPES[name])
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("torch._utils", "torch._tensor") and name in _REBUILDERS:
            return _Rebuilder(_REBUILDERS[name])
        if (module, name) == ("torch", "Size"):
            return _Rebuilder(_size)
        return self._names.stand_in(module, name)

    def persistent_load(self, written: Any, /) -> Any:
        """A tensor's storage; or a class, whose source text old files hold beside it."""
        kind = written[0].decode() if isinstance(written[0], bytes) else written[0]
        if kind == "module":
            return written[1]
        if kind != "storage" or self._storage is None:
            raise pickle.UnpicklingError(f"unknown kind of content: {kind!r}")
        return _Held(self._storage(written[1:]))


class _Fixed:
    """What a file's own instructions must not change."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it sets the state of a function")


class _Held(_Fixed):
    """A tensor or a storage, as long as instructions of the file are followed."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _released(value: Any) -> Any:
    return value.tensor if isinstance(value, _Held) else value


class _Kind(_Fixed):
    """A type of numbers."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Rebuilder(_Fixed):
    """One of our functions below."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *given: Any) -> Any:
        return self._function(*given)


def _size(values: Any = ()) -> tuple[int, ...]:
    return tuple(int(one) for one in values)


def _tensor(held: Any, offset: int, size: Any, stride: Any, *_: object) -> _Held:
    """A tensor in its storage, which it may not leave.

    Raises:
        UnpicklingError: it would.
    """
    if not isinstance(held, _Held):
        raise pickle.UnpicklingError("a tensor has no storage")
    storage, shape, steps = held.tensor, _size(size), _size(stride)
    low = min((offset, *shape, *steps))
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    count = torch.Size(shape).numel()
    if low < 0 or count > len(storage) or (count and last >= len(storage)):
        raise pickle.UnpicklingError(
            f"a tensor of shape {shape} does not lie in its storage of {len(storage)} values"
        )
    return _Held(storage.as_strided(shape, steps, offset))


def _tensor_of_type(
    held: Any, offset: int, size: Any, stride: Any, grad: Any, hooks: Any, kind: Any, *_: object
) -> _Held:
    # Such storages are counted in bytes, the offset in values of the type.
    return _tensor(_Held(held.tensor.view(kind.dtype)), offset, size, stride)


def _parameter(held: Any, *_: object) -> Any:
    return held


def _of_type(function: Any, kind: Any, given: Any, *_: object) -> Any:
    return function(*given) if isinstance(function, _Rebuilder) else Unbuilt()


_REBUILDERS: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor_of_type,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_from_type_v2": _of_type,
}


def _checked(kind: Any, numel: Any) -> tuple[torch.dtype, int]:
    """The type of a storage's values, and how many bytes it has."""
    if not isinstance(kind, _Kind) or not isinstance(numel, int) or numel < 0:
        raise pickle.UnpicklingError("a storage is not described as torch does")
    return kind.dtype, numel * kind.dtype.itemsize


def _read_zip(file: IO[bytes], names: _Names) -> object:
    with zipfile.ZipFile(file) as archive:
        content = next((one for one in archive.namelist() if one.endswith("/data.pkl")), None)
        if content is None:
            raise pickle.UnpicklingError("an archive without data.pkl")
        folder = content.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            order = _member(archive, f"{folder}byteorder").decode()
            if order != sys.byteorder:
                raise pickle.UnpicklingError(f"its numbers are {order}-endian")
        known: dict[str, Tensor] = {}

        def storage(written: Any) -> Tensor:
            kind, key, _, numel = written
            dtype, n_bytes = _checked(kind, numel)
            if key not in known:
                known[key] = _bytes_as_tensor(_member(archive, f"{folder}data/{key}"))
            if len(known[key]) < n_bytes:
                raise pickle.UnpicklingError(
                    f"storage {key} has {len(known[key])} bytes, not {n_bytes}"
                )
            return known[key][:n_bytes].view(dtype)

        return _InertUnpickler(BytesIO(_member(archive, content)), names, storage).load()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file in an archive. torch does not compress, so none is larger than the archive."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{name} is compressed, as torch never does")
    return archive.read(name)


def _bytes_as_tensor(content: bytes) -> Tensor:
    if not content:  # of which frombuffer makes nothing
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _read_old(file: IO[bytes], names: _Names) -> object:
    """Read a file as torch wrote them before 1.6: pickles one after another, then the storages."""
    for expected in (MAGIC, PROTOCOL):
        if _InertUnpickler(file, names).load() != expected:
            raise pickle.UnpicklingError("not a file of torch.save")
    about = _InertUnpickler(file, names).load()
    if isinstance(about, dict) and about.get("little_endian", True) != (sys.byteorder == "little"):
        raise pickle.UnpicklingError("its numbers are in another machine's order of bytes")
    storages = _OldStorages(size=Path(file.name).stat().st_size)
    found = _InertUnpickler(file, names, storages).load()
    keys = _InertUnpickler(file, names).load()
    for key in keys:
        storages.fill(str(key), file)
    return found


class _OldStorages:
    """Storages whose content comes after what describes them."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._known: dict[str, tuple[Tensor, int]] = {}

    def __call__(self, written: Any) -> Tensor:
        """The storage, still without its content."""
        kind, key, _, numel, view = written
        dtype, n_bytes = _checked(kind, numel)
        if str(key) not in self._known:
            self._left -= n_bytes
            if self._left < 0:
                raise pickle.UnpicklingError("its storages are larger than the file")
            content = torch.zeros(n_bytes, dtype=torch.uint8)
            self._known[str(key)] = content, dtype.itemsize
        whole = self._known[str(key)][0].view(dtype)
        if view is None:
            return whole
        _, offset, length = view
        if not 0 <= offset <= offset + length <= len(whole):
            raise pickle.UnpicklingError("a view does not lie in its storage")
        return whole[offset : offset + length]

    def fill(self, key: str, file: IO[bytes]) -> None:
        """Read a storage's content: the number of its values, then these."""
        content, width = self._known[key]
        numel = int.from_bytes(file.read(8), "little", signed=True)
        if numel * width != len(content):
            raise pickle.UnpicklingError(f"storage {key} has {numel} values, not as described")
        given = file.read(len(content))
        if len(given) != len(content):
            raise pickle.UnpicklingError("it ends within a storage")
        content.copy_(_bytes_as_tensor(given))


def walk(value: object, deepest: int) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in nested dictionaries and objects by their names, each place once."""
    yield from _walk(value, "", set(), deepest)


def _walk(value: object, start: str, seen: set[int], left: int) -> Iterator[tuple[str, Tensor]]:
    inside = parts_of(value)
    if inside is None or id(value) in seen or not left:
        return
    seen.add(id(value))  # one may contain itself
    for key, one in inside.items():
        if isinstance(one, Tensor):
            yield f"{start}{key}", one
        else:
            yield from _walk(one, f"{start}{key}.", seen, left - 1)


def kind_of(value: object) -> str:
    """What a value is, for a message: of an object, the class that the file wrote."""
    return value.written if isinstance(value, Unbuilt) else type(value).__name__
