"""The ShiftViT network, and the nine of the released code in timm's registry."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F

from asvit.architectures.parts import PART_CHOICES
from asvit.models._registration import register_networks
from asvit.models._staged import StagedNetwork, drop_path_rates
from asvit.models.layers.blocks import STEMS, BlockStage, check_choice, hidden_width
from asvit.models.layers.shift import ACTIVATIONS, DIRECTIONS, NORMS, Merging, Norm, ShiftBlock

__all__ = ["VARIANTS", "ShiftViT", "checkpoint_filter_fn"]

PATCH = 4  # pixels per side


class ShiftViT(StagedNetwork):
    """A pyramid of four stages in which only the shift of channels mixes positions.

    It has no attention and no position embedding. Any image of at least 32 x 32 pixels works, or
    of ``step + 1`` times these sides where ``n_div`` is 4 and every channel moves; a remainder of
    a side that strides do not cover is cut off. Methods follow timm. Parameter names are those of
    the released code, whose state dicts load with ``strict=True``. The default is Shift-T. Other
    arguments are those of :class:`asvit.models.AsViT`.

    Args:
        depths: Blocks in each stage.
        width: Channels of the first stage, doubled in each later one.
        ratio: Hidden width of the feed-forward part over the width of the stage; the hidden width
            is rounded down.
        n_div: Each of the four shifted groups has 1 / n_div of the channels, rounded down.
        step: Positions by which a group moves; 0 for none.
        norm_layer: ``"groupnorm1"`` or, for ablations, ``"batchnorm2d"`` or ``"layernorm2d"``.
        act_layer: ``"gelu"`` or, for the paper's ablation, ``"relu"``.
        stem: ``"patch"``; ``"conv"`` for two convolutions of stride 2 with a batch norm between
            them; or ``"deep"`` for three at half the sides of the image and a max pooling. The
            last two round sides up.
        proj_drop_rate: Dropout in the feed-forward parts.

    Raises:
        ValueError: If a setting is not one of its choices, or out of range.

    References:
        Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
        Alternative to Attention Mechanism", arXiv:2201.10801.
    """

    _formats: ClassVar[tuple[str, ...]] = ("NCHW",)
    _initialised: ClassVar[tuple[type[nn.Module], ...]] = (nn.Linear, nn.Conv2d)

    def __init__(
        self,
        *,
        depths: Sequence[int] = (6, 8, 18, 6),
        width: int = 96,
        ratio: float = 2.0,
        n_div: int = 12,
        step: int = 1,
        norm_layer: str = "groupnorm1",
        act_layer: str = "gelu",
        stem: str = "patch",
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        stages = range(len(depths))
        super().__init__([width * 2**i for i in stages], [PATCH * 2**i for i in stages])
        check_choice("norm_layer", norm_layer, NORMS)
        check_choice("act_layer", act_layer, ACTIVATIONS)
        check_choice("stem", stem, PART_CHOICES["stem"])
        norm, act = NORMS[norm_layer], ACTIVATIONS[act_layer]
        #: Least sides of the last map: where every channel moves, a smaller one would be empty.
        self._least_sides = step + 1 if n_div == len(DIRECTIONS) else 1
        block = partial(
            ShiftBlock, n_div=n_div, step=step, norm=norm, act=act, drop=proj_drop_rate
        )
        self.patch_embed = PatchEmbedding(in_chans, width, norm, stem)
        self.layers = nn.ModuleList()
        rates = drop_path_rates(drop_path_rate, depths)
        for dim, own in zip(self.stage_widths, rates, strict=True):
            hidden = hidden_width(dim, ratio)
            blocks = [block(dim, hidden, drop_path=rate) for rate in own]
            last = dim == self.stage_widths[-1]
            self.layers.append(
                BlockStage(blocks, nn.Identity() if last else Merging(dim, norm=norm))
            )
        self._add_head(norm(self.num_features), num_classes, global_pool, drop_rate)

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, width, H/4, W/4]``."""
        least = self._least_sides * PATCH * 2 ** (len(self.layers) - 1)
        if image.ndim != 4 or min(image.shape[2:]) < least:
            raise ValueError(
                f"the images have shape {tuple(image.shape)}; use [batch, channels, height, "
                f"width] with sides of at least {least} px"
            )
        return cast("Tensor", self.patch_embed(image))

    def _pool(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 1).flatten(1) if self.global_pool == "avg" else x

    def _classify(self, x: Tensor) -> Tensor:
        # The head takes channels last.
        return cast("Tensor", self.head(x.movedim(1, -1)).movedim(-1, 1))


class PatchEmbedding(nn.Module):
    """The stem: a linear map of patches of 4 x 4 pixels, or convolutions; then a norm."""

    def __init__(self, channels: int, dim: int, norm: Norm, stem: str = "patch") -> None:
        super().__init__()
        self.proj: nn.Module
        if stem == "patch":
            self.proj = nn.Conv2d(channels, dim, PATCH, stride=PATCH)
        else:
            self.proj = STEMS[stem](channels, dim)
        self.norm = norm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W] -> [B, dim, H/4, W/4]``; patches round down, others up."""
        return cast("Tensor", self.norm(self.proj(image)))


class Variant(NamedTuple):
    """Settings of a variant; the drop-path rate is the one it was trained with."""

    width: int
    depths: tuple[int, int, int, int]
    ratio: float
    n_div: int
    drop_path_rate: float


#: Name in timm -> variant. ``light`` has the depths of Swin without its attention; ``r4`` and
#: ``r2`` spend the cost of the attention on more blocks, with ratio 4 and 2.
VARIANTS: Final[Mapping[str, Variant]] = {
    "shiftvit_light_tiny": Variant(96, (2, 2, 6, 2), 4, 12, 0.2),
    "shiftvit_r4_tiny": Variant(96, (2, 2, 12, 3), 4, 12, 0.2),
    "shiftvit_r2_tiny": Variant(96, (6, 8, 18, 6), 2, 12, 0.2),
    "shiftvit_light_small": Variant(96, (2, 2, 18, 2), 4, 12, 0.4),
    "shiftvit_r4_small": Variant(96, (2, 6, 24, 4), 4, 12, 0.4),
    "shiftvit_r2_small": Variant(96, (10, 18, 36, 10), 2, 12, 0.4),
    "shiftvit_light_base": Variant(128, (2, 2, 18, 2), 4, 16, 0.5),
    "shiftvit_r4_base": Variant(128, (4, 6, 22, 4), 4, 16, 0.5),
    "shiftvit_r2_base": Variant(128, (10, 18, 36, 10), 2, 16, 0.6),
}


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The weights of a released file, which stores them under the key ``model``."""
    return dict(state_dict.get("model", state_dict))


register_networks(
    __name__,
    ShiftViT,
    {name: variant._asdict() for name, variant in VARIANTS.items()},
    filter_fn=checkpoint_filter_fn,
    min_input_size=(3, 32, 32),
    paper_ids="arXiv:2201.10801",
    paper_name="When Shift Operation Meets Vision Transformer: An Extremely Simple "
    "Alternative to Attention Mechanism",
)
