"""Parameters and multiply-adds of each stage of an architecture."""

from dataclasses import dataclass

from asvit.genotype import STAGES, Genotype
from asvit.spaces.architectures import build_on_meta, cost, parse
from asvit.spaces.base import Architecture
from proxies.counts import Cost, count_by_module


@dataclass(frozen=True)
class StageRow:
    """Cost of one part of a network; None in columns that do not apply.

    Attributes:
        stage: ``"1"`` to ``"4"``, each with the embedding before it; ``"head"``; or ``"network"``
            for a network that is not split into stages.
        tokens_per_side: Tokens along one side of the image.
        width: Channels of a token.
        heads: Attention heads.
        blocks: Transformer blocks.
        window: Tokens along one side of an attention window.
        params: Parameters.
        macs: Multiply-adds of one image.
    """

    stage: str
    tokens_per_side: int | None
    width: int | None
    heads: int | None
    blocks: int | None
    window: int | None
    params: int
    macs: int


def stage_table(arch: str | Genotype | Architecture, *, image_size: int = 224) -> list[StageRow]:
    """Rows for the stages and head of an As-ViT architecture; a single row for any other network.

    ``params`` and ``macs`` add up to :func:`asvit.spaces.cost`.

    Args:
        arch: What :func:`asvit.spaces.build` takes.
        image_size: Side of the image in pixels.

    Raises:
        ValueError: As :func:`asvit.spaces.build`.
    """
    g = parse(arch)
    if not isinstance(g, Genotype):
        total = cost(g, image_size=image_size)
        return [StageRow("network", None, None, None, None, None, total.params, total.macs)]
    parts = count_by_module(build_on_meta(g, image_size=image_size), image_size)
    embedding = ["patch_embed", *(f"layers.{i}.downsample" for i in range(STAGES - 1))]
    rows = []
    for i, side in enumerate(g.token_sides(image_size)):
        spent = sum((parts[f"layers.{i}.blocks.{j}"] for j in range(g.depths[i])), Cost(0, 0))
        spent += parts[embedding[i]]
        rows.append(
            StageRow(
                stage=str(i + 1),
                tokens_per_side=side,
                width=g.stage_widths[i],
                heads=g.stage_heads[i],
                blocks=g.depths[i],
                window=side // g.splits[i],
                params=spent.params,
                macs=spent.macs,
            )
        )
    head = parts["norm"] + parts["head"]
    return [
        *rows,
        StageRow("head", None, g.stage_widths[-1], None, None, None, head.params, head.macs),
    ]
