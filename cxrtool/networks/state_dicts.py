"""Find networks in a state-dict file, whatever their tensors are called; no code in it is run.

Training codes save their networks in many ways: alone, in a checkpoint (`state_dict`, `model`,
`net`, ...), as a part of another module (`backbone.`, `encoder_q.`), for several processes
(`module.`), compiled (`_orig_mod.`), and averaged weights beside the raw ones (`ema`, `teacher`).
All of these are prefixes, so a network is found by its tensors' own names.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from cxrtool.core.errors import WeightsError, counted, first_few
from cxrtool.networks.pickles import kind_of, parts_of, read_inert, walk

Shapes = Mapping[str, torch.Size]
Resample = Callable[[Mapping[str, Tensor]], tuple[dict[str, Tensor], str]]
"""Tensors by a network's names, with positions for its size, and in words what was done."""

# torchvision's DenseNet files of 2017 separate a layer's numbers by a dot: `norm.1`.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
_CODE = re.compile(r"\bTorchScript\b(?= archive)")

COUNTER = "num_batches_tracked"
"""Files of 2017 have no batch counters, and inference does not need them."""

DEEPEST = 20
"""Levels of nested dictionaries and layers that are searched; training codes have three."""

AVERAGED = {"ema", "swa", "averaged", "average", "avg", "polyak", "teacher", "modelema"}
"""Words that mark averaged weights, which score better than the raw ones."""
COPIES = re.compile(r"encoder_k\b|key_encoder|momentum|target")
"""Momentum copies of contrastive training; the other network is the one to use."""


@dataclass(frozen=True)
class Place:
    """A network in a file: all tensors with one prefix."""

    name: str
    """The prefix: `teacher.backbone`, or empty."""
    tensors: dict[str, Tensor]
    """By their own names, including the last layer and what else has this prefix."""
    averaged: bool
    resampled: str = ""
    """In words, which positions were made for another size of images."""

    @property
    def rank(self) -> int:
        """Averaged weights come first, momentum copies last."""
        return 0 if self.averaged else 2 if COPIES.search(self.name.lower()) else 1

    @property
    def description(self) -> str:
        """The name for a message."""
        return f"`{self.name}`" if self.name else "the tensors without a prefix"


