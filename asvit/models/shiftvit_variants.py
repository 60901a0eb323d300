"""The nine ShiftViTs of the released code, in timm's registry."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from asvit.models.shiftvit import ShiftViT

__all__ = ["VARIANTS", "checkpoint_filter_fn"]


class Variant(NamedTuple):
    """What distinguishes the variants; drop-path is the one each was trained with."""

    width: int
    depths: tuple[int, int, int, int]
    ratio: float
    n_div: int
    drop_path_rate: float


#: Name in timm -> variant. ``light`` has the depths of Swin without its attention; ``r4`` and
#: ``r2`` spend on blocks, with ratio 4 and 2, what attention would have cost.
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


def _cfg(**settings: Any) -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "min_input_size": (3, 32, 32),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "paper_ids": "arXiv:2201.10801",
        "paper_name": "When Shift Operation Meets Vision Transformer: An Extremely Simple "
        "Alternative to Attention Mechanism",
        **settings,
    }


default_cfgs = generate_default_cfgs({name: _cfg() for name in VARIANTS})


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The weights in a released file, which keeps them under the key ``model``.

    Args:
        state_dict: What the file holds, or the weights themselves.
        model: Not used; timm gives it.
    """
    return dict(state_dict.get("model", state_dict))


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    model: nn.Module = build_model_with_cfg(
        ShiftViT,
        name,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **{**VARIANTS[name]._asdict(), **kwargs},
    )
    return model


# timm has no types, and an untyped decorator would take ours away.
_register = cast("Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]", register_model)


@_register
def shiftvit_light_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-T/light: 19.6 M parameters, 3.0 G multiply-adds at 224 px."""
    return _create("shiftvit_light_tiny", pretrained, **kwargs)


@_register
def shiftvit_r4_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-T's budget spent at ratio 4: 31.4 M parameters, 4.6 G multiply-adds at 224 px."""
    return _create("shiftvit_r4_tiny", pretrained, **kwargs)


@_register
def shiftvit_r2_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-T: 28.6 M parameters, 4.6 G multiply-adds at 224 px."""
    return _create("shiftvit_r2_tiny", pretrained, **kwargs)


@_register
def shiftvit_light_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-S/light: 33.8 M parameters, 5.7 G multiply-adds at 224 px."""
    return _create("shiftvit_light_small", pretrained, **kwargs)


@_register
def shiftvit_r4_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-S's budget spent at ratio 4."""
    return _create("shiftvit_r4_small", pretrained, **kwargs)


@_register
def shiftvit_r2_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-S: 50.3 M parameters, 8.7 G multiply-adds at 224 px."""
    return _create("shiftvit_r2_small", pretrained, **kwargs)


@_register
def shiftvit_light_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-B/light."""
    return _create("shiftvit_light_base", pretrained, **kwargs)


@_register
def shiftvit_r4_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-B's budget spent at ratio 4."""
    return _create("shiftvit_r4_base", pretrained, **kwargs)


@_register
def shiftvit_r2_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Shift-B."""
    return _create("shiftvit_r2_base", pretrained, **kwargs)
