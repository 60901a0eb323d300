"""The interface of a search space, and the registry of spaces."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
from torch import nn

from asvit.architectures.base import Values
from proxies.registry import Registry

Choice = int | float | str
#: Each space has its own class of architectures, frozen and hashable, as cached costs require;
#: ``str()`` gives the canonical text.
Architecture = Any

#: What every architecture has for a predictor, whatever its choices.
SIZES: Final = ("params", "macs", "depth", "width")
#: Choices that span at least this factor count as logarithms.
_WIDE: Final = 4


class SearchSpace:
    """Named categorical dimensions, whose choices determine a network.

    A subclass sets the attributes and defines :meth:`values`, :meth:`from_values` and
    :meth:`make_network`. Its architectures have ``parse``; ``with_`` if they can be grown; and
    ``check``, which refuses image sizes, if they do not take all.
    """

    name: ClassVar[str]  #: name on the command line
    description: ClassVar[str]  #: one line on what is searched
    paper: ClassVar[str]  #: where it was published
    prefix: ClassVar[str] = ""  #: start of its texts, unique among the spaces; empty for As-ViT
    architecture: ClassVar[type[Architecture]]  #: class of its architectures
    #: Name of each dimension -> its choices, in order.
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]]
    #: Names of dimensions, such as ``"K1 to K4"`` -> what they are; reports show it.
    legend: ClassVar[Mapping[str, str]] = {}
    #: Dimension that names the family of an architecture, whose dimensions alone count; empty
    #: where there are no families.
    branch: ClassVar[str] = ""
    #: Texts of the networks that one would take without a search, at any width: published shapes.
    by_hand: ClassVar[Sequence[str]] = ()

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(choices) for choices in self.dimensions.values())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly."""
        params = {name: c[rng.integers(len(c))] for name, c in self.dimensions.items()}
        return self.decode(params)

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """The dimensions that count for these choices, beside :attr:`branch`."""
        return self.dimensions

    def __contains__(self, arch: Architecture) -> bool:
        """Whether an architecture, grown or not, is one of this space."""
        return type(arch) is self.architecture

    def values(self, arch: Architecture) -> Iterable[Choice]:
        """The choices of an architecture, in the order of the dimensions."""
        raise NotImplementedError

    def from_values(self, values: Sequence[Any]) -> Architecture:
        """The architecture with these choices: the inverse of :meth:`values`."""
        raise NotImplementedError

    def make_network(self, arch: Architecture, image_size: int, **options: Any) -> nn.Module:
        """A freshly initialised network for square images of this side in pixels.

        ``options`` are ``num_classes``, ``in_chans``, ``drop_rate`` and ``drop_path_rate``, with
        the meanings that timm gives them.
        """
        raise NotImplementedError

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """The choice in each dimension: the inverse of :meth:`decode`.

        Depths and width of a grown architecture only count where they are dimensions. A ValueError
        says why an architecture is not in the space.
        """
        params = dict(zip(self.dimensions, self.values(arch), strict=True))
        self.check_choices(params)
        return params

    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        """The architecture with these choices; errors as :meth:`check_choices`."""
        self.check_choices(params)
        return self.from_values([params[name] for name in self.dimensions])

    def features(self, arch: Architecture) -> dict[str, float]:
        """The choices of an architecture as numbers, for predictors of accuracy: name -> number.

        A dimension of numbers is a number, its logarithm to base 2 where the largest choice is at
        least four times the smallest; a dimension of texts has a 0 or 1 for every choice.

        A space may override this: features that suit its choices need less data.
        ``"depth"`` and ``"width"`` are all blocks and the channels of the first; where they are
        missing, the network is built to count them. Such dimensions are ``"SPACE.depth"``.
        """
        features = dimension_features(self.dimensions, self.values(arch))
        return {
            f"{self.name}." * (name in SIZES) + name: value for name, value in features.items()
        }

    def parse(self, text: str) -> Architecture:
        """The architecture of a text, also one outside the choices, which :meth:`encode` refuses.

        Such are grown ones, ablations, and those of other parts. A ValueError says what is wrong.
        """
        return self.architecture.parse(text)

    def family_of(self, arch: Architecture | str) -> str:
        """The space of an architecture: the own name, or that of a member."""
        return self.name

    def read(self, arch: Architecture | str) -> Architecture:
        """``arch`` as an architecture, parsed if it is a text; errors as :meth:`parse`."""
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
        drop_path: float = 0.0,
        drop: float = 0.0,
    ) -> nn.Module:
        """A freshly initialised network; arguments and errors as :func:`asvit.build`."""
        parsed = self.read(arch)
        if depths is not None or width is not None:
            if not hasattr(parsed, "with_"):
                raise ValueError(f"{parsed} has its own depths and width; leave both out")
            parsed = parsed.with_(depths=depths, width=width)
        self.check(parsed, image_size)
        rates = {"drop_rate": drop, "drop_path_rate": drop_path}
        sizes = {"num_classes": num_classes, "in_chans": in_chans}
        return self.make_network(parsed, image_size, **sizes, **rates)

    def check_choices(self, params: Mapping[str, Choice]) -> None:
        """Refuse what is no allowed choice for every dimension, in a ValueError."""
        for name in params:
            if name not in self.dimensions:
                listed = ", ".join(self.dimensions)
                raise ValueError(f"space {self.name!r} has no dimension {name!r}; it has {listed}")
        for name, choices in self.dimensions.items():
            if name not in params:
                raise ValueError(f"dimension {name} is missing; use one of {list(choices)}")
            if params[name] not in choices:
                raise ValueError(
                    f"{name}={params[name]!r} is not in space {self.name!r}; "
                    f"use one of {list(choices)}"
                )


