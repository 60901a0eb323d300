"""Families of architectures, search spaces, several spaces as one, and the registry of spaces."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
from torch import nn

from proxies.registry import Registry
from proxies.text import shown

Choice = int | float | str
#: Each family has its own class of architectures, frozen and hashable, as cached costs require;
#: ``str()`` gives the canonical text.
Architecture = Any

#: What every architecture has for a predictor, whatever its choices.
SIZES: Final = ("params", "macs", "depth", "width")
#: Choices that span at least this factor count as logarithms.
_WIDE: Final = 4
_FAMILY: Final = "family"  # dimension of several spaces


class Family:
    """Architectures of one class, their texts and their networks.

    A subclass sets the attributes and defines :meth:`make_network` and :meth:`features`. Its
    architectures have ``parse``; ``with_`` if they can be grown; and ``check``, which refuses
    image sizes, if they do not take all.
    """

    name: ClassVar[str]  #: name on the command line
    prefix: ClassVar[str] = ""  #: start of its texts, unique among the spaces; empty for As-ViT
    architecture: ClassVar[type[Architecture]]  #: class of its architectures
    usual_drop: ClassVar[float | None] = 0.0  #: rates where none is set; None for the network's

    def make_network(self, arch: Architecture, image_size: int, **options: Any) -> nn.Module:
        """A freshly initialised network for square images of this side in pixels.

        ``options`` are timm's ``num_classes``, ``in_chans``, ``drop_rate``, ``drop_path_rate``.
        """
        raise NotImplementedError

    def features(self, arch: Architecture) -> dict[str, float]:
        """The choices of an architecture as numbers, for predictors of accuracy: name -> number.

        ``"depth"`` and ``"width"`` are all blocks and the channels of the first; where they are
        missing, the network is built to count them.
        """
        raise NotImplementedError

    def __contains__(self, arch: Architecture) -> bool:
        """Whether an architecture, grown or not, is one of this family."""
        return type(arch) is self.architecture

    def parse(self, text: str) -> Architecture:
        """The architecture of a text, also one outside a space, which ``encode`` refuses."""
        return self.architecture.parse(text)

    def read(self, arch: Architecture | str) -> Architecture:
        """``arch`` as an architecture, parsed if it is a text."""
        return self.parse(arch) if isinstance(arch, str) else arch

    def check(self, arch: Architecture | str, image_size: int) -> None:
        """Refuse square images of this side in pixels that an architecture or text cannot take."""
        parsed = self.read(arch)
        if hasattr(parsed, "check"):
            parsed.check(image_size)

    def build(
        self,
        arch: Architecture | str,
        *,
        image_size: int = 224,
        num_classes: int = 1000,
        in_chans: int = 3,
        depths: Iterable[int] | None = None,
        width: int | None = None,
        drop_path: float | None = None,
        drop: float | None = None,
    ) -> nn.Module:
        """A freshly initialised network; arguments and errors as :func:`asvit.build`."""
        parsed = self.read(arch)
        if depths is not None or width is not None:
            if not hasattr(parsed, "with_"):
                text = shown(str(parsed))
                raise ValueError(f"{text} has its own depths and width; leave both out")
            parsed = parsed.with_(depths=depths, width=width)
        self.check(parsed, image_size)
        rates = {"drop_rate": drop, "drop_path_rate": drop_path}
        usual = {name: self.usual_drop if rate is None else rate for name, rate in rates.items()}
        sizes = {"num_classes": num_classes, "in_chans": in_chans}
        return self.make_network(parsed, image_size, **sizes, **usual)


class SearchSpace(Family):
    """A family with named categorical dimensions, whose choices determine a network.

    A subclass also defines :meth:`values` and :meth:`from_values`, and features of its own where
    fewer suit its choices better.
    """

    description: ClassVar[str]  #: one line on what is searched
    paper: ClassVar[str]  #: where it was published
    #: Name of each dimension -> its choices, in order.
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]]
    #: Names of dimensions, such as ``"K1 to K4"`` -> what they are; reports show it.
    legend: ClassVar[Mapping[str, str]] = {}
    #: Dimension that names the family of an architecture, whose dimensions alone count; empty
    #: where there are no families.
    branch: ClassVar[str] = ""
    #: Texts of the networks that one would take without a search, at any width: published shapes.
    by_hand: ClassVar[Sequence[str]] = ()

    def values(self, arch: Architecture) -> Iterable[Choice]:
        """The choices of an architecture, in the order of the dimensions."""
        raise NotImplementedError

    def from_values(self, values: Sequence[Any]) -> Architecture:
        """The architecture with these choices: the inverse of :meth:`values`."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(choices) for choices in self.dimensions.values())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly."""
        return self.decode({name: c[rng.integers(len(c))] for name, c in self.dimensions.items()})

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """The dimensions that count for these choices, beside :attr:`branch`."""
        return self.dimensions

    def family_of(self, arch: Architecture | str) -> str:
        """The space of an architecture: the own name, or that of a member."""
        return self.name

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """The choice in each dimension: the inverse of :meth:`decode`.

        Depths and width of a grown architecture only count where they are dimensions. A ValueError
        says why an architecture is not in the space.
        """
        return self._checked(dict(zip(self.dimensions, self.values(arch), strict=True)))

    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        """The architecture with these choices; a ValueError names one that is none."""
        checked = self._checked(params)
        return self.from_values([checked[name] for name in self.dimensions])

    def features(self, arch: Architecture) -> dict[str, float]:
        """As the base says.

        A dimension of numbers is a number, its logarithm to base 2 where the largest choice is at
        least four times the smallest; a dimension of texts has a 0 or 1 for every choice. One that
        is named as one of :data:`SIZES` is ``"SPACE.depth"``.
        """
        features = dimension_features(self.dimensions, self.values(arch))
        return {f"{self.name}." * (name in SIZES) + name: own for name, own in features.items()}

    def _checked(self, params: Mapping[str, Choice]) -> dict[str, Choice]:
        for name in {**self.dimensions, **params}:
            choices, choice = self.dimensions.get(name, ()), params.get(name)
            if choice not in choices:
                raise ValueError(
                    f"{name}={choice!r} is not in space {self.name!r}; use one of {list(choices)}"
                )
        return dict(params)


