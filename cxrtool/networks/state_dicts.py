"""The networks in a state-dict file, under whatever names they stand there; nothing in it is run.

Training codes save their networks in many ways: alone, in a checkpoint (`state_dict`, `model`,
`net`, ...), as a part of another module (`backbone.`, `encoder_q.`), for several processes
(`module.`), compiled (`_orig_mod.`), and averaged weights beside the raw ones (`ema`, `teacher`).
All of that stands before a tensor's own name, so a network is found by its tensors' names.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from cxrtool.core.errors import WeightsError, counted, first_few

Shapes = Mapping[str, torch.Size]

# torchvision's DenseNet files of 2017 number the norms and convolutions of a layer apart.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
# How torch names what a file would have called or made.
_CODE = re.compile(r"\bGLOBAL (\S+)|\b(TorchScript) archive")

COUNTER = "num_batches_tracked"
"""Files of 2017 know no batch counters, and a network in use does not need them."""

DEEPEST = 20
"""Dictionaries within each other in which tensors are looked for; training codes have three."""

AVERAGED = {"ema", "swa", "averaged", "average", "avg", "polyak", "teacher", "modelema"}
"""Words in the place of averaged weights, which score better than the raw ones beside them."""
COPIES = re.compile(r"encoder_k\b|key_encoder|momentum|target")
"""The slow copies of contrastive training: the network that is used afterwards is the other."""


@dataclass(frozen=True)
class Place:
    """A network in a file: all tensors with one prefix."""

    name: str
    """What stands before the tensors' own names: `teacher.backbone`; empty: nothing."""
    tensors: dict[str, Tensor]
    """By their own names, the last layer's and what lies beside the network too."""
    averaged: bool

    @property
    def rank(self) -> int:
        """Averaged weights come first, slow copies last."""
        return 0 if self.averaged else 2 if COPIES.search(self.name.lower()) else 1

    @property
    def told(self) -> str:
        """The name for a message."""
        return f"`{self.name}`" if self.name else "the tensors without a prefix"


