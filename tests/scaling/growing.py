"""Networks of depths and a width that growth has never heard of."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

import asvit
from asvit.genotype import Genotype
from proxies import Cost, count
from scaling.growth import CostOf
from scaling.measurement import Build

SIDE = 32


def residual_branch(dim: int) -> nn.Module:
    return nn.Sequential(
        nn.GroupNorm(1, dim), nn.Conv2d(dim, dim, 3, padding=1), nn.GELU(),
        nn.Conv2d(dim, dim, 3, padding=1),
    )  # fmt: skip


class Residual(nn.Module):
    """A plain pre-norm residual network of 3x3 convolutions; each stage halves the image."""

    def __init__(self, depths: tuple[int, ...], width: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(len(depths))]
        self.stem = nn.Conv2d(3, width, 4, stride=4)
        self.stages = nn.ModuleList(
            nn.ModuleList(residual_branch(dim) for _ in range(depth))
            for dim, depth in zip(widths, depths, strict=True)
        )
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for i, stage in enumerate(self.stages):
            for block in stage:
                x = x + block(x)
            if i < len(self.downs):
                x = self.downs[i](x)
        return self.head(x.mean(dim=(2, 3)))


def windows(text: str = "4,8,2|2,4,2|2,2,2|2,1,2|16") -> tuple[Build, CostOf]:
    """As-ViT: attention in windows."""
    seed = Genotype.parse(text)
    return (
        lambda depths, width: asvit.build(seed, image_size=SIDE, depths=depths, width=width),
        lambda depths, width: asvit.cost(seed.with_(depths=depths, width=width)),
    )


def shiftvit(depths: tuple[int, ...], width: int) -> nn.Module:
    """ShiftViT: a twelfth of the channels moves by one token, then an MLP."""
    text = "shift:1,1,1,1|2|12|1|48"
    return asvit.build(text, image_size=SIDE, depths=depths, width=width)


def plain(kind: Callable[[tuple[int, ...], int], nn.Module]) -> tuple[Build, CostOf]:
    """A network without a genotype, counted by building it."""

    @functools.cache
    def cost(depths: tuple[int, ...], width: int) -> Cost:
        with torch.device("meta"):
            return count(kind(depths, width), SIDE)

    return kind, cost


def pyramid_cost(depths: tuple[int, ...], width: int) -> Cost:
    """Roughly what a pyramid costs, without building it."""
    params = sum(depth * 12 * (width * 2**i) ** 2 for i, depth in enumerate(depths))
    return Cost(params + 1000 * width, 50 * params)
