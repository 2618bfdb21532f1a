"""Where a network looked: Grad-CAM and the exact class activation map."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
from cxrtool.networks.cells import cells_of
from cxrtool.networks.devices import choose_device
from cxrtool.networks.feature_maps import (
    as_maps,
    attended,
    by_class_token,
    last_features,
    logits_of_features,
    refuse_without_halves,
)
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

    @cached_property
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
            UsageError: an unknown label or method, or `cam` of a network that has no exact map.
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
                maps = self._class_activation(features)[0, chosen]
        return maps.cpu().numpy()

    def _class_activation(self, features: Tensor) -> Tensor:
        if as_maps(self.network, features).shape[1] == head_of(self.network).in_features:
            maps, constants = class_activation(self.network, features)
            logits = logits_of_features(self.network, features)
            if torch.allclose(maps.mean((2, 3)) + constants, logits, rtol=1e-3, atol=1e-3):
                return maps
        raise UsageError(
            f"a {type(self.network).__name__} has no exact class activation map: between its maps "
            "and its logits stands more than a mean and a linear layer; use gradcam"
        )

    def _place(self, label: str) -> int:
        if label not in self.labels:
            raise UsageError(unknown_name("label", label, self.labels))
        return self.labels.index(label)


def load_explainer(run: RunFolder, device: str = "cpu") -> Explainer:
    """Load a run's network for explanations.

    Raises:
        RunError: a file of the run is missing or altered, or its weights do not fit.
        UsageError: this machine has no such device, or the network has no maps.
    """
    card = read_card(run)
    chosen = choose_device(device)
    network = load_network(run, card, chosen).requires_grad_(False)
    refuse_without_halves(network, card.image_size)
    return Explainer(
        network=network,
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

    Where places reach the logits by a class token, each is attended to by its own weight, and a
    mean over positions says little (`bench_pointing.py`: peaks in the finding's box a third as
    often). There each position keeps its own derivative (Draelos & Carin 2020, arXiv 2011.08891,
    equation 4: HiResCAM, which is the same map where the last layer follows the pooling), by what
    the last block attends to.

    Args:
        network: only its end is computed, forwards and back.
        features: one image's `last_features`.
        labels: the logits' indices.

    Returns:
        (labels, h, w), 0 or more.
    """
    if not labels:
        return features.new_zeros(0, *as_maps(network, features).shape[2:])
    # One copy per label, so that one backward pass serves all.
    copies = features.detach().repeat(len(labels), *[1] * (features.ndim - 1))
    with torch.enable_grad():
        copies.requires_grad_()
        with attended(network) as seen:
            logits = logits_of_features(network, copies)
        asked = logits[range(len(labels)), list(labels)].sum()
        places = seen[0] if seen else copies
        (slopes,) = torch.autograd.grad(asked, places)
    weights = as_maps(network, slopes)
    if not by_class_token(network):
        weights = weights.mean((2, 3), keepdim=True)
    return torch.relu((weights * as_maps(network, places.detach())).sum(1))


@torch.no_grad()
def class_activation(network: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """Class activation maps (Zhou et al. 2016, CVPR, equations 1 and 2).

    A map's mean over positions plus the label's constant is the logit. The last layer is linear in
    the channels' means, so that it may be taken at each position before the mean. That is exact for
    all of torchvision's families and for those of timm's that end in the same way. ConvNeXt has a
    layer norm between the two: centring the channels is linear as well, and the deviation that it
    divides by is the image's own, one number for all positions; the constant is the logit of the
    norm's shift.

    Args:
        network: from `build_network`.
        features: `last_features`.

    Returns:
        Maps (n, labels, h, w), and constants (labels).
    """
    head, features = head_of(network), as_maps(network, features)
    weights: Tensor = head.weight
    constants: Tensor = head.bias
    norm = _norm_of_means(network)
    if norm is not None:
        constants = constants + weights @ norm.bias
        weights = weights * norm.weight
        weights = weights - weights.mean(1, keepdim=True)
        spread = features.mean((2, 3)).var(1, correction=0) + norm.eps
        features = features / spread.sqrt()[:, None, None, None]
    return torch.einsum("lc,nchw->nlhw", weights, features), constants


def _norm_of_means(network: nn.Module) -> nn.LayerNorm | None:
    """The layer norm between a ConvNeXt's pooling and its last layer."""
    if isinstance(network, models.ConvNeXt):
        norm = network.classifier[0]
    else:  # timm's
        norm = getattr(getattr(network, "head", None), "norm", None)
    return norm if isinstance(norm, nn.LayerNorm) else None
