"""The As-ViT architecture: for each stage kernel, attention splits, expansion and depth; parts.

``K,S,E[,L]|K,S,E[,L]|K,S,E[,L]|K,S,E[,L]|H[,C]``: for each of four stages the embedding kernel K,
the attention splits per side S, the feed-forward expansion E and the number of blocks L; then the
heads H of stage 4 and the width C of stage 1. Parts other than the published ones follow, as in
``...|32,64;stem=deep,head=linear``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from asvit.architectures.base import DEPTH_CHOICES, Growable, TextArchitecture, Value, Values

STAGES: Final = 4
STEM_STRIDE: Final = 4
REEMBED_STRIDE: Final = 2
#: Images with sides of a multiple of this fit every architecture: all splits divide the tokens.
IMAGE_MULTIPLE: Final = STEM_STRIDE * REEMBED_STRIDE ** (STAGES - 1)
#: Largest width of a stage.
WIDTH_CAP: Final = 1024
DEFAULT_WIDTH: Final = 32

#: Choices of the search space for each stage.
KERNEL_CHOICES: Final = ((4, 5, 6, 7, 8), (2, 3, 4), (2, 3, 4), (2, 3, 4))
SPLIT_CHOICES: Final = ((2, 4, 8), (1, 2, 4), (1, 2), (1,))
EXPANSION_CHOICES: Final = ((2, 3, 4, 5, 6),) * STAGES
HEAD_CHOICES: Final = (16, 32, 64)
#: Part beside the topology -> its choices, the published one first.
PART_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "stem": ("patch", "conv", "deep"),
    "head": ("mlp", "linear"),
    "mixing": ("none", "ffn"),
    "positions": ("none", "absolute"),
    "init": ("0.02", "width"),
}

Four = tuple[int, int, int, int]

#: With quotation marks around it where a shell may read it, which takes bars for pipes.
EXAMPLE: Final = "8,2,3|4,1,2|4,1,4|4,1,6|32"
_ONCE: Final = (1,) * STAGES


@dataclass(frozen=True)
class Genotype(TextArchitecture, Growable):
    """One As-ViT architecture: the choices of the search, and the depths and width of scaling.

    A ValueError names a stage whose value is not one of its choices, or that has more heads than
    channels.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.

    Example:
        >>> genotype = asvit.Genotype.parse("8,2,3|4,1,2|4,1,4|4,1,6|32")
        >>> genotype.depths, genotype.width
        ((1, 1, 1, 1), 32)
        >>> str(genotype)
        '8,2,3|4,1,2|4,1,4|4,1,6|32'
    """

    form: ClassVar[str] = (
        "K,S,E[,L]|K,S,E[,L]|K,S,E[,L]|K,S,E[,L]|H[,C]: kernel, splits, expansion and depth of "
        f"each stage, heads and width, as in '{EXAMPLE}'"
    )
    fields: ClassVar[Mapping[str, Value | Values]] = {
        "kernels": Values("kernel", KERNEL_CHOICES),
        "splits": Values("splits", SPLIT_CHOICES),
        "expansions": Values("expansion", EXPANSION_CHOICES),
        "heads": Value("stage 4 heads", HEAD_CHOICES),
        "depths": Values("depth", (DEPTH_CHOICES,) * STAGES),
        "width": Value("stage 1 width", range(1, WIDTH_CAP + 1)),
        **{part: Value(part, choices) for part, choices in PART_CHOICES.items()},
    }

    #: Kernel side of the stem (stride 4), then of the re-embeddings before stages 2 to 4 (stride
    #: 2). A kernel larger than the stride makes patches overlap. A stem of convolutions has no
    #: kernel to choose: K1 is then its first choice, so that equal networks have equal texts.
    kernels: Four
    #: Attention splits per side in each stage: a window has tokens per side / splits tokens per
    #: side. Stage 4 always has 1, which is global attention.
    splits: Four
    expansions: Four  #: hidden width of the feed-forward part over the width of the stage
    heads: int  #: attention heads of stage 4; stages 1 to 3 have 1/8, 1/4 and 1/2 of them
    depths: Four = (1, 1, 1, 1)  #: blocks in each stage, 1 to 256
    #: Channels of stage 1, 1 to 1024; each later stage doubles them, up to 1024.
    width: int = DEFAULT_WIDTH
    stem: str = "patch"  #: what makes tokens of the image
    head: str = "mlp"  #: what makes classes of the pooled features
    mixing: str = "none"  #: what mixes neighbours beside the attention
    positions: str = "none"  #: embeddings of positions
    init: str = "0.02"  #: how initial weights are drawn

    def __post_init__(self) -> None:
        if self.stem != "patch":
            object.__setattr__(self, "kernels", (KERNEL_CHOICES[0][0], *list(self.kernels)[1:]))
        super().__post_init__()
        for stage, (dim, heads) in enumerate(
            zip(self.stage_widths, self.stage_heads, strict=True), 1
        ):
            if dim < heads:
                raise ValueError(
                    f"stage {stage} width={dim} is less than its {heads} heads; "
                    f"use a width C of at least {self.stage_heads[0]} with H={self.heads}"
                )

    @classmethod
    def _from_cells(cls, cells: list[list[str]]) -> dict[str, Any] | None:
        *stages, last = cells
        whole = len(stages) == STAGES and 1 <= len(last) <= 2
        if not whole or any(not 3 <= len(stage) <= 4 for stage in stages):
            return None
        rows = ([*stage, "1"][:4] for stage in stages)
        names = ("kernels", "splits", "expansions", "depths")
        sizes = dict(zip(("heads", "width"), last, strict=False))
        return {**dict(zip(names, zip(*rows, strict=True), strict=True)), **sizes}

    def _to_cells(self) -> Iterable[Iterable[object]]:
        """Depths of 1 and a width of 32 are left out."""
        columns = [self.kernels, self.splits, self.expansions]
        if self.depths != _ONCE:
            columns.append(self.depths)
        last = [self.heads] if self.width == DEFAULT_WIDTH else [self.heads, self.width]
        return (*zip(*columns, strict=True), last)

    @property
    def stage_widths(self) -> Four:
        """Channels of each stage."""
        c = self.width
        return (c, min(2 * c, WIDTH_CAP), min(4 * c, WIDTH_CAP), min(8 * c, WIDTH_CAP))

    @property
    def stage_heads(self) -> Four:
        """Attention heads of each stage."""
        return (self.heads // 8, self.heads // 4, self.heads // 2, self.heads)

    def token_sides(self, image_side: int) -> Four:
        """Tokens per side in each stage for an image side in pixels.

        Each stage has half the tokens per side of the one before, rounded up.

        Raises:
            ValueError: If stride 4 does not divide the image, or splits do not divide the tokens
                of their stage.
        """
        use = f"(image {image_side} px); use a multiple of {IMAGE_MULTIPLE} px"
        if image_side < 1 or image_side % STEM_STRIDE:
            raise ValueError(f"stage 1 cannot cut the image with stride {STEM_STRIDE} {use}")
        a = image_side // STEM_STRIDE
        b = -(-a // REEMBED_STRIDE)
        c = -(-b // REEMBED_STRIDE)
        sides = (a, b, c, -(-c // REEMBED_STRIDE))
        for stage, (side, splits) in enumerate(zip(sides, self.splits, strict=True), 1):
            if side % splits:
                raise ValueError(
                    f"stage {stage} splits={splits} does not divide {side} tokens per side {use}"
                )
        return sides

    check = token_sides
