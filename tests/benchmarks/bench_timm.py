"""How many of timm's pretrained networks can be used, and why the others cannot.

python tests/benchmarks/bench_timm.py [IMAGE_SIZE] [EVERY]

Each is built on the device `meta`, without weights and without computing: named by timm, given a
head of 14 logits, parted into blocks, and walked through with an image. Those that take only a size
of their own are tried at that. With EVERY 4, each fourth network is; all take twenty minutes.
"""

import re
import sys
import warnings
from collections import Counter

import timm
import torch
from rich.console import Console
from rich.table import Table

from cxrtool.core.errors import UsageError
from cxrtool.networks.architectures import (
    blocks_of,
    build_network,
    head_name,
    head_of,
    refuse_image_size,
)
from cxrtool.networks.feature_maps import as_maps, last_features, logits_of_features
from cxrtool.networks.timm_networks import own_size


def walked(name: str, image_size: int) -> str:
    """How far a network comes: "heat maps", "logits", or why it cannot be used."""
    with torch.device("meta"), torch.no_grad():
        network = build_network(f"timm/{name}", 14, image_size=image_size).eval()
        refuse_image_size(network, image_size)
        assert all(blocks_of(network).groups())
        # There is no autocast to switch off on this device.
        plain = torch.nn.Linear(head_of(network).in_features, 14)
        network.set_submodule(head_name(network), plain)
        images = torch.empty(2, 3, image_size, image_size)
        assert network(images).shape == (2, 14)
        try:
            features = last_features(network, images)
            as_maps(network, features)
            assert logits_of_features(network, features).shape == (2, 14)
        except (AttributeError, TypeError, RuntimeError, ValueError, UsageError, AssertionError):
            return "logits"
    return "heat maps"


def found_for(name: str, image_size: int) -> str:
    """The same at the size asked for, or else at the network's own."""
    try:
        return walked(name, image_size)
    except UsageError as error:
        size = own_size(name)
        if size is None or not re.search("image-size|images of", str(error)):
            return reason(error)
    try:
        return f"{walked(name, size)}, at its own size alone"
    except UsageError as error:
        return reason(error)


def reason(error: UsageError) -> str:
    """What is wrong, without the network's name."""
    text = re.sub(r"(--arch )?timm/\S+ ?", "", str(error)).strip()
    return re.split(r"[:;]|, so that| \(", text)[0]


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    image_size = int(sys.argv[1]) if sys.argv[1:] else 320
    every = int(sys.argv[2]) if sys.argv[2:] else 1
    names = sorted({name.partition(".")[0] for name in timm.list_pretrained()})[::every]
    found: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for name in names:
        kind = found_for(name, image_size)
        found[kind] += 1
        examples.setdefault(kind, []).append(name)
    table = Table("", "networks", "such as", box=None)
    for kind, count in found.most_common():
        table.add_row(kind, f"{count:,}", ", ".join(examples[kind][:3]))
    console = Console()
    console.print(f"timm {timm.__version__}: {len(names):,} pretrained networks at {image_size} px")
    console.print(table)


if __name__ == "__main__":
    main()
