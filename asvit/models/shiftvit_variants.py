"""The nine ShiftViTs of the released code, in timm's registry."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from asvit.models._registration import register_networks
from asvit.models.shiftvit import ShiftViT

__all__ = ["VARIANTS", "checkpoint_filter_fn"]


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
    """The weights of a released file, which stores them under the key ``model``.

    Args:
        state_dict: The content of the file, or the weights themselves.
        model: Unused; timm passes it.
    """
    return dict(state_dict.get("model", state_dict))


register_networks(
    __name__,
    ShiftViT,
    {name: variant._asdict() for name, variant in VARIANTS.items()},
    {
        "shiftvit_light_tiny": "Shift-T/light: 19.6 M parameters, 3.0 G multiply-adds at 224 px.",
        "shiftvit_r4_tiny": "The budget of Shift-T at ratio 4: 31.4 M parameters, 4.6 G "
        "multiply-adds at 224 px.",
        "shiftvit_r2_tiny": "Shift-T: 28.6 M parameters, 4.6 G multiply-adds at 224 px.",
        "shiftvit_light_small": "Shift-S/light: 33.8 M parameters, 5.7 G multiply-adds at 224 px.",
        "shiftvit_r4_small": "The budget of Shift-S at ratio 4.",
        "shiftvit_r2_small": "Shift-S: 50.3 M parameters, 8.7 G multiply-adds at 224 px.",
        "shiftvit_light_base": "Shift-B/light.",
        "shiftvit_r4_base": "The budget of Shift-B at ratio 4.",
        "shiftvit_r2_base": "Shift-B.",
    },
    filter_fn=checkpoint_filter_fn,
    min_input_size=(3, 32, 32),
    paper_ids="arXiv:2201.10801",
    paper_name="When Shift Operation Meets Vision Transformer: An Extremely Simple "
    "Alternative to Attention Mechanism",
)
