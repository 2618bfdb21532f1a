"""Tensors of published weights under the names that timm's and torchvision's networks have.

One function a format: names to names, whatever stands before them (`teacher.backbone.`). Nothing is
dropped here but what is no weight; what the network does not know afterwards is an error.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
Adapter = Callable[[Tensors], dict[str, Tensor]]


def as_they_are(tensors: Tensors) -> dict[str, Tensor]:
    """Names that need no change: timm's and torchvision's own.

    Also torchxrayvision's, whose DenseNet has torchvision's names and whose ResNet stands under
    `model.`, and jfhealthcare's, whose DenseNet stands under `backbone.`.
    """
    return dict(tensors)


def hf_dinov2(tensors: Tensors) -> dict[str, Tensor]:
    """DINOv2 as Hugging Face's transformers name it.

    Its layers are `encoder.layer.N` where others have `blocks.N`, LayerScale is `lambda1`, and
    queries, keys and values are three layers that timm has as one (`qkv`, in this order).
    """
    layer = r"encoder\.layer\.(\d+)"
    named = _renamed(
        tensors,
        (
            (r"embeddings\.cls_token", "cls_token"),
            (r"embeddings\.mask_token", "mask_token"),
            (r"embeddings\.register_tokens", "register_tokens"),
            (r"embeddings\.position_embeddings", "pos_embed"),
            (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
            (rf"{layer}\.attention\.attention\.(query|key|value)", r"blocks.\2.attn.\3"),
            (rf"{layer}\.attention\.output\.dense", r"blocks.\2.attn.proj"),
            (rf"{layer}\.layer_scale([12])\.lambda1", r"blocks.\2.ls\3.gamma"),
            (rf"{layer}\.mlp\.weights_in", r"blocks.\2.mlp.fc1"),
            (rf"{layer}\.mlp\.weights_out", r"blocks.\2.mlp.fc2"),
            (rf"{layer}\.(norm[12]|mlp)", r"blocks.\2.\3"),
            (r"layernorm", "norm"),
        ),
    )
    return _registers(_joined(named))


def dinov2(tensors: Tensors) -> dict[str, Tensor]:
    """DINOv2 under its own names.

    They are timm's but for the registers and the SwiGLU's two layers (`w12`: gate and value in
    one, `w3`: back to the width).
    """
    swiglu = ((r"mlp\.w12", "mlp.fc1"), (r"mlp\.w3", "mlp.fc2"))
    return _registers(_renamed(tensors, swiglu))


def chexfound(tensors: Tensors) -> dict[str, Tensor]:
    """CheXFound: DINOv2's names from four shards.

    Training kept the blocks in four groups for its processes (`blocks.GROUP.N`); N counts through
    all groups, so the group is dropped. LayerScale (`ls1`, `ls2`) is kept: without its 48 tensors
    the network computes something else, and nothing would say so.
    """
    return dinov2(_renamed(tensors, ((r"blocks\.\d+\.(\d+)", r"blocks.\2"),)))


def eva_x(tensors: Tensors) -> dict[str, Tensor]:
    """EVA-X: the names of EVA-02's code.

    The SwiGLU's layers are `w12`, `w3`, or apart `w1` (gate), `w2` (value), `w3`; its norm is
    `ffn_ln`. Where queries, keys and values are apart, their biases stand beside them (`q_bias`).
    After masked training the last norm stood before the prediction of each patch, and is taken as
    the one after their mean (`fc_norm`), as EVA-X's own loading does. Rotary tables are computed.
    """
    apart = any(key.endswith("attn.q_proj.weight") for key in tensors)
    masked = any(re.search(r"(^|\.)(mask_token|lm_head\.weight)$", key) for key in tensors)
    names = [
        (r"mlp\.ffn_ln", "mlp.norm"),
        (r"attn\.inner_attn_ln", "attn.norm"),
        (r"mlp\.w12", "mlp.fc1"),
        (r"mlp\.w1", "mlp.fc1_g"),
        (r"mlp\.w2", "mlp.fc1_x"),
        (r"mlp\.w3", "mlp.fc2"),
    ]
    if apart:
        names += [(r"attn\.q_bias", "attn.q_proj.bias"), (r"attn\.v_bias", "attn.v_proj.bias")]
    plain = {key: value for key, value in tensors.items() if not re.search(r"\brope\.", key)}
    named = _renamed(plain, names)
    if not masked:
        return named
    # The last norm is the one that no block holds.
    last = re.compile(r"(^|\.)norm(?=\.(?:weight|bias)$)")
    return {
        key if "blocks." in key else last.sub(r"\g<1>fc_norm", key): value
        for key, value in named.items()
    }


def ark_plus(tensors: Tensors) -> dict[str, Tensor]:
    """Ark+: a Swin of timm 0.5.4.

    There a stage ended with the merging of patches, which now begins the next one: `downsample`
    moves one layer up. `attn_mask` and `relative_position_index` are computed from the image's
    size, not learned.
    """
    learned = {
        key: value
        for key, value in tensors.items()
        if not key.endswith(("attn_mask", "relative_position_index"))
    }
    merging = re.compile(r"(^|\.)layers\.(\d+)\.downsample\.")
    if not any(found and found[2] == "0" for found in map(merging.search, learned)):
        return learned  # already as it is now
    return {
        merging.sub(lambda at: f"{at[1]}layers.{int(at[2]) + 1}.downsample.", key): value
        for key, value in learned.items()
    }


PLAIN = "none"
"""The adapter that changes nothing."""
ADAPTERS: dict[str, Adapter] = {
    PLAIN: as_they_are,
    "hf-dinov2": hf_dinov2,
    "dinov2": dinov2,
    "chexfound": chexfound,
    "eva-x": eva_x,
    "ark-plus": ark_plus,
}
"""By the names that the table of starts has for them."""


def _renamed(tensors: Tensors, names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Tensors with parts of their names replaced, by the first pattern that fits one.

    Args:
        tensors: by name.
        names: patterns of whole parts, and what replaces them; group 1 is what stands before.
    """
    patterns = [(re.compile(rf"(^|\.){old}(?=\.|$)"), rf"\g<1>{new}") for old, new in names]
    found = {}
    for key, value in tensors.items():
        name = key
        for pattern, new in patterns:
            name, count = pattern.subn(new, key, count=1)
            if count:
                break
        found[name] = value
    return found


def _joined(tensors: Tensors) -> dict[str, Tensor]:
    """Queries, keys and values as one layer, where all three are there."""
    found = dict(tensors)
    for key in tensors:
        if not re.search(r"\.attn\.query\.(weight|bias)$", key):
            continue
        three = [key.replace(".attn.query.", f".attn.{one}.") for one in ("query", "key", "value")]
        if all(one in tensors for one in three):
            joined = torch.cat([found.pop(one) for one in three])
            found[key.replace(".attn.query.", ".attn.qkv.")] = joined
    return found


def _registers(tensors: Tensors) -> dict[str, Tensor]:
    """DINOv2's registers under timm's name.

    They have no position. timm then keeps positions for the patches alone, so that of the class
    token is added to the token itself: the sum that both compute.
    """
    found = dict(tensors)
    for key in tensors:
        start, name = key.rpartition("register_tokens")[:2]
        cls, pos = f"{start}cls_token", f"{start}pos_embed"
        if not name or not key.endswith(name) or cls not in tensors or pos not in tensors:
            continue
        found[f"{start}reg_token"] = found.pop(key)
        found[cls] = tensors[cls] + tensors[pos][:, :1]
        found[pos] = tensors[pos][:, 1:]
    return found
