"""Learned positions of a pretrained network for another size of images, by bicubic resampling.

A ViT has a position a patch, a Swin a bias for each distance within a window; images of another
size have another grid of patches, or smaller windows.
"""

import warnings
from collections.abc import Mapping
from math import isqrt

from torch import Tensor, nn

TABLE = "relative_position_bias_table"


def resampled(tensors: Mapping[str, Tensor], network: nn.Module) -> tuple[dict[str, Tensor], str]:
    """Tensors with their positions for the image size that the network was built for.

    What has the right shape already, or is no square grid, is left as it is.

    Args:
        tensors: of a network of the same arrangement, by the network's own names.
        network: that is to have them.

    Returns:
        The tensors, and in words what was resampled; empty where nothing was.
    """
    found, told = dict(tensors), []
    for key, own in network.state_dict().items():
        value = tensors.get(key)
        if value is None or value.shape == own.shape or value.ndim != own.ndim:
            continue
        if key == "pos_embed":
            made = _positions(value, own, network)
        elif key.endswith(TABLE):
            made = _window(value, own)
        else:
            made = None
        if made is not None:
            found[key] = made[0]
            told.append(made[1])
    return found, "; ".join(dict.fromkeys(told))


def _positions(value: Tensor, own: Tensor, network: nn.Module) -> tuple[Tensor, str] | None:
    """A ViT's positions (1, tokens, width) of which the first may be those of tokens before."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is None or value.ndim != 3 or value.shape[-1] != own.shape[-1]:
        return None
    before = own.shape[1] - grid[0] * grid[1]
    patches = value.shape[1] - before
    side = isqrt(max(patches, 0))
    if before < 0 or side == 0 or side**2 != patches:
        return None
    made = resample_abs_pos_embed(
        value.float(), list(grid), old_size=[side, side], num_prefix_tokens=before
    )
    return made, f"the grid of positions was resampled from {side} x {side} to {_by(grid)}"


def _window(value: Tensor, own: Tensor) -> tuple[Tensor, str] | None:
    """A Swin's biases ((2 w - 1) squared, heads) of a window of w x w patches."""
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

    before, after = ((isqrt(one.shape[0]) + 1) // 2 for one in (value, own))
    squares = (2 * before - 1) ** 2 == value.shape[0] and (2 * after - 1) ** 2 == own.shape[0]
    if value.shape[1] != own.shape[1] or not squares:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm about its own code
        made = resize_rel_pos_bias_table(value.float(), (after, after), tuple(own.shape))
    return made, f"window positions were resampled from {_by((before,) * 2)} to {_by((after,) * 2)}"


def _by(grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, grid))
