"""Networks with hallucinated attention and compact feed-forward parts, made from ordinary ones."""

import copy
from collections.abc import Iterator
from typing import Any, Literal, TypeGuard

from torch import nn

from asvit.models.hallucinated_hosts import MapRules, hallucinate
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
    attention) and Next-ViT, and in As-ViT and PSViT; the second map of feed-forward parts in any
    network. Values, output maps, the first map of feed-forward parts and everything around them
    keep their weights; queries, keys, the convolutions over maps and both factors of a compact
    part start afresh. The network is then to be trained: with ``branches``, in its training form,
    which :func:`merge` takes to the smaller one for inference.

    Args:
        model: The network.
        attention: ``"hallucinated"``, or None to leave it as it is.
        ffn: ``"compact"``, or None to leave them as they are.
        heads: How many heads there are and how many of them are real: ``"double_odd"`` doubles all
            numbers of a network in which one is odd, ``"double_each"`` the odd ones alone,
            ``"double"`` all in any case; ``"floor"`` and ``"ceil"`` keep the number and round the
            real half.
        axis: Whether the grid of the ``"key"`` or of the ``"query"`` tokens is convolved over.
        class_token: What that convolution makes of tokens on no grid: ``"identity"`` leaves them,
            ``"isolated"`` takes each for a grid of one.
        map_bias: Whether the convolutions over maps have a bias.
        ratio: Compact ratio t: ``t * m * C / (m + 1)`` channels between the factors.
        branches: Branches (linear map, batch norm) that each factor is trained with; 0 for plain
            linear maps, the merged form.
        inplace: Convert ``model`` itself instead of a copy.

    Returns:
        The converted network, on the device, with the dtype and in the mode of ``model``.

    Raises:
        ValueError: If there is nothing to convert, an argument is none of its choices, or a host's
            attention cannot be replaced. With ``inplace`` some parts may then be replaced already.

    References:
        arXiv:2306.10875. ``ratio`` and ``branches`` have the paper's values; the other defaults
        are ours, where it leaves open what to do.
    """
    for name, value, known in (("attention", attention, "hallucinated"), ("ffn", ffn, "compact")):
        if value not in (None, known):
            raise ValueError(f"{name}={value!r} is not one of {known!r}, None")
    if attention is None and ffn is None:
        raise ValueError("nothing to convert; ask for attention='hallucinated' or ffn='compact'")
    model = model if inplace else copy.deepcopy(model)
    kind = type(model).__name__
    rules = MapRules(heads=heads, axis=axis, class_token=class_token, map_bias=map_bias)
    if attention and not hallucinate(model, rules):
        raise ValueError(
            f"{kind} has no attention that can be replaced; "
            "use a DeiT, PVTv2, Next-ViT, As-ViT or PSViT"
        )
    if ffn and not _compact(model, ratio=ratio, branches=branches):
        raise ValueError(f"{kind} has no feed-forward part with two maps, fc1 and fc2")
    return model


def merge(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Take a network from its training form to that for inference: branches become one map each.

    Exact in evaluation mode, but for rounding; a network without branches stays as it is.

    Args:
        model: What :func:`convert` gave, or any network that holds such parts.
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
    """Replace the second map of every feed-forward part; how many there were."""
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
    """Modules that go from C channels to more and back, by one map each way."""
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
