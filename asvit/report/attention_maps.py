"""Attention maps, and the tokens that pooling leaves, on the grid of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from matplotlib.figure import Figure
from timm.models.nextvit import EfficientAttention as NextAttention
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from asvit.models.asvit import Block, join_windows
from asvit.models.hallucinated import HallucinatedHeads, HallucinatedPooledAttention
from asvit.models.psvit import PSViT, SharingPair, TokenPooling1d
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, SMALL, figure, panels
from proxies.activations import visit_attention_maps
from proxies.features import evaluating, reference_tensor

_COLUMNS = 8  # panels side by side, that of the image among them


@dataclass(frozen=True)
class CellMaps:
    """The heads of an attention layer, or the stages of a network, on the cells of an image."""

    name: str  # of the layer
    # Title to ``[rows, columns]``; NaN where pooling has dropped a token.
    panels: dict[str, Tensor]
    query: tuple[float, float] | None = None  # where the query is, as fractions of the sides


@dataclass(frozen=True)
class CellRow:
    """A cell of a panel."""

    layer: str
    panel: str
    row: int
    column: int
    value: float


def layer_maps(
    model: nn.Module, image: Tensor, query: tuple[int, int] | None = None
) -> list[CellMaps]:
    """The attention map of a query in each layer, in the order of the forward pass.

    The default query is the class token, or the mean over all tokens if there is none. A ``query``
    is a row and a column in the grid of the first layer; layers with fewer tokens take the token
    at the same place, and are NaN if pooling has dropped it. Windows are joined, each with its own
    mean. The image is ``[1, C, S, S]``.

    Raises:
        ValueError: If there is no attention, no such query, or tokens have no known place.
    """
    layers: list[CellMaps] = []
    first = 0  # rows, and columns, in the grid of the first layer

    def visit(name: str, maps: Tensor) -> None:
        nonlocal first
        maps = maps.flatten(0, -4).float().cpu()  # [windows, heads, N, M]
        modules = name.partition("#")[0].split(".")
        path: list[Any] = list(accumulate(modules, nn.Module.get_submodule, initial=model))
        pair = isinstance(path[-2], SharingPair)
        queries, keys = (_cells(path, maps, image, axis) for axis in (2, 3))
        focus = None
        looks = maps[:, :, 0] if len(maps) == 1 and 0 not in queries else maps.mean(dim=2)
        if query is not None:
            first = first or len(queries)
            if not all(0 <= number < first for number in query):
                raise ValueError(f"no token {query}; use rows and columns from 0 to {first - 1}")
            focus = (query[0] + 0.5) / first, (query[1] + 0.5) / first
            token = queries[int(focus[0] * len(queries)), int(focus[1] * len(queries))]
            window, row = divmod(int(token), maps.shape[2])
            looks = torch.zeros_like(looks)
            looks[window] = maps[window, :, row] if token >= 0 else torch.nan
        values = looks.transpose(0, 1).flatten(1)[:, keys].masked_fill(keys < 0, torch.nan)
        attention = path[-1].attn if pair else path[-1]
        real = attention.real if isinstance(attention, HallucinatedHeads) else len(values)
        kinds = ["" if head < real else ", hallucinated" for head in range(len(values))]
        heads = {f"head {head}{kind}": values[head] for head, kind in enumerate(kinds)}
        layers.append(CellMaps(f"{name}.attn" if pair else name, heads, focus))
        if pair:
            shared = {f"{title}, shared": value for title, value in heads.items()}
            second = name.removesuffix("first") + "second.attn"
            layers.append(CellMaps(second, shared, focus))

    visit_attention_maps(model, image, visit)
    return layers


@torch.no_grad()
def token_maps(model: PSViT, image: Tensor) -> CellMaps:
    """The norm of each token of an image ``[1, C, S, S]`` after each stage, in evaluation mode."""
    with evaluating(model):
        cast = image.to(reference_tensor(model))
        levels: Any = model.forward_intermediates(cast, output_fmt="NLC", intermediates_only=True)
    stages, prefix = {}, model.num_prefix_tokens
    for number, (stage, (level,)) in enumerate(zip(model.stages, levels, strict=True), 1):
        like = torch.empty(1, 1, prefix + len(level))
        cells = _cells((model, model.stages, stage), like, image, 2) - prefix
        norms = torch.linalg.vector_norm(level.float().cpu(), dim=1)[cells.clamp(min=0)]
        title = f"stage {number}, {len(level)} × {level.shape[1]}"
        stages[title] = norms.masked_fill(cells < 0, torch.nan)
    return CellMaps("tokens × channels after each stage", stages)


def _cells(path: Sequence[Any], maps: Tensor, image: Tensor, axis: int) -> Tensor:
    """The query (axis 2) or key (3) in each cell, counted through all windows; -1 for none."""
    model, windows, tokens = path[0], len(maps), maps.shape[axis]
    if axis == 3 and isinstance(path[-1], NextAttention | HallucinatedPooledAttention):
        means = _cells(path, maps, image, 2) // path[-1].sr_ratio ** 2  # along the list
        return means.masked_fill(means >= tokens, -1)
    if isinstance(model, PSViT) and model.pooling == "1d":
        side = -(-image.shape[2] // model.patch_embed.proj.stride[0])
        cells = torch.arange(side**2) + model.num_prefix_tokens
        for stage in model.stages[: 1 + list(model.stages).index(path[2])]:
            if isinstance(stage.downsample, TokenPooling1d):
                cells = 1 + (cells - 1) // 2  # behind the class token
        return cells.masked_fill(cells >= tokens, -1).view(side, side)
    block = next((part for part in path if isinstance(part, Block | SwinTransformerBlock)), None)
    splits = math.isqrt(windows)
    for prefix in (getattr(model, "num_prefix_tokens", 0), 0, 1, 2):
        side = splits * math.isqrt(max(0, tokens - prefix))
        if side and side**2 == windows * (tokens - prefix) and (windows == 1 or block):
            break
    else:
        raise ValueError(
            f"{type(path[-1]).__name__} attends in {windows} group(s) of {tokens} tokens, whose "
            "places in the image are not known; use a square grid, or As-ViT's or Swin's windows"
        )
    listed = torch.arange(windows * tokens).view(1, windows, tokens, 1)[:, :, prefix:]
    cells = join_windows(listed, splits, side, side)[0, :, :, 0]
    if isinstance(block, SwinTransformerBlock):  # pads its windows, and shifts them
        rows, columns = block.input_resolution
        cells = cells[:rows, :columns].roll(block.shift_size, (0, 1))
    return cells


def cell_picture(name: str, pixels: Tensor, lines: Sequence[CellMaps]) -> Picture:
    """The image ``[3, S, S]`` uint8 beside the panels of each line."""
    rows = [
        CellRow(line.name, title, row, column, value)
        for line in lines
        for title, values in line.panels.items()
        for row, cells in enumerate(values.tolist())
        for column, value in enumerate(cells)
    ]
    draw = partial(draw_cells, pixels, lines)
    caption = "The image, and what is on its cells; each panel has a scale of its own from 0."
    return Picture(name, name, caption, draw, (rows, CellRow), wide=True)


def draw_cells(pixels: Tensor, lines: Sequence[CellMaps]) -> Figure:
    """The image, and each panel on a scale of its own from 0; the query is marked."""
    counts = [1 + len(line.panels) for line in lines]
    wide = min(_COLUMNS, max(counts))
    heights = [0.4 + 1.6 * math.ceil(count / wide) for count in counts]  # inches
    fig = figure(width=1.25 * wide, height=sum(heights))
    parts = fig.subfigures(len(lines), 1, squeeze=False, height_ratios=heights)
    for part, line, count in zip(parts[:, 0], lines, counts, strict=True):
        part.suptitle(line.name, x=0.01, ha="left", fontsize=SMALL, fontweight="bold")
        first, *rest = panels(part, count, columns=wide)
        first.imshow(pixels.permute(1, 2, 0).numpy())
        first.set_axis_off()
        if line.query is not None:
            y, x = (share * len(pixels[0]) for share in line.query)
            first.plot(x, y, "o", color=COLOUR["second"], markeredgecolor=COLOUR["card"])
        for axes, (title, values) in zip(rest, line.panels.items(), strict=True):
            axes.set_title(title.replace(", ", "\n"), fontsize=SMALL)
            axes.imshow(values.numpy(), cmap="Blues", vmin=0, interpolation="nearest")
            axes.set_axis_off()
    return fig
