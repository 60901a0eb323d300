"""Small networks that between them use every rule, for tests of the measures."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import asvit
import proxies.functional


class Lambda(nn.Module):
    """A module made of a forward function, called with the module, and of its attributes."""

    def __init__(self, function: Callable[..., Any] | None = None, **attributes: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def chain(*blocks: nn.Module) -> nn.Module:
    """A network that is a list of blocks."""
    return Lambda(lambda made, x: made.blocks(x), blocks=nn.Sequential(*blocks))


class Attention(nn.Module):
    """Token attention with a bias, on image patches."""

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 10, 4, stride=4)
        self.norm1 = nn.LayerNorm(10)
        self.qkv = nn.Linear(10, 30)
        self.bias = nn.Parameter(torch.randn(2, 4, 4))
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm1(tokens)).unflatten(-1, (3, 2, 5)).permute(2, 0, 3, 1, 4)
        bias = None if self.causal else self.bias
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=self.causal)
        return (tokens + mixed.transpose(1, 2).flatten(2)).mean(1)


class Tied(nn.Module):
    """One linear map used three times, once through a slice, and a bare weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(192, 12)
        self.shared = nn.Linear(12, 12)
        self.weight = nn.Parameter(torch.randn(12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(torch.tanh(self.shared(self.first(x.flatten(1)))))
        return F.linear(torch.tanh(x) * self.weight, self.shared.weight[:5])


class Table(nn.Module):
    """A weight whose input no sample enters, and windows folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 2, stride=2)
        self.position = nn.Linear(2, 6)
        self.window = nn.Linear(6, 7)
        self.register_buffer("grid", torch.rand(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)  # [n, 16, 6]
        tokens = tokens * torch.tanh(self.position(self.grid))
        windows = torch.tanh(tokens.reshape(-1, 4, 6))  # [4n, 4, 6]
        return self.window(windows).reshape(len(x), -1)


class MultiHead(nn.Module):
    """PyTorch's own transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layer(self.patch(x).flatten(2).transpose(1, 2))
        return tokens.mean(1) + tokens[:, 0]


def convolutions() -> nn.Module:
    """Plain, grouped, depthwise, dilated and same-padded convolutions and three norms."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same"),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False),
        nn.Conv2d(8, 6, 1, stride=2),
        nn.Flatten(),
    )


def tokens() -> nn.Module:
    """Linear maps and norms over flat tokens."""
    return nn.Sequential(
        nn.Flatten(2), nn.Linear(64, 12), nn.RMSNorm(12), nn.GELU(), nn.Linear(12, 5), nn.Flatten()
    )


def asvit_network(text: str, side: int) -> Callable[[], nn.Module]:
    """An As-ViT network, as a builder."""
    return lambda: asvit.build(text, image_size=side, num_classes=3)


# Name -> (builder, pixels per side).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "convolutions": (convolutions, 8),
    "tokens": (tokens, 8),
    "attention": (Attention, 8),
    "multi-head": (MultiHead, 8),
    "causal attention": (lambda: Attention(causal=True), 8),
    "tied": (Tied, 8),
    "table": (Table, 8),
    "one window": (asvit_network("5,2,2|3,1,2|2,1,2|2,1,3|16", 32), 32),
    "windows": (asvit_network("8,4,2|4,2,2|3,1,2|4,1,2|16", 64), 64),
    "odd heads": (asvit_network("7,2,3,2|2,2,2,1|2,1,2,1|3,1,2,1|32,10", 64), 64),
}

# Narrow and shallow, so that the definitions take seconds.
VIT = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}
MODELS: dict[str, dict[str, Any]] = {
    "deit_tiny_patch16_224": VIT,
    "deit_tiny_distilled_patch16_224": VIT,
    "swin_tiny_patch4_window7_224": {
        "img_size": 64, "window_size": 4, "embed_dim": 12, "depths": (2, 2, 1, 1),
    },
    "pvt_v2_b0": {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 40, 64)},
    "pit_ti_224": {"img_size": 64, "depth": [1, 1, 1], "base_dims": [8, 8, 8]},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 48)},
    "resnet18": {"channels": (8, 16, 24, 32)},
    "vit_small_patch16_dinov3": VIT,
    "crossvit_tiny_240": {
        "img_size": 48, "patch_size": (12, 16), "img_scale": (1.0, 1.0), "depth": ([1, 1, 0],),
    },
    "vit_little_patch16_reg4_gap_256": VIT,
}  # fmt: skip


def timm_network(name: str) -> tuple[Callable[[], nn.Module], int]:
    """One of ``MODELS``, as a builder, and its pixels per side."""
    settings = MODELS[name]
    return lambda: timm.create_model(name, num_classes=3, **settings), settings.get("img_size", 32)


def small_swin() -> nn.Module:
    """Windows that are shifted, at 56 px."""
    return timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(2, 2), num_heads=(1, 2)
    )


def run_out_of_memory(monkeypatch: pytest.MonkeyPatch, model: nn.Module, most: int) -> list[int]:
    """Let networks of this kind run out of memory with more than ``most`` images; all sizes."""
    forward = type(model).forward
    sizes: list[int] = []

    def limited(self: nn.Module, x: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        return forward(self, x)

    monkeypatch.setattr(type(model), "forward", limited)
    monkeypatch.setattr(proxies.functional, "_halvings", {})
    return sizes
