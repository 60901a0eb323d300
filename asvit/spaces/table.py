"""Where in an architecture its parameters and multiply-adds are."""

from dataclasses import dataclass

from asvit.genotype import STAGES, Genotype
from asvit.spaces.architectures import build_on_meta, cost, find, is_fixed
from asvit.spaces.base import Architecture
from proxies.counts import Cost, count_by_module


@dataclass(frozen=True)
class StageRow:
    """One part of a network; None where a column has no meaning for it.

    Attributes:
        stage: ``"1"`` to ``"4"``, each with the embedding in front of it; ``"head"``; or
            ``"network"`` where parts are not known.
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
    """The stages of an As-ViT architecture and its head; one row for the whole of anything else.

    The sums of ``params`` and ``macs`` are what :func:`asvit.spaces.cost` gives.

    Args:
        arch: What :func:`asvit.spaces.build` takes.
        image_size: Side of the image in pixels.

    Raises:
        ValueError: As :func:`asvit.spaces.build`.
    """
    g = None if isinstance(arch, str) and is_fixed(arch) else find(arch)[1]
    if not isinstance(g, Genotype):
        total = cost(arch, image_size=image_size)
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
