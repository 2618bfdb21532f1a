"""Networks of published weights that timm can build and has no name for, named in its registry.

With these names they are timm networks like any other: `--arch timm/eva_x_small_patch16`.
"""

from typing import Any

import timm
from timm.layers.mlp import SwiGLUPacked
from timm.models import register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

__all__ = [
    "chexfound_vit_large_patch16",
    "eva_x_base_patch16",
    "eva_x_small_patch16",
    "eva_x_tiny_patch16",
]


def _like(name: str, given: dict[str, Any], **changes: Any) -> Any:
    """A network of timm's with some of its arrangement changed; weights are never loaded here."""
    known = {key: one for key, one in given.items() if key not in ("pretrained", "pretrained_cfg")}
    return timm.create_model(name, pretrained=False, **{**changes, **known})


def _eva_x(name: str, given: dict[str, Any]) -> Eva:
    # EVA-02 (Fang et al. 2023) with patches of 16 pixels: at 224 a grid of 14 x 14, which its
    # rotary positions refer to.
    grid = {"patch_size": 16, "ref_feat_shape": (14, 14)}
    return _like(name, given, **grid)  # type: ignore[no-any-return]


@register_model
def eva_x_tiny_patch16(**given: Any) -> Eva:
    """EVA-X-Ti/16 (Yao et al. 2024, arXiv 2405.05237)."""
    return _eva_x("eva02_tiny_patch14_224", given)


@register_model
def eva_x_small_patch16(**given: Any) -> Eva:
    """EVA-X-S/16."""
    return _eva_x("eva02_small_patch14_224", given)


@register_model
def eva_x_base_patch16(**given: Any) -> Eva:
    """EVA-X-B/16: queries, keys and values apart, and a norm inside the SwiGLU."""
    return _eva_x("eva02_base_patch14_224", given)


@register_model
def chexfound_vit_large_patch16(**given: Any) -> VisionTransformer:
    """CheXFound's ViT-L/16 (Yang et al. 2025, arXiv 2502.05142): four registers, SwiGLU.

    DINOv2 makes a SwiGLU of two thirds of the width, rounded up to a multiple of 8: of 4096 it is
    2736, twice (gate and value) in one layer.
    """
    return _like(  # type: ignore[no-any-return]
        "vit_large_patch14_reg4_dinov2",
        given,
        patch_size=16,
        img_size=512,
        mlp_layer=SwiGLUPacked,
        act_layer=nn.SiLU,
        mlp_ratio=2 * 2736 / 1024,
    )
