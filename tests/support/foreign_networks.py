"""Small networks that compute as published ones do, under the names of their authors' code.

They are written from what the papers say, without timm, so that equal outputs mean that names and
arrangement are right.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, PATCH = 32, 4, 4


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (n, tokens, width) over all tokens, in heads."""
    n, tokens, width = q.shape
    apart = [x.reshape(n, tokens, HEADS, width // HEADS).transpose(1, 2) for x in (q, k, v)]
    weights = (apart[0] @ apart[1].transpose(-1, -2) / (width // HEADS) ** 0.5).softmax(-1)
    return (weights @ apart[2]).transpose(1, 2).reshape(n, tokens, width)


class Scale(nn.Module):
    """LayerScale, whose factors are called as the format has it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.rand(WIDTH)))

    def forward(self, x: Tensor) -> Tensor:
        return x * getattr(self, self.name)


class GeluMlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    """Gate and value in one layer."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.w12, self.w3 = nn.Linear(WIDTH, 2 * inside), nn.Linear(inside, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, -1)
        return self.w3(functional.silu(gate) * value)


class JointAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(attend(*self.qkv(x).chunk(3, -1)))


class Block(nn.Module):
    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = JointAttention(), mlp
        self.ls1, self.ls2 = Scale("gamma"), Scale("gamma")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class DinoV2(nn.Module):
    """DINOv2 (Oquab et al. 2023) with registers (Darcet et al. 2023) after the class token."""

    def __init__(self, size: int, *, registers: int = 0, swiglu: int = 0) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + (size // PATCH) ** 2, WIDTH))
        self.mask_token = nn.Parameter(torch.zeros(1, WIDTH))
        if registers:
            self.register_tokens = nn.Parameter(torch.randn(1, registers, WIDTH))
        mlps = [SwiGlu(swiglu) if swiglu else GeluMlp() for _ in range(4)]
        self.blocks = nn.ModuleList(Block(mlp) for mlp in mlps)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """The class token at the end."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        if hasattr(self, "register_tokens"):
            between = self.register_tokens.expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], between, x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


class _SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return attend(self.query(x), self.key(x), self.value(x))


class _Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(WIDTH, WIDTH)


class _HfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.output = _SelfAttention(), _Dense()

    def forward(self, x: Tensor) -> Tensor:
        return self.output.dense(self.attention(x))


class _HfLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.attention, self.mlp = _HfAttention(), GeluMlp()
        self.layer_scale1, self.layer_scale2 = Scale("lambda1"), Scale("lambda1")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.layer_scale1(self.attention(self.norm1(x)))
        return x + self.layer_scale2(self.mlp(self.norm2(x)))


class _HfPatches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, WIDTH, PATCH, PATCH)


class _HfEmbeddings(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.mask_token = nn.Parameter(torch.zeros(1, WIDTH))
        self.position_embeddings = nn.Parameter(torch.randn(1, 1 + (size // PATCH) ** 2, WIDTH))
        self.patch_embeddings = _HfPatches()

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embeddings.projection(x).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.position_embeddings


class _HfEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_HfLayer() for _ in range(4))


class HfDinoV2(nn.Module):
    """The same as Hugging Face's transformers name it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embeddings, self.encoder = _HfEmbeddings(size), _HfEncoder()
        self.layernorm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """The class token at the end."""
        x = self.embeddings(x)
        for layer in self.encoder.layer:
            x = layer(x)
        return self.layernorm(x)[:, 0]


class EvaAttention(nn.Module):
    """Attention of EVA-02 (Fang et al. 2023): no bias of the keys, rotary positions."""

    def __init__(self, *, apart: bool) -> None:
        super().__init__()
        self.apart = apart
        self.q_bias, self.v_bias = (nn.Parameter(torch.randn(WIDTH)) for _ in range(2))
        if apart:
            self.q_proj, self.k_proj, self.v_proj = (
                nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3)
            )
        else:
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, turned: "Rotary") -> Tensor:
        if self.apart:
            q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        else:
            q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(attend(turned(q + self.q_bias), turned(k), v + self.v_bias))


class Rotary(nn.Module):
    """Rotary positions of patches on a grid (Su et al. 2021): half of a head's numbers turn with
    the row, half with the column; the class token does not turn."""

    def __init__(self, side: int) -> None:
        super().__init__()
        width = WIDTH // HEADS
        speeds = 10_000.0 ** (-torch.arange(0, width // 2, 2) / (width // 2))
        steps = torch.arange(side)[:, None] * speeds
        rows = steps.repeat_interleave(2, -1)[:, None].expand(-1, side, -1)
        columns = steps.repeat_interleave(2, -1)[None].expand(side, -1, -1)
        angles = torch.cat([rows, columns], -1).reshape(side**2, width)
        self.register_buffer("freqs_cos", angles.cos())
        self.register_buffer("freqs_sin", angles.sin())

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        heads = x.reshape(n, tokens, HEADS, width // HEADS).transpose(1, 2)
        cls, patches = heads[:, :, :1], heads[:, :, 1:]
        turned = torch.stack([-patches[..., 1::2], patches[..., ::2]], -1).reshape(patches.shape)
        patches = patches * self.freqs_cos + turned * self.freqs_sin
        return torch.cat([cls, patches], 2).transpose(1, 2).reshape(n, tokens, width)


class ApartSwiGlu(nn.Module):
    """Gate and value apart, and a norm before the way back."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(WIDTH, inside), nn.Linear(WIDTH, inside)
        self.ffn_ln, self.w3 = nn.LayerNorm(inside, eps=1e-6), nn.Linear(inside, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.ffn_ln(functional.silu(self.w1(x)) * self.w2(x)))


class EvaBlock(nn.Module):
    def __init__(self, *, apart: bool) -> None:
        super().__init__()
        inside = int(WIDTH * 4 * 2 / 3)
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.attn = EvaAttention(apart=apart)
        self.mlp = ApartSwiGlu(inside) if apart else SwiGlu(inside)

    def forward(self, x: Tensor, turned: Rotary) -> Tensor:
        x = x + self.attn(self.norm1(x), turned)
        return x + self.mlp(self.norm2(x))


class EvaX(nn.Module):
    """EVA-X after masked training; its features are the norm of the patches' mean."""

    def __init__(self, size: int, *, apart: bool) -> None:
        super().__init__()
        side = size // PATCH
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + side**2, WIDTH))
        self.rope = Rotary(side)
        self.blocks = nn.ModuleList(EvaBlock(apart=apart) for _ in range(3))
        self.norm, self.lm_head = nn.LayerNorm(WIDTH, eps=1e-6), nn.Linear(WIDTH, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Features of an image."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x, self.rope)
        return self.norm(x[:, 1:].mean(1))
