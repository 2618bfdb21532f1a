"""Published weights to start from: what is known of each, from one table (starts.yaml)."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from cxrtool.core.errors import near_names

TABLE = Path(__file__).with_name("starts.yaml")
XRV, HUB = "xrv:", "hf:"
"""What names begin with that are torchxrayvision's, or a repository's on the Hugging Face Hub."""
OPEN, FORM, BY_HAND = "open", "form", "by hand"
_SHORT = "densenet121-res224-"
"""What torchxrayvision's own short names leave out: `xrv:chex`."""


@dataclass(frozen=True, kw_only=True)
class StartCard:
    """What is known of published weights; empty is not known."""

    name: str
    arch: str
    """As in `--arch`."""
    chest: bool = False
    """Whether they were trained on chest X-rays."""
    licence: str = ""
    image_size: int = 224
    """Of the images that they were trained on."""
    patch: int | None = None
    """Of whose multiple an image's size has to be."""
    channels: int = 3
    mean: tuple[float, ...]
    """Of pixels in 0..1: one number for grey images, or one a channel."""
    std: tuple[float, ...]
    interpolation: str = ""
    trained_on: tuple[str, ...] = ()
    """The collections whose patients they have seen, by our names of sources."""
    trained_words: str = ""
    labels: tuple[str, ...] = ()
    """Of their own last layer, in its order; empty for a logit that stands for none."""
    reference: str = ""
    access: str = OPEN
    """`open`: to be downloaded; `form`: asked of the authors; `by hand`: from a page."""
    url: str = ""
    """Of the file, or where it is not open, of the page about it."""
    hf: str = ""
    """The repository on the Hugging Face Hub that has the file."""
    file: str
    """The name under which it is published."""
    sha256: str = ""
    key: str = ""
    """Where in the file the network is; empty: found by its tensors."""
    adapter: str = "none"
    """How its tensors get this architecture's names (`networks.adapters`)."""
    note: str = ""

    @property
    def grey_mean(self) -> float:
        """The mean of a grey pixel: that of the three channels."""
        return sum(self.mean) / len(self.mean)

    @property
    def grey_std(self) -> float:
        """The standard deviation of a grey pixel: the mean of those of the channels."""
        return sum(self.std) / len(self.std)

    @property
    def link(self) -> str:
        """Where the file is published, or the page that leads to it."""
        return hub_address(self.hf, self.file) if self.hf else self.url


def hub_address(repository: str, file: str) -> str:
    """Where the Hugging Face Hub has a file of a repository."""
    return f"https://huggingface.co/{repository}/resolve/main/{file}"


@cache
def start_cards() -> dict[str, StartCard]:
    """All starts by name, in the table's order."""
    from cxrtool.core.yaml_files import read_yaml

    kinds = {one.name: str(one.type) for one in fields(StartCard)}
    found = {}
    for name, values in read_yaml(TABLE).items():
        known: dict[str, Any] = {
            key: tuple(value) if kinds[key].startswith("tuple") else value
            for key, value in values.items()
        }
        found[str(name)] = StartCard(name=str(name), **known)
    return found


def find_start(name: str) -> StartCard | None:
    """The start of a name, or of torchxrayvision's short one; None where there is none."""
    cards = start_cards()
    return cards.get(name) or cards.get(name.replace(XRV, XRV + _SHORT, 1))


def of_start(arch: str, weights: str, usual: str) -> tuple[str, str]:
    """The architecture and the weights that `--arch START` means; others as they are.

    Args:
        arch: an architecture's name, or a start's.
        weights: those that are asked for.
        usual: those that nobody asked for, in whose place the start's own come.
    """
    card = find_start(arch)
    if card is None:
        return arch, weights
    return card.arch, card.name if weights == usual else weights


def name_of_start(arch: str, weights: str) -> str:
    """What a training is called by: its start, where it begins with one's own network, or its
    architecture."""
    card = find_start(weights)
    return weights.replace(":", "-") if card is not None and card.arch == arch else arch


def start_that_saw(weights: str, registers: Iterable[str]) -> StartCard | None:
    """The start that `--weights` names, where it was trained on patients of some registers."""
    card = find_start(weights)
    return card if card is not None and not set(card.trained_on).isdisjoint(registers) else None


def near_starts(name: str) -> list[str]:
    """Names of starts that are like a mistyped one."""
    return near_names(name, list(start_cards()))


def start_of_file(file: str) -> StartCard | None:
    """The start that is published under a file's name, where only one is."""
    found = [card for card in start_cards().values() if card.file == file]
    return found[0] if len(found) == 1 else None
