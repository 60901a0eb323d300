"""Networks and their costs from an architecture or its text: a space's, a family's or timm's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import index
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from asvit.architectures.base import TextArchitecture
from asvit.architectures.genotype import Genotype
from asvit.models.asvit import asvit_cost, asvit_stage_costs
from asvit.spaces.base import SPACES, Architecture, Family, SearchSpace, load_space
from asvit.spaces.timm_models import PREFIX, TimmModel, TimmModels, is_timm_model
from asvit.spaces.vitbench import AutoFormer, Pit
from proxies import get_proxy
from proxies.counts import Cost, count
from proxies.functional import InterceptOperations, Operation
from proxies.messages import unknown
from proxies.text import shown

Architectures = str | Architecture | Iterable[str | Architecture]  # one, or several

#: Families outside every search space: depths and width cannot be changed.
FIXED: Final[Sequence[Family]] = (Pit(), AutoFormer(), TimmModels())


def build(
    arch: str | Genotype | Architecture,
    image_size: int = 224,
    num_classes: int = 1000,
    *,
    in_chans: int = 3,
    depths: Iterable[int] | None = None,
    width: int | None = None,
    drop_path: float | None = None,
    drop: float | None = None,
    stem: str | None = None,
    head: str | None = None,
    mixing: str | None = None,
    positions: str | None = None,
    init: str | None = None,
) -> nn.Module:
    """A freshly initialised network.

    Args:
        arch: An architecture of any space, or a text: of a space, of a family (``"pit:..."``,
            ``"autoformer:..."``), or ``"timm:NAME"``.
        image_size: Side of the images in pixels.
        num_classes: Classes; 0 for the pooled features.
        in_chans: Channels of the images.
        depths: Blocks in each stage; None keeps those of the architecture.
        width: Channels of the first stage; None keeps that of the architecture.
        drop_path: Drop-path probability of the last block, on a linear ramp from 0; None for the
            network's default: 0 except for some timm models.
        drop: Dropout before the head; None for the network's default.
        stem: What makes tokens of the image, as in texts of As-ViT and ShiftViT; None keeps the
            part of the architecture. The others are parts of As-ViT alone.
        head: What makes classes of the pooled features: ``"mlp"`` or ``"linear"``.
        mixing: What mixes neighbours in feed-forward parts: ``"none"`` or ``"ffn"``.
        positions: Learned embeddings of positions: ``"none"`` or ``"absolute"``.
        init: How initial weights are drawn: ``"0.02"`` or by ``"width"``.

    Raises:
        ValueError: If the text is wrong, timm has no such model, the sizes do not fit, the
            architecture has no such part, or its networks take images of three channels alone.

    Example:
        >>> network = asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=64, num_classes=10)
        >>> network(torch.randn(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """
    parts = {"stem": stem, "head": head, "mixing": mixing, "positions": positions, "init": init}
    parsed = with_parts(parse(arch), {n: part for n, part in parts.items() if part is not None})
    sizes: Any = {"image_size": image_size, "num_classes": num_classes, "in_chans": in_chans}
    rates: Any = {"drop_path": drop_path, "drop": drop}
    return _family_of(parsed).build(parsed, depths=depths, width=width, **sizes, **rates)


def has_drop_path(arch: str | Architecture) -> bool:
    """Whether the networks of an architecture have drop-path: all but some of timm's do."""
    parsed = parse(arch)
    return not isinstance(parsed, TimmModel) or parsed.has_drop_path


def cost(
    arch: str | Genotype | Architecture | nn.Module,
    image_size: int = 224,
    num_classes: int = 1000,
    *,
    in_chans: int = 3,
) -> Cost:
    """Parameters and multiply-adds of one forward pass of one image; cached by architecture.

    Args:
        arch: What :func:`build` takes, or any module that takes ``[1, in_chans, side, side]``.
        image_size: Side of the image in pixels.
        num_classes: Classes of an architecture; a module has its own.
        in_chans: Channels of the image.

    Raises:
        ValueError: As :func:`build`, or if the module cannot be counted.

    Example:
        >>> asvit.cost("8,2,3|4,1,2|4,1,4|4,1,6|32")
        Cost(params=2319624, macs=491469312)
    """
    if isinstance(arch, nn.Module):
        return count(arch, image_size, in_chans)
    # Of NumPy's integers products would overflow, and the cache would return them for Python's.
    return _cost(parse(arch), index(image_size), index(num_classes), index(in_chans))


@lru_cache(maxsize=4096)
def _cost(arch: Architecture, image_size: int, num_classes: int, in_chans: int) -> Cost:
    if type(arch) is Genotype:  # a subclass may build another network
        return asvit_cost(arch, image_size, num_classes, in_chans)
    sizes: Any = {"image_size": image_size, "num_classes": num_classes, "in_chans": in_chans}
    return count(build_on_meta(arch, **sizes), image_size, in_chans)


def build_on_meta(
    arch: str | Genotype | Architecture,
    *,
    image_size: int,
    num_classes: int = 1000,
    in_chans: int = 3,
) -> nn.Module:
    """:func:`build` on the meta device: no memory, no initialisation, where the network allows."""
    arch = parse(arch)
    try:
        with torch.device("meta"), _SkipInitialisation():
            return build(arch, image_size, num_classes, in_chans=in_chans)
    except (RuntimeError, TypeError, ValueError):
        # Some networks read values while they are constructed, or turn them into NumPy's.
        with torch.random.fork_rng([]):
            return build(arch, image_size, num_classes, in_chans=in_chans)


class _SkipInitialisation(InterceptOperations):
    """Skips in-place initialisers of meta tensors, which take most of the construction time."""

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        named = getattr(func, "__module__", None) == nn.init.__name__  # these pass names on
        if not named and func not in _INITIALISERS:
            return func(*args, **kwargs)
        tensor = kwargs["tensor"] if named else args[0]
        return tensor if tensor.is_meta else func(*args, **kwargs)


_INITIALISERS = {
    *(Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.clamp_),
    *(Tensor.mul_, Tensor.add_, Tensor.fill_, Tensor.zero_),
}


@dataclass(frozen=True)
class StageRow:
    """Cost of one part of a network; None in columns that do not apply."""

    stage: str  # "1" to "4", each with the embedding before it; "head"; or the whole "network"
    tokens_per_side: int | None  # tokens along one side of the image
    width: int | None  # channels of a token
    heads: int | None  # attention heads
    blocks: int | None  # transformer blocks
    window: int | None  # tokens along one side of an attention window
    params: int
    macs: int  # multiply-adds of one image


def stage_table(
    arch: str | Architecture, *, image_size: int = 224, num_classes: int = 1000, in_chans: int = 3
) -> list[StageRow]:
    """Rows for the stages and head of an As-ViT architecture; one row for any other network."""
    g, none = parse(arch), (None,) * 4
    if type(g) is not Genotype:  # stages of a subclass may have neither windows nor heads
        total = cost(g, image_size, num_classes, in_chans=in_chans)
        return [StageRow("network", None, *none, total.params, total.macs)]
    *stages, head = asvit_stage_costs(g, image_size, num_classes, in_chans)
    columns = zip(
        g.token_sides(image_size), g.stage_widths, g.stage_heads, g.depths, g.splits, strict=True
    )
    rows = [
        StageRow(str(i), side, width, heads, blocks, side // splits, own.params, own.macs)
        for i, ((side, width, heads, blocks, splits), own) in enumerate(
            zip(columns, stages, strict=True), 1
        )
    ]
    last = StageRow("head", None, g.stage_widths[-1], *none[1:], head.params, head.macs)
    return [*rows, last]


def each_of(architectures: Architectures) -> Iterable[str | Architecture]:
    """Each of several architectures, or one alone."""
    if isinstance(architectures, Iterable) and not isinstance(architectures, str):
        return architectures
    return [architectures]


def parse(arch: str | Architecture) -> Architecture:
    """The architecture that a text describes; an architecture is returned unchanged."""
    if not isinstance(arch, str):
        _family_of(arch)
        return arch
    own = [family for family in _families() if family.prefix and arch.startswith(family.prefix)]
    errors = []
    for family in own or [SPACES["asvit"]]:
        try:
            return family.parse(arch)
        except ValueError as error:
            errors.append(error)
    if not own:
        _explain(arch)
    raise errors[-1 if arch.startswith(PREFIX) else 0]  # timm's, also of families


def _explain(text: str) -> None:
    """Raise a ValueError on a text that is no architecture's, if it is something else known."""
    if text in SPACES:
        space = SPACES[text]
        example = next(iter(space.by_hand), space.sample(np.random.default_rng(0)))
        raise ValueError(f"{text!r} is a search space; name an architecture of it, as {example}")
    if is_timm_model(text):
        raise ValueError(f"{text!r} is a timm model; write '{PREFIX}{text}'")
    word, colon, _ = text.partition(":")
    if colon and word[:1].isalpha():
        prefixes = [family.prefix.partition(":")[0] for family in _families() if family.prefix]
        raise ValueError(unknown("prefix", f"{word}:", dict.fromkeys(f"{p}:" for p in prefixes)))


def with_parts(arch: Architecture, parts: Mapping[str, str]) -> Architecture:
    """``arch`` with other parts."""
    known = arch.parts() if isinstance(arch, TextArchitecture) else {}
    for name in parts:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"{shown(str(arch))} has no part {shown(name)}; it has {listed}")
    return replace(arch, **parts) if parts else arch


def choice_features(arch: str | Architecture) -> tuple[str, dict[str, float]]:
    """The kind of an architecture and its choices as numbers: name -> number."""
    parsed = parse(arch)
    family = _family_of(parsed)
    kind = next(one for one in _families() if one.architecture is family.architecture)
    return kind.name, family.features(parsed)


def canonical(text: str) -> str:
    """The canonical text of an architecture of any kind; errors as :func:`parse`."""
    return str(parse(text))


def known_space(
    name: str | None, measures: Iterable[str] = (), architectures: Iterable[str] = ()
) -> SearchSpace | None:
    """A space in a worker, which must know measures and texts as the process that started it."""
    try:
        for look_up, texts in ((get_proxy, measures), (parse, architectures)):
            for text in texts:
                look_up(text)
        return None if name is None else load_space(name)
    except ValueError as error:
        raise ValueError(
            "a worker does not know what this process does, as it imports only the modules that "
            f"ASVIT_EXTENSIONS names: {error}"
        ) from error


def _families() -> list[Family]:
    return [*SPACES.values(), *FIXED]


def _family_of(arch: Architecture) -> Family:
    """The family of an architecture: the first space that has it, or one outside the spaces."""
    families = [one for one in _families() if isinstance(arch, one.architecture)]
    if not families:
        raise ValueError(
            f"{type(arch).__name__} is not an architecture; use a Genotype, its text or "
            f"{PREFIX}NAME"
        )
    # Its own class takes precedence over a parent class.
    return min(families, key=lambda s: (arch not in s, type(arch) is not s.architecture))


def find(arch: str | Architecture) -> tuple[SearchSpace, Architecture]:
    """The search space of an architecture or text, and the architecture, or a ValueError."""
    parsed = parse(arch)
    family = _family_of(parsed)
    if not isinstance(family, SearchSpace):
        raise ValueError(
            f"{shown(str(parsed))} belongs to no search space; use one of {', '.join(SPACES)}"
        )
    return family, parsed
