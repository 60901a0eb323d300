"""Conversion of networks to hallucinated attention and compact feed-forward parts."""

import copy
from collections.abc import Iterator
from typing import Any, Literal, TypeGuard

from torch import nn

from asvit.models.attention_replacement import MapSettings, hallucinate
from asvit.models.layers.compact import BranchedMap, CompactMap, compact_width
from asvit.models.layers.hallucinated import Axis, ClassTokenRule, HeadRule


def convert(
    model: nn.Module,
    attention: Literal["hallucinated"] | None = None,
    ffn: Literal["compact"] | None = None,
    *,
    heads: HeadRule = "double_odd",
    axis: Axis = "key",
    class_token: ClassTokenRule = "identity",
    map_bias: bool = True,
    ratio: float = 2 / 3,
    branches: int = 2,
    inplace: bool = False,
) -> nn.Module:
    """Make attention hallucinated, the feed-forward parts compact, or both.

    Attention is replaced in timm's DeiT and other plain vision transformers, PVTv2 (without linear
    attention) and Next-ViT, and in As-ViT and PSViT; the second linear map of feed-forward parts
    is replaced in any network. Queries, keys, the convolutions over maps and both factors of a
    compact part are newly initialised; everything else keeps its weights. The network must then be
    trained. With ``branches`` it is in its training form, which :func:`merge` turns into the
    smaller one for inference.

    Args:
        model: The network.
        attention: ``"hallucinated"``, or None to leave it as it is.
        ffn: ``"compact"``, or None to leave them as they are.
        heads: Rule for the number of heads and of real ones among them. ``"double_odd"`` doubles
            the heads of all layers if any number is odd, ``"double_each"`` only odd numbers,
            ``"double"`` always; ``"floor"`` and ``"ceil"`` keep the number and round the real
            half.
        axis: Whether the grid of the ``"key"`` or of the ``"query"`` tokens is convolved over.
        class_token: Effect of that convolution on tokens outside the grid: ``"identity"`` leaves
            them, ``"isolated"`` treats each as a grid of one.
        map_bias: Whether the convolutions over maps have a bias.
        ratio: Compact ratio t: ``t * m * C / (m + 1)`` channels between the factors.
        branches: Branches (linear map, batch norm) of each factor in training; 0 for plain linear
            maps, the merged form.
        inplace: Convert ``model`` itself instead of a copy.

    Returns:
        The converted network, with the device, dtype and mode of ``model``.

    Raises:
        ValueError: If there is nothing to convert, an argument is not one of its choices, or an
            attention cannot be replaced. With ``inplace`` some parts may then be converted.

    References:
        arXiv:2306.10875. ``ratio`` and ``branches`` default to the paper's values; the other
        defaults are ours, where the paper leaves the choice open.
    """
    for name, value, known in (("attention", attention, "hallucinated"), ("ffn", ffn, "compact")):
        if value not in (None, known):
            raise ValueError(f"{name}={value!r} is not one of {known!r}, None")
    if attention is None and ffn is None:
        raise ValueError("nothing to convert; ask for attention='hallucinated' or ffn='compact'")
    model = model if inplace else copy.deepcopy(model)
    kind = type(model).__name__
    rules = MapSettings(heads=heads, axis=axis, class_token=class_token, map_bias=map_bias)
    if attention and not hallucinate(model, rules):
        raise ValueError(
            f"{kind} has no attention that can be replaced; "
            "use a DeiT, PVTv2, Next-ViT, As-ViT or PSViT"
        )
    if ffn and not _compact(model, ratio=ratio, branches=branches):
        raise ValueError(f"{kind} has no feed-forward part with two maps, fc1 and fc2")
    return model


def merge(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Turn a network's training form into that for inference: branches become one map each.

    Outputs in evaluation mode stay equal up to rounding. A network without branches is unchanged.

    Args:
        model: A network from :func:`convert`, or any that contains converted parts.
        inplace: Merge ``model`` itself instead of a copy.

    Returns:
        The merged network, in the mode of ``model``.
    """
    model = model if inplace else copy.deepcopy(model)
    if isinstance(model, BranchedMap):
        return model.merged()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BranchedMap):
                setattr(parent, name, child.merged())
    return model


def _compact(model: nn.Module, *, ratio: float, branches: int) -> int:
    """Replace the second map of every feed-forward part, and return their number."""
    parts = list(_feed_forward_parts(model))
    for part in parts:
        whole = part.fc2
        images = isinstance(whole, nn.Conv2d)
        outputs, inputs = whole.weight.shape[:2]
        width = compact_width(inputs, outputs, ratio)
        made = CompactMap(inputs, outputs, width, branches=branches, images=images)
        part.fc2 = made.to(whole.weight).train(whole.training)
    return len(parts)


def _feed_forward_parts(model: nn.Module) -> Iterator[Any]:
    """Modules with a map ``fc1`` from C channels to more, and ``fc2`` back to C."""
    for module in model.modules():
        first, second = getattr(module, "fc1", None), getattr(module, "fc2", None)
        if _is_map(first) and _is_map(second):
            (hidden, inputs), (outputs, read) = first.weight.shape[:2], second.weight.shape[:2]
            if hidden == read > inputs == outputs:
                yield module


def _is_map(module: object) -> TypeGuard[nn.Linear | nn.Conv2d]:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == module.stride == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)
