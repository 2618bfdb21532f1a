"""A network in two halves: image to last feature maps, and those to logits."""

import torch
from torch import Tensor, nn
from torchvision import models

from cxrtool.images.heat_grid import Cells
from cxrtool.networks.architectures import head_of

STRIDE = 32
"""Pixels of the network's input from one cell of its last feature maps to the next."""
FIRST_CELL: dict[type[nn.Module], float] = {
    models.ResNet: 0.0,
    models.DenseNet: 14.0,
    models.ConvNeXt: 15.5,
    models.EfficientNet: 0.0,
    models.SwinTransformer: 15.5,
}
"""The centre of the first cell's receptive field, in pixels from 0.

From each layer's kernel k, stride and padding p by Araujo et al. 2019 (Distill, "Computing
Receptive Fields of Convolutional Neural Networks", centres of the field): a layer adds (k - 1) / 2
- p times the strides before it. A kernel of three with padding adds nothing, so that a ResNet's
cells lie half a cell up and to the left of where a plain resize of the map would put them;
DenseNet's three poolings of two by two pixels add 2, 4 and 8; a merging of whole patches is
centred.
"""


def cells_of(network: nn.Module, image_size: int) -> Cells:
    """Where the cells of the last feature maps lie in a square input of so many pixels."""
    first = next(pixel for family, pixel in FIRST_CELL.items() if isinstance(network, family))
    return Cells((first + 0.5) / image_size, STRIDE / image_size)


def last_features(network: nn.Module, scaled: Tensor) -> Tensor:
    """The maps that enter the global pooling, (n, channels, h, w).

    After DenseNet's ReLU; after Swin's norm, with channels first.

    Args:
        network: from `build_network`, in eval mode.
        scaled: its input (n, 3, size, size).
    """
    maps: Tensor
    if isinstance(network, models.ResNet):
        maps = network.maxpool(network.relu(network.bn1(network.conv1(scaled))))
        for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
            maps = layer(maps)
        return maps
    maps = network.get_submodule("features")(scaled)
    if isinstance(network, models.DenseNet):
        return torch.relu(maps)
    if isinstance(network, models.SwinTransformer):
        maps = network.permute(network.norm(maps))
    return maps


def logits_of_features(network: nn.Module, features: Tensor) -> Tensor:
    """The logits (n, labels) of maps (n, channels, h, w), by the rest of the network."""
    pooled = features.mean((2, 3))
    logits: Tensor
    if isinstance(network, models.ConvNeXt):
        # Its norm needs the maps' shape; it flattens afterwards.
        logits = network.classifier(pooled[:, :, None, None])
    elif isinstance(network, models.EfficientNet):
        logits = network.classifier(pooled)
    else:
        logits = head_of(network)(pooled)
    return logits
