"""The architectures of As-ViT and ShiftViT, two pyramids of four stages.

A text of As-ViT is ``K,S,E[,L]|K,S,E[,L]|K,S,E[,L]|K,S,E[,L]|H[,C]``: for each stage the embedding
kernel K, the attention splits per side S, the feed-forward expansion E and the number of blocks L;
then the heads H of stage 4 and the width C of stage 1. Parts other than the published ones follow,
as in ``...|32,64;stem=deep,head=linear``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from asvit.architectures.base import DEPTH_CHOICES, Field, Growable, Limits, TextArchitecture

STAGES: Final = 4
FOUR: Final = range(STAGES, STAGES + 1)  # how many values there are of a stage each
STEM_STRIDE: Final = 4
#: Images with sides of a multiple of this fit every architecture: all splits divide the tokens.
IMAGE_MULTIPLE: Final = STEM_STRIDE * 2 ** (STAGES - 1)
#: Largest width of a stage.
WIDTH_CAP: Final = 1024

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
    fields: ClassVar[Mapping[str, Field]] = {
        "kernels": Field("kernel", KERNEL_CHOICES, FOUR),
        "splits": Field("splits", SPLIT_CHOICES, FOUR),
        "expansions": Field("expansion", EXPANSION_CHOICES, FOUR),
        "heads": Field("stage 4 heads", HEAD_CHOICES),
        "depths": Field("depth", DEPTH_CHOICES, FOUR),
        "width": Field("stage 1 width", range(1, WIDTH_CAP + 1)),
        **{part: Field(part, choices) for part, choices in PART_CHOICES.items()},
    }
    layout: ClassVar[str] = "kernels,splits,expansions,depths?|" * STAGES + "heads,width?"

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
    width: int = 32
    stem: str = "patch"  #: what makes tokens of the image
    head: str = "mlp"  #: what makes classes of the pooled features
    mixing: str = "none"  #: what mixes neighbours beside the attention
    positions: str = "none"  #: embeddings of positions
    init: str = "0.02"  #: how initial weights are drawn

    def __post_init__(self) -> None:
        if self.stem != "patch":
            object.__setattr__(self, "kernels", (KERNEL_CHOICES[0][0], *list(self.kernels)[1:]))
        super().__post_init__()
        if self.width < self.stage_heads[0]:  # widths and heads of later stages double alike
            raise ValueError(
                f"stage 1 width={self.width} is less than its {self.stage_heads[0]} heads; "
                f"use a width C of at least {self.stage_heads[0]} with H={self.heads}"
            )

    @property
    def stage_widths(self) -> Four:
        """Channels of each stage."""
        first, second, third, fourth = (min(2**i * self.width, WIDTH_CAP) for i in range(STAGES))
        return first, second, third, fourth

    @property
    def stage_heads(self) -> Four:
        """Attention heads of each stage."""
        return (self.heads // 8, self.heads // 4, self.heads // 2, self.heads)

    def token_sides(self, image_side: int) -> Four:
        """Tokens per side in each stage for an image side in pixels, each half of those before.

        A ValueError where stride 4 does not divide the image, or splits the tokens of their stage.
        """
        use = f"(image {image_side} px); use a multiple of {IMAGE_MULTIPLE} px"
        if image_side < 1 or image_side % STEM_STRIDE:
            raise ValueError(f"stage 1 cannot cut the image with stride {STEM_STRIDE} {use}")
        a = image_side // STEM_STRIDE
        b = -(-a // 2)
        c = -(-b // 2)
        sides = (a, b, c, -(-c // 2))
        for stage, (side, splits) in enumerate(zip(sides, self.splits, strict=True), 1):
            if side % splits:
                raise ValueError(
                    f"stage {stage} splits={splits} does not divide {side} tokens per side {use}"
                )
        return sides

    check = token_sides


#: Pixels per side for which stage 4 has one position.
LEAST_SIDE: Final = 32
GROUPS: Final = 4  # of channels, which move left, right, up and down


@dataclass(frozen=True)
class ShiftArchitecture(TextArchitecture, Growable):
    """``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH[;stem=STEM]``: a ShiftViT architecture."""

    prefix: ClassVar[str] = "shift:"
    form: ClassVar[str] = "shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH, as in shift:2,2,6,2|4|12|1|96"
    fields: ClassVar[Mapping[str, Field]] = {
        "depths": Field("depth", DEPTH_CHOICES, FOUR),
        "ratio": Field("ratio", Limits(1, 64)),
        "n_div": Field("n_div", range(GROUPS, 1025)),
        "step": Field("step", range(257)),
        "width": Field("width", range(1, 1025)),
        "stem": Field("stem", PART_CHOICES["stem"]),
    }
    layout: ClassVar[str] = "depths|ratio|n_div|step|width"

    depths: tuple[int, int, int, int]  # blocks in each stage
    ratio: float = 2  # hidden width of the feed-forward part over the width of the stage
    n_div: int = 12  # each of the four shifted groups has 1 / n_div of the channels, rounded down
    step: int = 1  # positions by which a group moves; 0 for none
    width: int = 48  # channels of stage 1, which 8, 12 and 16 divide; later stages double them
    stem: str = PART_CHOICES["stem"][0]  # as in an As-ViT

    def check(self, image_size: int) -> None:
        """Refuse images of which stage 4 has no position, or a shift leaves nothing."""
        side = image_size // LEAST_SIDE  # positions per side of stage 4
        least = self.step if self.n_div == GROUPS else 0
        if side <= least:
            raise ValueError(
                f"an image of {image_size} px leaves stage 4 of {self} nothing; "
                f"use {(least + 1) * LEAST_SIDE} px or more"
            )