def dimension_features(
    dimensions: Mapping[str, Sequence[Choice]], values: Iterable[Choice]
) -> dict[str, float]:
    """Features of one choice in each dimension; see :meth:`SearchSpace.features`."""
    features: dict[str, float] = {}
    for (name, choices), choice in zip(dimensions.items(), values, strict=True):
        numbers = [option for option in choices if not isinstance(option, str)]
        if isinstance(choice, str) or len(numbers) < len(choices):
            features |= {f"{name}={option}": float(choice == option) for option in choices}
        else:
            wide = min(numbers) > 0 and max(numbers) >= _WIDE * min(numbers)
            features[name] = math.log2(choice) if wide else float(choice)
    return features


def size_features(depth: int, width: float) -> dict[str, float]:
    """Features of the number of blocks and of the channels of the first: logarithms to base 2."""
    return {"depth": math.log2(max(depth, 1)), "width": math.log2(width)}


def stage_features(name: str, values: Iterable[float]) -> dict[str, float]:
    """Features of one value for each stage, numbered from 1."""
    return {f"{name}{i}": float(value) for i, value in enumerate(values, 1)}


S = TypeVar("S", bound=SearchSpace)

#: Name -> space. An architecture text without a prefix is tried on them in this order.
SPACES: Registry[SearchSpace] = Registry("space")


