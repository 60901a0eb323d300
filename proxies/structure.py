"""Trivial baselines: counts, and what the modules show: blocks, depth, width and expansions."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import dropwhile

from torch import Tensor, nn

from proxies.counts import count
from proxies.registry import register_measure

# Names of lists of blocks, and of lists of stages that contain such lists.
_LISTS = re.compile(
    r"(\w+_)?(blocks|layers|cells|stages|levels|transformers|encoder)(\d*|_\w+)"
    r"|(layer|stage)\d+|transformer"
)
_CONVOLUTIONS = re.compile(r"Conv\w*(Norm|Bn|BN)(Act)?")
_HEADS = ("head", "head_dist", "fc", "classifier")
_CONTAINERS = (nn.Sequential, nn.ModuleList)
# Names of the two maps of a feed-forward part, in PyTorch and timm.
_FEED_FORWARD = (("fc1", "fc2"), ("linear1", "linear2"), ("fc1_x", "fc2"), ("pw1", "pw2"))
_MAX_COORDINATES = 3
_ATTENTION = re.compile(r"att|mhsa", re.IGNORECASE)

# Of the parameters behind the stem, without the head. Blocks of an As-ViT hold 0.43 or more, its
# re-embeddings the rest.
_LEAST_SHARE = 0.4

Map = nn.Linear | nn.Conv2d


def residual_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The residual blocks of a network, by name, in order of registration.

    A block is an item of a list (``Sequential`` or ``ModuleList``) named blocks, layers, cells,
    stages, levels, transformers or similar, or of such a list nested in an item of another one.
    An item that consists of layers, each of attention and a feed-forward part, is as many blocks;
    one that consists of convolutions, each with its norm, is one. Single operations and plain
    sequences of them are no blocks: they have no shortcut.

    A ValueError if there are none, or they hold less than 40 % of the parameters behind the stem,
    without the head: a measure by blocks would leave out most of the network.
    """
    blocks = dict(_blocks_below(model, ""))
    if not blocks:
        raise ValueError(
            f"{type(model).__name__} has no list of blocks: "
            "no Sequential or ModuleList named blocks, layers, stages or similar"
        )
    share = _share(blocks.values(), model)
    if share < _LEAST_SHARE:
        raise ValueError(
            f"the blocks of {type(model).__name__} that are known by their names hold {share:.0%} "
            "of its parameters; a measure by blocks would leave out most of it"
        )
    return blocks


def _share(blocks: Iterable[nn.Module], model: nn.Module) -> float:
    """Share of the parameters behind the stem, without the head, that the blocks hold."""
    inside = {parameter for block in blocks for parameter in block.parameters()}
    parts = dict(model.named_modules())
    heads = [part for name, part in parts.items() if name.rpartition(".")[2] in _HEADS]
    left_out = {parameter for head in heads for parameter in head.parameters()}
    behind_stem = dropwhile(lambda p: p not in inside, model.parameters())
    whole = sum(p.numel() for p in behind_stem if p not in left_out)
    return sum(p.numel() for p in inside) / max(1, whole)


