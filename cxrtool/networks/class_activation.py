"""Where a network looked: Grad-CAM and the exact class activation map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models

from cxrtool.core.config import HEATMAPS
from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.images.heat_grid import Cells
from cxrtool.networks.architectures import head_of, normalise
from cxrtool.networks.devices import choose_device
from cxrtool.networks.feature_maps import cells_of, last_features, logits_of_features
from cxrtool.networks.trained import load_network


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A network that explains its scores by maps; thread-safe."""

    network: nn.Module
    """In eval mode, its parameters without gradients."""
    labels: tuple[str, ...]
    """In the order of the logits."""
    image_size: int
    pixel_mean: float
    pixel_std: float
    device: torch.device

    @property
    def cells(self) -> Cells:
        """Where the maps' cells lie in the image."""
        return cells_of(self.network, self.image_size)

    def maps(
        self, pixels: NDArray[np.uint8], labels: Sequence[str], method: str = "gradcam"
    ) -> NDArray[np.float32]:
        """Where the network looked for each label, in fp32 at the size of its last feature maps.

        Args:
            pixels: the network's input, grey (image_size, image_size).
            labels: any of the network's, in any order.
            method: `gradcam`, never negative, or `cam`, whose negative cells speak against the
                label; see `grad_cam` and `class_activation`.

        Returns:
            (labels, h, w), in logits, not scaled.

        Raises:
            UsageError: an unknown label or method.
            ValueError: an image of another size than the network's input.
        """
        if pixels.shape != (self.image_size, self.image_size):
            raise ValueError(f"an image of {pixels.shape} for a network of {self.image_size} px")
        chosen = [self._place(label) for label in labels]
        if method not in HEATMAPS:
            raise UsageError(unknown_name("method", method, HEATMAPS))
        grey = torch.from_numpy(np.array(pixels)).to(self.device)
        # Independent of the calling thread's context.
        with torch.inference_mode(False), torch.autocast(self.device.type, enabled=False):
            with torch.no_grad():
                scaled = normalise(grey[None, None].float() / 255, self.pixel_mean, self.pixel_std)
                layout = scaled.contiguous(memory_format=torch.channels_last)
                features = last_features(self.network, layout)
            if method == "gradcam":
                maps = grad_cam(self.network, features, chosen)
            else:
                maps = class_activation(self.network, features)[0][0, chosen]
        return maps.cpu().numpy()

    def _place(self, label: str) -> int:
        if label not in self.labels:
            raise UsageError(unknown_name("label", label, self.labels))
        return self.labels.index(label)


def load_explainer(run: RunFolder, device: str = "cpu") -> Explainer:
    """Load a run's network for explanations.

    Raises:
        RunError: a file of the run is missing or altered, or its weights do not fit.
        UsageError: this machine has no such device.
    """
    card = read_card(run)
    chosen = choose_device(device)
    return Explainer(
        network=load_network(run, card, chosen).requires_grad_(False),
        labels=card.labels,
        image_size=card.image_size,
        pixel_mean=card.pixel_mean,
        pixel_std=card.pixel_std,
        device=chosen,
    )


def grad_cam(network: nn.Module, features: Tensor, labels: Sequence[int]) -> Tensor:
    """Grad-CAM of one image (Selvaraju et al. 2017, ICCV, equations 1 and 2).

    A channel's weight is the mean over positions of the logit's derivative by that channel, and
    the map is the positive part of the weighted sum of the channels. Of a network whose last layer
    follows the pooling at once, the cells before the positive part is taken add up to the logit
    without its bias.

    Args:
        network: only its end is computed, forwards and back.
        features: one image's `last_features`, (1, channels, h, w).
        labels: the logits' indices.

    Returns:
        (labels, h, w), 0 or more.
    """
    if not labels:
        return features.new_zeros(0, *features.shape[2:])
    # One copy per label, so that one backward pass serves all.
    copies = features.detach().repeat(len(labels), 1, 1, 1)
    with torch.enable_grad():
        copies.requires_grad_()
        logits = logits_of_features(network, copies)
        asked = logits[range(len(labels)), list(labels)].sum()
        (slopes,) = torch.autograd.grad(asked, copies)
    weights = slopes.mean((2, 3), keepdim=True)
    return torch.relu((weights * copies.detach()).sum(1))


@torch.no_grad()
def class_activation(network: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """Class activation maps (Zhou et al. 2016, CVPR, equations 1 and 2), exact for every family.

    A map's mean over positions plus the label's constant is the logit. The last layer is linear in
    the channels' means, so that it may be taken at each position before the mean. ConvNeXt has a
    layer norm between the two: centring the channels is linear as well, and the deviation that it
    divides by is the image's own, one number for all positions; the constant is the logit of the
    norm's shift.

    Args:
        network: from `build_network`.
        features: `last_features`, (n, channels, h, w).

    Returns:
        Maps (n, labels, h, w), and constants (labels).
    """
    head = head_of(network)
    weights, constants = head.weight, head.bias
    if isinstance(network, models.ConvNeXt):
        norm = network.classifier[0]
        constants = constants + weights @ norm.bias
        weights = weights * norm.weight
        weights = weights - weights.mean(1, keepdim=True)
        spread = features.mean((2, 3)).var(1, correction=0) + norm.eps
        features = features / spread.sqrt()[:, None, None, None]
    return torch.einsum("lc,nchw->nlhw", weights, features), constants
