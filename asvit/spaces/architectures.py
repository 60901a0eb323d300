"""Networks and their cost, from the text of any space or of timm."""

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import nn

from asvit.genotype import Genotype
from asvit.spaces.base import Architecture, SearchSpace
from asvit.spaces.hosts import PREFIX, build_host, is_host
from asvit.spaces.registry import SPACES
from proxies.counts import Cost, count


def build(
    arch: str | Genotype | Architecture,
    image_size: int = 224,
    num_classes: int = 1000,
    *,
    depths: Iterable[int] | None = None,
    width: int | None = None,
) -> nn.Module:
    """A freshly initialised network.

    Args:
        arch: An architecture or its text, of any space; or ``"timm:NAME"``.
        image_size: Side of the images in pixels.
        num_classes: Classes; 0 for the pooled features.
        depths: Blocks in each stage, in place of the architecture's own.
        width: Channels of the first stage, in place of the architecture's own.

    Raises:
        ValueError: If the text is wrong, timm has no such model, or the sizes do not suit.
    """
    if isinstance(arch, str) and arch.startswith(PREFIX):
        if depths is not None or width is not None:
            raise ValueError(f"{arch!r} has its own depths and width; leave both out")
        name = arch.removeprefix(PREFIX)
        return build_host(name, image_size=image_size, num_classes=num_classes)
    space, known = find(arch)
    return space.build(
        known, image_size=image_size, num_classes=num_classes, depths=depths, width=width
    )


def cost(arch: str | Genotype | Architecture | nn.Module, image_size: int = 224) -> Cost:
    """Parameters and multiply-adds of one forward pass of one image, with 1000 classes.

    Args:
        arch: What :func:`build` takes, or any module that takes ``[1, 3, side, side]``.
        image_size: Side of the image in pixels.

    Raises:
        ValueError: As :func:`build`, or if the module cannot be counted.
    """
    if isinstance(arch, nn.Module):
        return count(arch, image_size)
    text = arch if isinstance(arch, str) else str(find(arch)[1])
    return _cost_of_text(text, image_size)


@lru_cache(maxsize=4096)
def _cost_of_text(text: str, image_size: int) -> Cost:
    return count(build_on_meta(text, image_size=image_size), image_size)


def build_on_meta(arch: str | Genotype | Architecture, *, image_size: int) -> nn.Module:
    """:func:`build` without memory or initialisation, as far as the network allows it."""
    try:
        with torch.device("meta"):
            return build(arch, image_size=image_size)
    except RuntimeError:
        # Some of timm's read values while they are put together.
        return build(arch, image_size=image_size)


def find(arch: str | Architecture) -> tuple[SearchSpace, Architecture]:
    """The first space that ``arch`` belongs to, and the architecture itself.

    Raises:
        ValueError: If a text fits no space; what the first space has to say about it.
    """
    if not isinstance(arch, str):
        for space in SPACES.values():
            if isinstance(arch, space.architecture):
                return space, arch
        raise ValueError(
            f"{type(arch).__name__} is no architecture; use a Genotype, its text or {PREFIX}NAME"
        )
    refusals = []
    for space in SPACES.values():
        try:
            return space, space.parse(arch)
        except ValueError as refusal:
            refusals.append(refusal)
    if is_host(arch):
        raise ValueError(f"{arch!r} is a timm model; write '{PREFIX}{arch}'")
    raise refusals[0]
