"""What a network is made of, read off its modules: blocks, their number, width and expansions."""

import re
from collections.abc import Iterator

from torch import nn

# What lists of blocks, and of stages that hold such lists, are called.
_LISTS = re.compile(
    r"(\w+_)?(blocks|layers|stages|levels|transformers|encoder)\d*|(layer|stage)\d+|transformer"
)
_CONTAINERS = (nn.Sequential, nn.ModuleList)
# The two maps of a feed-forward part, by name: PyTorch's one way and timm's three.
_FEED_FORWARD = (("fc1", "fc2"), ("linear1", "linear2"), ("fc1_x", "fc2"), ("pw1", "pw2"))
_COORDINATES = 3
_ATTENTION = re.compile(r"att|mhsa", re.IGNORECASE)

Map = nn.Linear | nn.Conv2d


def residual_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks that a network repeats, by name, in the order in which they are registered.

    A block is an item of a list (``Sequential`` or ``ModuleList``) that is called blocks, layers,
    stages, levels, transformers or the like, or of such a list in an item of such a list. Single
    operations and plain sequences of them are not blocks: nothing goes past them.

    Raises:
        ValueError: If there is none.
    """
    found = dict(_blocks_below(model, ""))
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no list of blocks: "
            "no Sequential or ModuleList called blocks, layers, stages or the like"
        )
    return found


def depth(model: nn.Module) -> int:
    """Number of blocks, see :func:`residual_blocks`; a trivial rival, higher is better.

    Raises:
        ValueError: If the model has no list of blocks.
    """
    return len(residual_blocks(model))


def embedding_width(model: nn.Module) -> int:
    """Channels of a token in the first block; a trivial rival, higher is better.

    They are read off what the block's last map writes. In a pyramid that is the width of the first
    stage, in a network of several branches that of the first.

    Raises:
        ValueError: If the model has no list of blocks, or the first block no linear map and no
            convolution.
    """
    name, block = next(iter(residual_blocks(model).items()))
    maps = [part for part in block.modules() if isinstance(part, Map)]
    if not maps:
        raise ValueError(f"{name} of {type(model).__name__} has no linear map and no convolution")
    return maps[-1].weight.shape[0]


def total_expansion(model: nn.Module) -> float:
    """Sum, over all blocks, of the expansions of their feed-forward parts; a trivial rival.

    An expansion is the hidden width over the width read, 4 in most vision transformers. With a
    gate the hidden width is what is left after it. Higher is better.

    Raises:
        ValueError: If the model has no list of blocks, or no known feed-forward part in any.
    """
    blocks = residual_blocks(model).values()
    pairs = [maps for block in blocks for part in block.modules() if (maps := feed_forward(part))]
    if not pairs:
        raise ValueError(
            f"no block of {type(model).__name__} has a feed-forward part: "
            "no pair of maps called fc1 and fc2, or the like"
        )
    return sum(_width_read(second) / _width_read(first) for first, second in pairs)


def feed_forward(module: nn.Module) -> tuple[Map, Map] | None:
    """The first and the last map of a feed-forward part, or ``None`` where a module is none.

    A feed-forward part reads more than the two or three coordinates that networks for the biases
    of positions read, and is at least as wide inside, which gates that squeeze and excite are not.
    """
    for names in _FEED_FORWARD:
        first, second = (first_map(getattr(module, name, None)) for name in names)
        if first and second and _width_read(second) >= _width_read(first) > _COORDINATES:
            return first, second
    return None


def feed_forward_after_attention(block: nn.Module) -> list[nn.Module]:
    """The feed-forward parts of a block that stand beside an attention."""
    return [
        part
        for parent in block.modules()
        if any(_is_attention(name, child) for name, child in parent.named_children())
        for child in parent.children()
        for part in _flat(child)
        if feed_forward(part)
    ]


def first_map(module: object) -> Map | None:
    """The first linear map or convolution in a module, in the order of registration."""
    parts = module.modules() if isinstance(module, nn.Module) else ()
    return next((part for part in parts if isinstance(part, Map)), None)


def _is_attention(name: str, module: nn.Module) -> bool:
    return bool(_ATTENTION.search(name) or _ATTENTION.search(type(module).__name__))


def _width_read(linear: Map) -> int:
    return linear.in_features if isinstance(linear, nn.Linear) else linear.in_channels


def _blocks_below(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Blocks in the lists of a module; where it has none, in those of what it is made of."""
    lists = _lists(module)
    for name, found in lists.items():
        yield from _blocks_in(found, f"{prefix}{name}")
    if not lists:
        for name, child in module.named_children():
            yield from _blocks_below(child, f"{prefix}{name}.")


def _blocks_in(container: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    for key, item in container.named_children():
        name = f"{path}.{key}"
        if isinstance(item, _CONTAINERS):
            yield from _blocks_in(item, name)
        elif _lists(item):
            yield from _blocks_below(item, f"{name}.")
        elif any(True for _ in item.children()) and first_map(item):
            yield name, item


def _lists(module: nn.Module) -> dict[str, nn.Module]:
    return {
        name: child
        for name, child in module.named_children()
        if isinstance(child, _CONTAINERS) and _LISTS.fullmatch(name)
    }


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    """A module, or what its containers hold."""
    if isinstance(module, _CONTAINERS):
        for child in module.children():
            yield from _flat(child)
    else:
        yield module
