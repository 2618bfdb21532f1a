"""A finished run's network, with its weights, on a device."""

from textwrap import shorten

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cxrtool.core.errors import RunError
from cxrtool.core.run_cards import RunCard
from cxrtool.core.runs import RunFolder
from cxrtool.networks.architectures import build_network


def load_network(run: RunFolder, card: RunCard, device: torch.device | str) -> nn.Module:
    """Build a run's network and load its weights: fp32, in eval mode, channels last.

    `card` is from `read_card`, which has compared the file with its fingerprint.

    Raises:
        RunError: the weights do not fit the network.
    """
    network = build_network(
        card.arch, len(card.labels), image_size=card.image_size, drop_rate=card.drop_rate
    )
    try:
        network.load_state_dict(load_file(run.weights))
    except (RuntimeError, SafetensorError) as error:
        reason = shorten(str(error), 300, placeholder=" ...")  # torch lists every tensor
        raise RunError(f"{run.weights} does not fit {run.model.name}: {reason}") from None
    return network.to(device).to(memory_format=torch.channels_last).eval()