@dataclass(frozen=True)
class Needed:
    """What a network needs of a file: its tensors without the last layer."""

    shapes: Shapes
    head: str
    """The first part of the last layer's name."""
    modules: frozenset[str]
    """The first parts of all names; others are not part of the network."""
    resample: Resample | None = None
    """What makes positions for the network's image size."""

    def body_in(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's tensors, without the last layer and what is not part of it."""
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
        """Describe how tensors differ from those needed; empty if they do not.

        Args:
            tensors: those taken for the network.
            given: those among which the message counts unknown ones.
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


def places_in(tensors: Mapping[str, Tensor], needed: Needed) -> list[Place]:
    """Places with more than half of a network's tensors, the fullest first."""
    found: Counter[str] = Counter()
    for key in tensors:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in needed.shapes:
                found[".".join(parts[:at])] += 1
    return [
        _place(tensors, name, needed)
        for name, count in found.most_common()
        if 2 * count > len(needed.shapes)
    ]


def _place(tensors: Mapping[str, Tensor], name: str, needed: Needed) -> Place:
    start = f"{name}." if name else ""
    own = {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    counter = f"{name.rpartition('module')[0]}n_averaged"
    averaged = bool(words & AVERAGED) or (name.endswith("module") and counter in tensors)
    own = {key: _three_channels(value, needed.shapes.get(key)) for key, value in own.items()}
    own, resampled = needed.resample(own) if needed.resample else (own, "")
    return Place(name, own, averaged, resampled)


def _three_channels(tensor: Tensor, needed: torch.Size | None) -> Tensor:
    """Spread a convolution's one input channel over three equal ones, with the same result."""
    if needed is None or len(needed) != 4 or needed[1] != 3:
        return tensor
    if tensor.shape != (needed[0], 1, *needed[2:]):
        return tensor
    return tensor.float().expand(needed) / 3


def fitting_place(tensors: Mapping[str, Tensor], needed: Needed, source: str) -> Place | None:
    """The network in a file that fits, averaged weights first; None if none fits.

    Raises:
        WeightsError: several fit, and none has priority.
    """
    fits = [
        place
        for place in places_in(tensors, needed)
        if not needed.misfit(body := needed.body_in(place.tensors), given=body)
    ]
    if not fits:
        return None
    first = min(place.rank for place in fits)
    best = [place for place in fits if place.rank == first]
    if any(not _same(best[0], other, needed.shapes) for other in best[1:]):
        raise WeightsError(
            f"{source} contains {len(best)} networks that fit, none of them averaged: "
            f"{first_few([place.description for place in best])}. Save one of them alone"
        )
    return best[0]


def _same(one: Place, other: Place, shapes: Shapes) -> bool:
    return all(
        torch.equal(one.tensors[key], other.tensors[key])
        for key in shapes
        if not key.endswith(COUNTER)
    )


def refuse_not_finite(tensors: Mapping[str, Tensor], source: object) -> None:
    """Refuse weights that are not finite.

    Raises:
        WeightsError: names the tensors, and how many values are NaN or infinite.
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
            "diverged. Use weights from before that"
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a state-dict file to the CPU, without running code from it.

    Keys of nested dictionaries become prefixes: `teacher.fc.bias`.

    Raises:
        WeightsError: the file is missing, damaged, or without tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if not path.stat().st_size:
        raise WeightsError(f"{path} is empty: copy or download it again")
    try:
        loaded = _read(path)
    except PermissionError:
        raise WeightsError(f"{path} cannot be read: you have no permission to") from None
    except WeightsError:
        raise
    # UnpicklingError, RuntimeError, EOFError, SafetensorError ...: whatever a bad file provokes.
    except Exception as error:
        code = _CODE.search(str(error))
        if code:
            raise WeightsError(
                f"{path} is refused: it contains code ({code[0]}) beside its tensors; none of it "
                "was run. Save only the tensors where the file was made: "
                "torch.save(network.state_dict(), FILE), or a .safetensors file"
            ) from None
        raise WeightsError(
            f"{path} is damaged, or not what its suffix says ({_reason(error)}); nothing of it "
            "was run. Copy it again, or save it with torch.save(network.state_dict(), FILE) "
            "or as .safetensors"
        ) from None
    return modern_names(_tensors_in(loaded, path), path)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        # torch warns about formats that it then refuses.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError:
            return read_inert(path)  # objects beside its tensors, or around them


def _reason(error: Exception) -> str:
    """The informative line of an error: torch's advice is to run the file's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if "weights_only" not in line]
    return useful[0].split(". ")[0].rstrip(".") if useful else type(error).__name__


def _tensors_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    inside = parts_of(loaded)
    if inside is None:
        raise WeightsError(
            f"{path} is not a state dict: expected names to tensors, found {kind_of(loaded)}"
        )
    tensors = dict(walk(loaded, DEEPEST))
    if not tensors:
        others = [f"{key}: {kind_of(value)}" for key, value in inside.items()]
        found = first_few(others) if others else "nothing"
        raise WeightsError(f"{path} is not a state dict: expected names to tensors, found {found}")
    odd = [key for key, value in tensors.items() if value.layout != torch.strided or value.is_meta]
    if odd:
        raise WeightsError(f"{path} has tensors that are sparse or without data: {first_few(odd)}")
    return tensors


def modern_names(tensors: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """Rename DenseNet's tensors as torchvision does since 2018."""
    plain: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = _OLD_DENSENET.sub(r"\1\2", key)
        if name in plain:
            raise WeightsError(f"{source} has {name} twice, under its old and its new name")
        plain[name] = value
    return plain
