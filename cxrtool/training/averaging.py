"""The running average of a network's weights, which scores better than its last step.

torch's `AveragedModel` takes over the first step whole, and hands the number of updates to the
averaging function as a tensor on the device: the decay that rises with it (`WeightAverage.update`)
would wait for the GPU in every step. Its integer buffers would need a case of their own, too.
"""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a network's floating parameters and buffers.

    Integers, such as batch normalisation's count of batches, are copied. The average starts at
    the network's present weights; each update moves it towards the new ones.
    """

    network: nn.Module
    """The averaged copy: in eval mode, without gradients, in the original's memory format."""
    updates: int
    """Updates so far. To resume: load the state into `network`, and set this."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy the network, which should be on its device and in its memory format by now.

        Args:
            network: the plain module, not one that is compiled or wrapped for many processes.
            decay: how much of the average an update keeps in the long run, in [0, 1).
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's weights after a step.

        At first less is kept than `decay` says, (1 + t) / (10 + t) after t updates, so that the
        weights of the start do not weigh on a short training.
        """
        averaged, averaged_others = _floating_and_others(self.network)
        present, others = _floating_and_others(network)
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        # On a GPU a few kernels for all tensors, where a loop over them launches hundreds.
        torch._foreach_lerp_(averaged, present, 1 - kept)
        if others:
            torch._foreach_copy_(averaged_others, others)
        self.updates += 1


def _floating_and_others(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """All parameters and buffers, each once: those of a floating type, and the rest."""
    tensors = [*network.parameters(), *network.buffers()]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    return floating, [tensor for tensor in tensors if not tensor.is_floating_point()]