class UnionSpace(SearchSpace):
    """The architectures of several spaces, such as families compared at equal limits.

    Its dimensions are the family, the name of a member, and those of every member under
    ``MEMBER.DIMENSION``, which count for its own alone. An architecture that several members have,
    such as As-ViT with and without parts, is of the smallest of them.
    """

    branch: ClassVar[str] = _FAMILY

    def __init__(self, members: Sequence[str], name: str = "") -> None:
        for member in members:
            if members.count(member) > 1 or isinstance(SPACES[member], UnionSpace):
                raise ValueError(
                    f"{member!r} cannot be part of {','.join(members)}; name each space once"
                )
        self.members: Sequence[str] = tuple(members)  #: the names of the spaces
        self._members = {member: SPACES[member] for member in members}
        own, spaces = self.__dict__, self._members.values()
        own["name"] = name or ",".join(members)
        own["description"] = f"the spaces {', '.join(members)}"
        own["architecture"] = reduce(or_, (space.architecture for space in spaces))
        papers = [paper for space in spaces for paper in space.paper.split("; ")]
        own["paper"] = "; ".join(dict.fromkeys(papers))
        own["dimensions"] = {_FAMILY: self.members} | {
            f"{space.name}.{name}": choices
            for space in spaces
            for name, choices in space.dimensions.items()
        }

    @property
    def by_hand(self) -> Sequence[str]:  # type: ignore[override]
        """Those of the members."""
        return tuple(text for space in self._members.values() for text in space.by_hand)

    @property
    def size(self) -> int:
        """Number of architectures; those of several members count for each."""
        return sum(space.size for space in self._members.values())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a family, and an architecture of it, both uniformly."""
        return self._members[self.members[int(rng.integers(len(self.members)))]].sample(rng)

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        family, own = self._own(params)
        return [f"{family.name}.{name}" for name in family.active(own)]

    def __contains__(self, arch: Architecture) -> bool:
        """Whether a member has an architecture."""
        return any(arch in space for space in self._members.values())

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """As the base says; dimensions of other families have their first choice."""
        family = self._member(arch)
        own = {f"{family.name}.{name}": choice for name, choice in family.encode(arch).items()}
        first = {name: choices[0] for name, choices in self.dimensions.items()}
        return {**first, _FAMILY: family.name, **own}

    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        family, own = self._own(self._checked(params))
        return family.decode(own)

    def features(self, arch: Architecture) -> dict[str, float]:
        return self._member(arch).features(arch)

    def family_of(self, arch: Architecture | str) -> str:
        return self._member(self.read(arch)).name

    def parse(self, text: str) -> Architecture:
        """As the base says; the architecture is in one of the spaces."""
        errors = list[ValueError]()
        for space in self._members.values():
            try:
                arch = space.parse(text)
                if arch in space:
                    return arch
                space.encode(arch)  # which says why not
            except ValueError as error:
                near = space.prefix and text.startswith(space.prefix)
                errors.insert(0 if near else len(errors), error)
        raise errors[0]

    def make_network(self, arch: Architecture, image_size: int, **options: Any) -> nn.Module:
        return self._member(arch).make_network(arch, image_size, **options)

    def _own(self, params: Mapping[str, Choice]) -> tuple[SearchSpace, dict[str, Choice]]:
        """The family, and the choices in its dimensions by the names that they have in it."""
        family = self._members[str(params[_FAMILY])]
        return family, {name: params[f"{family.name}.{name}"] for name in family.dimensions}

    def _member(self, arch: Architecture) -> SearchSpace:
        """The family of an architecture, the smallest that has it."""
        for space in sorted(self._members.values(), key=lambda space: space.size):
            if arch in space:
                return space
        raise ValueError(f"{arch} is of none of the spaces {', '.join(self.members)}")


def register_space(cls: type[S]) -> type[S]:
    """Class decorator: add a space under its name; an earlier definition of it is replaced.

    A ValueError if the name is another's, or the prefix that of another kind of architectures.
    """
    space = cls()
    for other in SPACES.values():
        alike = other.prefix == space.prefix and other.name != space.name and not other.branch
        if alike and other.architecture is not space.architecture:
            raise ValueError(
                f"space {space.name!r} has the prefix {space.prefix!r} of {other.name!r}, whose "
                "networks its texts would build; use another"
            )
    SPACES.register(cls.name, space)
    return cls


def load_space(name: str) -> SearchSpace:
    """The space of that name, or all of several, as in ``"asvit,shiftvit,resnet"``.

    Raises:
        UnknownNameError: If a name is unknown; a KeyError and a ValueError.

    Example:
        >>> space = asvit.load_space("asvit")
        >>> str(space.sample(np.random.default_rng(0)))
        '8,2,2|3,1,2|3,1,6|2,1,5|64'
    """
    if "," in name:
        return UnionSpace([part.strip() for part in name.split(",")])
    return SPACES[name]
