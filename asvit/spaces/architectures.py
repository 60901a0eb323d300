"""Networks and their cost, from the text of any space, of a published family or of timm."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asvit.genotype import Genotype
from asvit.spaces.base import Architecture, SearchSpace
from asvit.spaces.families import is_family, read_family
from asvit.spaces.hosts import PREFIX, build_host, check_host, is_host
from asvit.spaces.registry import SPACES
from proxies.counts import Cost, count
from proxies.messages import shown


def build(
    arch: str | Genotype | Architecture,
    image_size: int = 224,
    num_classes: int = 1000,
    *,
    depths: Iterable[int] | None = None,
    width: int | None = None,
    drop_path: float | None = None,
    drop: float | None = None,
) -> nn.Module:
    """A freshly initialised network.

    Args:
        arch: An architecture or its text, of any space; or the text of a family, ``"pit:..."`` or
            ``"autoformer:..."``; or ``"timm:NAME"``.
        image_size: Side of the images in pixels.
        num_classes: Classes; 0 for the pooled features.
        depths: Blocks in each stage, in place of the architecture's own.
        width: Channels of the first stage, in place of the architecture's own.
        drop_path: Drop-path probability of the last block, up a linear ramp from 0; None for the
            network's own: 0 but for some of timm's.
        drop: Dropout in front of the head; None for the network's own.

    Raises:
        ValueError: If the text is wrong, timm has no such model, or the sizes do not suit.
    """
    given = {"drop_path": drop_path, "drop": drop}
    rates = {name: rate for name, rate in given.items() if rate is not None}
    if isinstance(arch, str) and is_fixed(arch):
        if depths is not None or width is not None:
            raise ValueError(f"{shown(arch)} has its own depths and width; leave both out")
        return _fixed(arch)(image_size=image_size, num_classes=num_classes, **rates)
    space, known = find(arch)
    return space.build(
        known,
        image_size=image_size,
        num_classes=num_classes,
        depths=depths,
        width=width,
        **rates,
    )


def is_fixed(text: str) -> bool:
    """Whether ``text`` names a network of its own depths and width: a family's or timm's."""
    return text.startswith(PREFIX) or is_family(text)


def _fixed(text: str) -> Callable[..., nn.Module]:
    if is_family(text):
        return read_family(text).build
    return partial(build_host, text.removeprefix(PREFIX))


def canonical(text: str) -> str:
    """The text by which an architecture is known, of a space, a family or timm.

    Raises:
        ValueError: If :func:`build` knows no such text; one line that says what would be right.
    """
    if text.startswith(PREFIX):
        check_host(text.removeprefix(PREFIX))
        return text
    return str(read_family(text) if is_family(text) else find(text)[1])


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
    known = arch if isinstance(arch, str) else find(arch)[1]
    return _cost(_Keyed(str(known), known), image_size)


@dataclass(frozen=True)
class _Keyed:
    """An architecture that is cached by its text and built without parsing that."""

    text: str
    arch: Any = field(compare=False)


@lru_cache(maxsize=4096)
def _cost(keyed: _Keyed, image_size: int) -> Cost:
    return count(build_on_meta(keyed.arch, image_size=image_size), image_size)


def build_on_meta(
    arch: str | Genotype | Architecture, *, image_size: int, num_classes: int = 1000
) -> nn.Module:
    """:func:`build` without memory or initialisation, as far as the network allows it."""
    try:
        with torch.device("meta"), _NothingWritten():
            return build(arch, image_size, num_classes)
    except RuntimeError:
        # Some of timm's read values while they are put together.
        return build(arch, image_size, num_classes)


class _NothingWritten(TorchFunctionMode):
    """Leaves out the writing of initial weights: there is nowhere to, and it takes most time."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _WRITES and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


_WRITES = {
    *(Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.clamp_),
    *(Tensor.mul_, Tensor.add_, Tensor.fill_, Tensor.zero_),
}


def find(arch: str | Architecture) -> tuple[SearchSpace, Architecture]:
    """The first space that ``arch`` belongs to, and the architecture itself.

    Raises:
        ValueError: If it fits no space; what the space of its prefix has to say about a text.
    """
    if not isinstance(arch, str):
        for space in SPACES.values():
            if isinstance(arch, space.architecture):
                return space, arch
        raise ValueError(
            f"{type(arch).__name__} is no architecture; use a Genotype, its text or {PREFIX}NAME"
        )
    if is_fixed(arch):
        raise ValueError(
            f"{shown(arch)} belongs to no search space; use one of {', '.join(SPACES)}"
        )
    refusals = []
    prefixed = [
        space for space in SPACES.values() if space.prefix and arch.startswith(space.prefix)
    ]
    for space in prefixed or SPACES.values():
        try:
            return space, space.parse(arch)
        except ValueError as refusal:
            refusals.append(refusal)
    if is_host(arch):
        raise ValueError(f"{arch!r} is a timm model; write '{PREFIX}{arch}'")
    raise refusals[0]
