"""The PSViT supernet: each cell holds all its choices, and a path selects one of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any, cast

import torch
from torch import Tensor, nn

from asvit.architectures.psvit_path import BASIC, CELLS, IDENTITY, SHARED
from asvit.models.blocks import init_weights, make_head
from asvit.models.psvit import PSViT, make_cell, pool_tokens, used_stages


class PSViTSupernet(nn.Module):
    """All paths of a PSViT space at once, with shared weights.

    A cell holds a basic layer and, with separate weights, a pair that shares attention; as the
    identity it uses neither. A path gives the letters of the cells in each stage, such as
    ``("bs----", "ss----", "b-----")``. It ends with its last stage that has layers, so each stage
    has a final norm and a head: our reading of arXiv:2108.03428.

    Arguments are those of :class:`asvit.models.psvit.PSViT`, for all paths, except that ``cells``
    is their number in each stage, and rates are 0.
    """

    def __init__(
        self, dims: Sequence[int], heads: Sequence[int], *, cells: int = CELLS, **options: Any
    ) -> None:
        super().__init__()
        self._shape: dict[str, Any] = {"dims": tuple(dims), "heads": tuple(heads), **options}
        # Patch embedding and token pooling are the same for all paths.
        frame = self._single([BASIC] * len(dims))
        self.num_classes = frame.num_classes
        self.global_pool = frame.global_pool
        self.patch_embed = frame.patch_embed
        self.downsamples = nn.ModuleList(cast("Any", stage).downsample for stage in frame.stages)
        self.cells = nn.ModuleList(
            nn.ModuleList(_choices(*sizes) for _ in range(cells))
            for sizes in zip(dims, heads, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for dim in dims)
        self.heads = nn.ModuleList(make_head(dim, self.num_classes) for dim in dims)
        self.apply(init_weights)

    def forward(self, image: Tensor, path: Sequence[str]) -> Tensor:
        """``[B, in_chans, img_size, img_size] -> [B, num_classes]`` along ``path``."""
        used = self._used(path)
        x: Tensor = self.patch_embed(image)  # [B, prefix + N, dim]
        if self._shape["pooling"] == "2d":
            x = x.unflatten(1, self.patch_embed.grid)
        for i in range(used):
            x = self.downsamples[i](x)
            shape = x.shape
            x = x.flatten(1, -2)
            for layer in self._layers(path, i):
                x = layer(x)
            x = x.reshape(shape)
        x = self.norms[used - 1](x.flatten(1, -2))
        x = pool_tokens(x, self.global_pool, self.patch_embed.prefix)
        return cast("Tensor", self.heads[used - 1](x))

    def extract(self, path: Sequence[str]) -> PSViT:
        """The network of ``path`` alone, with copies of its weights and the same output."""
        used = self._used(path)
        with torch.random.fork_rng([]):  # initial weights, which are replaced
            single = self._single([stage.replace(IDENTITY, "") for stage in path])
        parts: dict[str, nn.Module] = {
            "patch_embed": self.patch_embed,
            "norm": self.norms[used - 1],
            "head": self.heads[used - 1],
        }
        for i in range(used):
            parts[f"stages.{i}.downsample"] = self.downsamples[i]
            layers = self._layers(path, i)
            parts |= {f"stages.{i}.cells.{index}": layer for index, layer in enumerate(layers)}
        weights = {
            f"{name}.{key}": tensor
            for name, part in parts.items()
            for key, tensor in part.state_dict().items()
        }
        like = next(self.parameters())
        single.to(device=like.device, dtype=like.dtype).load_state_dict(weights)
        return single.train(self.training)

    def on(self, path: Sequence[str]) -> FixedPath:
        """The supernet on a fixed ``path``, as a module that takes images."""
        return FixedPath(self, path)

    def _single(self, cells: Sequence[str]) -> PSViT:
        """A newly initialised network of the supernet's shape with these cells."""
        return PSViT(cells, **self._shape)

    def _layers(self, path: Sequence[str], stage: int) -> list[nn.Module]:
        """The layers of ``path`` in a stage."""
        cells = zip(cast("nn.ModuleList", self.cells[stage]), path[stage], strict=True)
        return [cast("nn.ModuleDict", cell)[kind] for cell, kind in cells if kind != IDENTITY]

    def _used(self, path: Sequence[str]) -> int:
        """Number of stages of ``path`` up to its last layer."""
        if any(len(own) != len(cells) for own, cells in zip(path, self.cells, strict=True)):  # type: ignore[arg-type]
            raise ValueError(f"path {'|'.join(path)!r} has other cells than this supernet")
        return used_stages(path, self._shape["dims"], self._shape["heads"])


class FixedPath(nn.Module):
    """A supernet on a fixed path, from :meth:`PSViTSupernet.on`; it is shared, not copied."""

    def __init__(self, supernet: PSViTSupernet, path: Sequence[str]) -> None:
        super().__init__()
        self.supernet = supernet
        self.path = tuple(path)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_chans, img_size, img_size] -> [B, num_classes]``."""
        return cast("Tensor", self.supernet(image, self.path))


def _choices(dim: int, heads: int) -> nn.ModuleDict:
    """The choices of one cell, except the identity."""
    return nn.ModuleDict(
        {kind: make_cell(kind, dim, heads, repeat(0.0)) for kind in (BASIC, SHARED)}
    )
