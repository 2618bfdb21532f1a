"""Networks of torchvision's families with few and narrow layers, under the names of whole ones.

As a program it is `cxrtool` with them, or a Python file that it is given, with the smallest ones. A
`resnet18` is the whole one: the run that tests share is one. What trains a run of its own may take
a small one too.
"""

import runpy
import sys
from functools import partial

from torch import nn
from torchvision.models import ConvNeXt, DenseNet, EfficientNet, ResNet, SwinTransformer, get_model
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig, _efficientnet_conf
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

SMALLEST = (
    "resnet18",
    "densenet121",
    "convnext_tiny",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "swin_t",
    "swin_v2_t",
)
"""One of each family, and both versions of EfficientNet and Swin: the others only are larger."""


class SmallResNet(ResNet):
    """With one convolution a layer and without sums; `width` channels in place of 64."""

    def __init__(self, labels, width):
        nn.Module.__init__(self)
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = _layer(width, width, 1), _layer(width, 2 * width, 2)
        self.layer3, self.layer4 = _layer(2 * width, 4 * width, 2), _layer(4 * width, 8 * width, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8 * width, labels)


def _layer(before, after, stride):
    convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def small_densenet(**options):
    return DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16, **options)


def small_convnext():
    widths = (24, 48, 96, 192)
    stages = [CNBlockConfig(*pair, 1) for pair in zip(widths, [*widths[1:], None], strict=True)]
    return ConvNeXt(stages, stochastic_depth_prob=0.1)


def small_efficientnet(arch):
    stages, last = _efficientnet_conf(arch, width_mult=0.25, depth_mult=0.34)
    return EfficientNet(stages, dropout=0.2, last_channel=last)


def small_efficientnet_v2():
    """Two layers a stage, a quarter of the channels: the families' own factors do not act on it."""
    stages, _ = _efficientnet_conf("efficientnet_v2_s")
    for stage in stages:
        stage.num_layers = min(stage.num_layers, 2)
        stage.input_channels, stage.out_channels = (
            max(8, width // 4) for width in (stage.input_channels, stage.out_channels)
        )
    return EfficientNet(
        stages, dropout=0.2, last_channel=320, norm_layer=partial(nn.BatchNorm2d, eps=1e-3)
    )


def small_swin(*parts, width=24, depth=1):
    return SwinTransformer(
        patch_size=[4, 4],
        embed_dim=width,
        depths=[2, depth, depth, depth],
        num_heads=[3, 6, 12, 24],
        window_size=[8, 8],
        stochastic_depth_prob=0.2,
        **dict(zip(("block", "downsample_layer"), parts, strict=False)),
    )


SMALL = {
    **dict.fromkeys(("resnet34", "resnet101"), partial(SmallResNet, 1000, 16)),
    "densenet121": small_densenet,
    "convnext_tiny": small_convnext,
    "efficientnet_b0": partial(small_efficientnet, "efficientnet_b0"),
    "efficientnet_v2_s": small_efficientnet_v2,
    "swin_t": small_swin,
    "swin_v2_t": partial(small_swin, SwinTransformerBlockV2, PatchMergingV2),
}


def get_smaller(arch: str, weights: None = None, **options: float) -> nn.Module:
    """In place of `torchvision.models.get_model`: a small network where there is one."""
    if arch in SMALL:
        return SMALL[arch](**options)
    return get_model(arch, weights=weights, **options)


def get_smallest(arch: str, weights: None = None, **options: float) -> nn.Module:
    """The same, with a small `resnet18` too, and an `efficientnet_b0` of so few tensors that its
    checkpoints are written at once."""
    if arch == "resnet18":
        return SmallResNet(1000, 8)
    if arch == "efficientnet_b0":
        stages = [(1, 3, 1, 8, 8, 1), (4, 3, 2, 8, 16, 2), (4, 3, 2, 16, 24, 2)]
        return EfficientNet([MBConvConfig(*stage) for stage in stages], dropout=0.2)
    return get_smaller(arch, weights=weights, **options)


if __name__ == "__main__":
    import torchvision.models

    if sys.argv[1].endswith(".py"):
        torchvision.models.get_model = get_smallest
        runpy.run_path(sys.argv[1], run_name="__main__")
        sys.exit()

    from cxrtool.cli.app import main

    torchvision.models.get_model = get_smaller
    sys.argv[0] = "cxrtool"
    main()