@dataclass(frozen=True)
class Wanted:
    """What a network needs of a file: its tensors without the last layer."""

    shapes: Shapes
    head: str
    """The first part of the last layer's name, whatever form the file's own has."""
    modules: frozenset[str]
    """The first parts of all names: what a file has beside these is no part of the network."""

    def body_in(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of a network without its last layer and without what lies beside it."""
        return {
            key: value
            for key, value in tensors.items()
            if key in self.shapes
            or (self._top(key) in self.modules and self._top(key) != self.head)
        }

    def count(self) -> int:
        """How many tensors are needed."""
        return sum(not key.endswith(COUNTER) for key in self.shapes)

    @staticmethod
    def _top(key: str) -> str:
        return key.split(".", 1)[0]

    def misfit(self, tensors: Mapping[str, Tensor], *, given: Mapping[str, Tensor]) -> str:
        """In what way tensors are not those needed; empty where they are.

        Args:
            tensors: what was taken for the network.
            given: what of the file the message counts unknown tensors in.
        """
        missing = [k for k in self.shapes if k not in tensors and not k.endswith(COUNTER)]
        shapes = [
            f"{key}: {tuple(tensors[key].shape)}, not {tuple(shape)}"
            for key, shape in self.shapes.items()
            if key in tensors and tensors[key].shape != shape
        ]
        unknown = [key for key in given if key not in self.shapes]
        counts = (
            (f"of {self.count()} are missing", missing),
            (f"of the {len(given)} given are unknown", unknown),
            ("have another shape", shapes),
        )
        return "; ".join(f"{len(keys)} {what} ({first_few(keys)})" for what, keys in counts if keys)


def places_in(tensors: Mapping[str, Tensor], wanted: Wanted) -> list[Place]:
    """Where a file has most of a network's tensors, the place with most of them first."""
    found: Counter[str] = Counter()
    for key in tensors:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in wanted.shapes:
                found[".".join(parts[:at])] += 1
    return [
        _place(tensors, name, wanted.shapes)
        for name, count in found.most_common()
        if 2 * count > len(wanted.shapes)
    ]


def _place(tensors: Mapping[str, Tensor], name: str, shapes: Shapes) -> Place:
    start = f"{name}." if name else ""
    own = {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    counter = f"{name.rpartition('module')[0]}n_averaged"
    averaged = bool(words & AVERAGED) or (name.endswith("module") and counter in tensors)
    return Place(name, {k: _three_channels(t, shapes.get(k)) for k, t in own.items()}, averaged)


def _three_channels(tensor: Tensor, wanted: torch.Size | None) -> Tensor:
    """A convolution of one channel as that of three equal ones, which gives the same result."""
    if wanted is None or len(wanted) != 4 or wanted[1] != 3:
        return tensor
    if tensor.shape != (wanted[0], 1, *wanted[2:]):
        return tensor
    return tensor.float().expand(wanted) / 3


def fitting_place(tensors: Mapping[str, Tensor], wanted: Wanted, source: str) -> Place | None:
    """The network in a file that fits, averaged weights before others; None where none does.

    Raises:
        WeightsError: several fit, and none of them comes before the others.
    """
    fits = [
        place
        for place in places_in(tensors, wanted)
        if not wanted.misfit(body := wanted.body_in(place.tensors), given=body)
    ]
    if not fits:
        return None
    first = min(place.rank for place in fits)
    best = [place for place in fits if place.rank == first]
    if any(not _same(best[0], other, wanted.shapes) for other in best[1:]):
        raise WeightsError(
            f"{source} holds {len(best)} networks that fit, and none is the averaged one: "
            f"{first_few([place.told for place in best])}. Save the one that is meant alone"
        )
    return best[0]


def _same(one: Place, other: Place, shapes: Shapes) -> bool:
    return all(
        torch.equal(one.tensors[key], other.tensors[key])
        for key in shapes
        if not key.endswith(COUNTER)
    )


def refuse_not_finite(tensors: Mapping[str, Tensor], source: object) -> None:
    """Raise where a weight is no number: the network would score nothing, and say so late.

    Raises:
        WeightsError: NaN or an infinity; which tensors, and how many values.
    """
    wrong = {
        name: bad
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and (bad := int((~torch.isfinite(tensor)).sum()))
    }
    if wrong:
        named = [f"{name}: {counted(count, 'value')}" for name, count in wrong.items()]
        raise WeightsError(
            f"{source} has weights that are NaN or infinite ({first_few(named)}): its training "
            "went astray. Give weights from before that"
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a state-dict file by their full names, on the CPU; nothing in it is run.

    What stands in dictionaries within the file has their names before its own: `teacher.fc.bias`.

    Raises:
        WeightsError: no such file, a damaged one, or one without tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if not path.stat().st_size:
        raise WeightsError(f"{path} is empty: copy or download it again")
    try:
        loaded = _read(path)
    except PermissionError:
        raise WeightsError(f"{path} cannot be read: you have no permission to") from None
    # UnpicklingError, RuntimeError, EOFError, SafetensorError ...: whatever a bad file provokes.
    except Exception as error:
        code = _CODE.search(str(error))
        if code:
            raise WeightsError(
                f"{path} is refused: it holds code or objects ({code[1] or code[2]}) beside its "
                "tensors, and nothing of it was run. Where the file is from, save the tensors "
                "alone: torch.save(network.state_dict(), FILE), or a .safetensors file"
            ) from None
        raise WeightsError(
            f"{path} is damaged, or not what its suffix says ({_reason(error)}); nothing of it "
            "was run. Copy it again, or save it anew with torch.save(network.state_dict(), FILE) "
            "or as .safetensors"
        ) from None
    return modern_names(_tensors_in(loaded, path), path)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        # torch warns of forms that it then refuses.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """The line of an error that says something of the file; torch's advice is to run its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "weights_only" not in line]
    return told[0].split(". ")[0].rstrip(".") if told else type(error).__name__


def _tensors_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        found = type(loaded).__name__
        raise WeightsError(f"{path} is not a state dict: expected names to tensors, found {found}")
    tensors = dict(_named_tensors(loaded, "", set(), 1))
    if not tensors:
        others = [f"{key}: {type(value).__name__}" for key, value in loaded.items()]
        found = first_few(others) if others else "nothing"
        raise WeightsError(f"{path} is not a state dict: expected names to tensors, found {found}")
    odd = [key for key, value in tensors.items() if value.layout != torch.strided or value.is_meta]
    if odd:
        raise WeightsError(f"{path} has tensors that are sparse or empty shells: {first_few(odd)}")
    return tensors


def _named_tensors(
    values: Mapping[Any, Any], start: str, seen: set[int], depth: int
) -> Iterator[tuple[str, Tensor]]:
    """All tensors in a dictionary and those within it, each of which is looked into once."""
    seen.add(id(values))  # one may hold itself
    for key, value in values.items():
        if isinstance(value, Tensor):
            yield f"{start}{key}", value
        elif isinstance(value, Mapping) and depth < DEEPEST and id(value) not in seen:
            yield from _named_tensors(value, f"{start}{key}.", seen, depth + 1)


def modern_names(tensors: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """DenseNet's tensors by the names that torchvision has given them since 2018."""
    plain: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = _OLD_DENSENET.sub(r"\1\2", key)
        if name in plain:
            raise WeightsError(f"{source} has {name} twice, by its old and its new name")
        plain[name] = value
    return plain