@register_measure("number of parameters, a trivial baseline", random=False)
def params(model: nn.Module) -> float:
    """Number of parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


@register_measure(
    "multiply-adds of convolutions, linear layers and matrix products, batch 1", random=False
)
def macs(model: nn.Module, images: Tensor) -> float:
    """Multiply-adds of a pass of one of the images ``[n, C, S, S]``."""
    return count(model, images.shape[-1], images.shape[1]).macs


@register_measure("number of residual blocks", random=False)
def depth(model: nn.Module) -> int:
    """Number of :func:`residual_blocks`; a trivial baseline."""
    return len(residual_blocks(model))


@register_measure("channels of a token in the first block", name="width", random=False)
def embedding_width(model: nn.Module) -> int:
    """Output channels of the last map of the first block that is not depthwise."""
    name, block = next(iter(residual_blocks(model).items()))
    parts = block.modules()
    maps = [part for part in parts if isinstance(part, Map) and part.weight.shape[1] > 1]
    if not maps:
        raise ValueError(
            f"{name} of {type(model).__name__} has neither a linear map nor a convolution"
        )
    return maps[-1].weight.shape[0]


@register_measure(
    "expansions of the feed-forward parts, summed over blocks", name="expansions", random=False
)
def total_expansion(model: nn.Module) -> float:
    """Sum of hidden width, after a gate if any, over input width of all feed-forward parts."""
    blocks = residual_blocks(model).values()
    pairs = [maps for block in blocks for part in block.modules() if (maps := feed_forward(part))]
    if not pairs:
        raise ValueError(
            f"no block of {type(model).__name__} has a feed-forward part: "
            "no pair of maps named fc1 and fc2, or similar"
        )
    # Exact, so that the order of the blocks does not matter.
    return math.fsum(_input_width(second) / _input_width(first) for first, second in pairs)


def feed_forward(module: nn.Module) -> tuple[Map, Map] | None:
    """The first and last map of a feed-forward part; None if ``module`` is not one."""
    # Networks of position biases take few coordinates, and squeeze-and-excite gates are narrower.
    for names in _FEED_FORWARD:
        first, second = (first_map(getattr(module, name, None)) for name in names)
        if first and second and _input_width(second) >= _input_width(first) > _MAX_COORDINATES:
            return first, second
    return None


def feed_forward_after_attention(block: nn.Module) -> list[nn.Module]:
    """Feed-forward parts of a block that have an attention as a sibling."""
    return [
        part
        for parent in block.modules()
        if any(is_attention(name, child) for name, child in parent.named_children())
        for child in parent.children()
        for part in _unpacked(child)
        if feed_forward(part)
    ]


def first_map(module: object) -> Map | None:
    """The first linear map or convolution in a module, in order of registration."""
    parts = module.modules() if isinstance(module, nn.Module) else ()
    return next((part for part in parts if isinstance(part, Map)), None)


def is_attention(name: str, module: nn.Module) -> bool:
    """Whether a module is attention, by its name or its class."""
    return bool(_ATTENTION.search(name) or _ATTENTION.search(type(module).__name__))


def _input_width(linear: Map) -> int:
    return linear.in_features if isinstance(linear, nn.Linear) else linear.in_channels


def _blocks_below(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Blocks in the lists of a module, or of its children if it has no list."""
    lists = _lists(module)
    for name, container in lists.items():
        yield from _blocks_in(container, f"{prefix}{name}")
    if not lists:
        for name, child in module.named_children():
            yield from _blocks_below(child, f"{prefix}{name}.")


def _blocks_in(container: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    for key, item in container.named_children():
        name = f"{path}.{key}"
        if isinstance(item, _CONTAINERS) or _consists_of_layers(item):
            yield from _blocks_in(item, name)
        elif _lists(item):
            below = [*_blocks_below(item, f"{name}.")]
            convolutions = [one for _, one in below if _CONVOLUTIONS.search(type(one).__name__)]
            yield from [(name, item)] if below and len(convolutions) == len(below) else below
        elif any(True for _ in item.children()) and first_map(item):
            yield name, item


def _consists_of_layers(item: nn.Module) -> bool:
    children = list(item.children())
    return len(children) > 1 and all(map(feed_forward_after_attention, children))


def _lists(module: nn.Module) -> dict[str, nn.Module]:
    return {
        name: child
        for name, child in module.named_children()
        if isinstance(child, _CONTAINERS) and _LISTS.fullmatch(name)
    }


def _unpacked(module: nn.Module) -> Iterator[nn.Module]:
    """A module, or the contents of a container."""
    if isinstance(module, _CONTAINERS):
        for child in module.children():
            yield from _unpacked(child)
    else:
        yield module