class TextSpace(SearchSpace):
    """Base of spaces of :class:`~asvit.architectures.base.TextArchitecture` with parts.

    A dimension is a part, or a letter of ``letters``, with the number of the stage where there is
    a value for each.
    """

    letters: ClassVar[Mapping[str, str]]  #: letter of dimensions -> field of the architecture
    parts: ClassVar[Sequence[str]] = ()  #: parts that are dimensions, the last ones

    def _places(self) -> Iterable[tuple[str, int | None]]:
        """The field of each dimension, and the stage from 0."""
        for name in self.dimensions:
            if name in self.parts:
                yield name, None
            else:
                yield self.letters[name[0]], int(name[1:]) - 1 if name[1:] else None

    def values(self, arch: Architecture) -> Sequence[Choice]:
        """As the base says; parts that are no dimensions are the published ones."""
        for name, (published, *_) in arch.parts().items():
            if name not in self.parts and getattr(arch, name) != published:
                raise ValueError(
                    f"{arch} is not in space {self.name!r}, where {name} is {published}; leave "
                    "it out or use a space with that dimension"
                )
        return self._values(arch)

    def _values(self, arch: Architecture) -> Sequence[Choice]:
        fields = [(getattr(arch, field), stage) for field, stage in self._places()]
        return [value if stage is None else value[stage] for value, stage in fields]

    def from_values(self, values: Sequence[Any]) -> Architecture:
        """As the base says; what is no dimension is the first of its choices or the default."""
        fields: dict[str, Any] = {}
        for (name, stage), value in zip(self._places(), values, strict=True):
            field = self.architecture.fields[name]
            if isinstance(field, Values):
                choices: Any = field.choices
                fields.setdefault(name, [own[0] for own in choices])[stage] = value
            else:
                fields[name] = value
        return self.architecture(**fields)

    def features(self, arch: Architecture) -> dict[str, float]:
        """As the base says; with all parts, the number of blocks and the width."""
        own = {name: c for name, c in self.dimensions.items() if name not in self.parts}
        parts = arch.parts()
        return (
            dimension_features(own, self._values(arch)[: len(own)])
            | dimension_features(parts, [getattr(arch, name) for name in parts])
            | size_features(sum(arch.depths), arch.width)
        )


def dimension_features(
    dimensions: Mapping[str, Sequence[Choice]], values: Iterable[Choice]
) -> dict[str, float]:
    """Features of one choice in each dimension; see :meth:`SearchSpace.features`."""
    features: dict[str, float] = {}
    for (name, choices), choice in zip(dimensions.items(), values, strict=True):
        numbers = [option for option in choices if not isinstance(option, str)]
        if isinstance(choice, str) or len(numbers) < len(choices):
            features |= {f"{name}={option}": float(choice == option) for option in choices}
        elif min(numbers) > 0 and max(numbers) >= _WIDE * min(numbers):
            features[name] = math.log2(choice)
        else:
            features[name] = float(choice)
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


def register_space(cls: type[S]) -> type[S]:
    """Class decorator: add a space under its name; an earlier definition of it is replaced.

    Raises:
        ValueError: If the name is taken by another one, or the prefix by one with another class of
            architectures.
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
        from asvit.spaces.union import UnionSpace  # which is one of these spaces

        return UnionSpace([part.strip() for part in name.split(",")])
    return SPACES[name]
