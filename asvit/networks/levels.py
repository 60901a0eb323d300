"""Which feature maps a network has to build a pyramid of, and which images it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from timm.models import FeatureInfo
from torch import nn

from asvit.models import AsViT, PSViT, ShiftViT
from asvit.models.layers import Stage

FINEST = 4  # pixels; detectors and segmenters have no use for finer maps
CLASSIFIED = 224  # pixels; side of the images that classifiers are mostly trained on

_ASKED = ("forward_intermediates", "prune_intermediate_layers")


class Level(NamedTuple):
    """A map that a network can give: its place among all of them, channels, stride in pixels."""

    place: int
    channels: int
    stride: int


def levels_of(model: nn.Module) -> list[Level]:
    """The maps of a pyramid of ``model``: the last one of every stride of 4 px and more.

    Raises:
        ValueError: If it has fewer than two, or does not give maps in timm's manner.
    """
    info: Any = getattr(model, "feature_info", None)
    if info is None or not all(hasattr(model, name) for name in _ASKED):
        raise ValueError(f"{type(model).__name__} gives no feature maps; use a network that does")
    entries = info.get_dicts() if isinstance(info, FeatureInfo) else info
    last = {
        entry["reduction"]: Level(place, entry["num_chs"], entry["reduction"])
        for place, entry in enumerate(entries)
    }
    levels = [last[stride] for stride in sorted(last) if stride >= FINEST]
    if len(levels) < 2:
        strides = ", ".join(map(str, sorted(last)))
        raise ValueError(
            f"{type(model).__name__} has maps of stride {strides} px only, which is no pyramid; "
            "use an As-ViT, a ShiftViT, a 'psvit2d:' path of several stages, or a timm model such "
            "as a Swin"
        )
    return levels


def chosen_of(out_indices: Sequence[int] | None, count: int) -> list[int]:
    """Which of so many maps are asked for, fine to coarse.

    Raises:
        ValueError: If one does not exist, or none is asked for.
    """
    chosen = list(range(count)) if out_indices is None else sorted(set(out_indices))
    if not chosen or not all(0 <= i < count for i in chosen):
        raise ValueError(f"out_indices={out_indices!r}; use some of 0 to {count - 1}")
    return chosen


def takes_any_size(model: nn.Module) -> bool:
    """Whether the network takes images of all sizes that are multiples of 32 px.

    Of a network that does not say so, as PiT, the answer is no.
    """
    if isinstance(model, AsViT | ShiftViT | PSViT) or getattr(model, "dynamic_img_size", False):
        return True
    config = getattr(model, "pretrained_cfg", None)
    return config is not None and not config["fixed_input_size"]


def multiply_windows(model: nn.Module, windows: int | None, image_size: int) -> int:
    """Give every stage of an As-ViT so many times its windows per side, in place.

    Args:
        model: The network.
        windows: How many times; None for as many as keep windows about as large as at 224 px, and
            1 for other networks.
        image_size: Side of the images in pixels.

    Returns:
        How many times.

    Raises:
        ValueError: If it is below 1, or above it for another network.
    """
    if windows is None:
        windows = max(image_size // CLASSIFIED, 1) if isinstance(model, AsViT) else 1
    if windows < 1 or (windows > 1 and not isinstance(model, AsViT)):
        raise ValueError(
            f"windows={windows} for a {type(model).__name__}; use 1, or more for an As-ViT"
        )
    if windows > 1:
        for stage in cast("AsViT", model).layers:
            cast("Stage", stage).splits *= windows
    return windows
