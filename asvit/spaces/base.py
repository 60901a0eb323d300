"""The interface of a search space, a base for custom ones, and the registry of spaces."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, cast

import numpy as np
from torch import nn

from proxies.registry import Registry
from proxies.text import shown

Choice = int | float | str
#: Each space has its own class of architectures, frozen and hashable, as cached costs require;
#: ``str()`` gives the canonical text.
Architecture = Any

#: What every architecture has for a predictor, whatever its choices.
SIZES: Final = ("params", "macs", "depth", "width")
#: Choices that span at least this factor count as logarithms.
_WIDE: Final = 4


class SearchSpace(ABC):
    """Named categorical dimensions, whose choices determine a network.

    A subclass sets the attributes and defines :meth:`values`, :meth:`from_values`,
    :meth:`make_network` and :meth:`check`. Its architectures have ``parse``, and ``with_`` if
    they can be grown.
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
        """A freshly initialised network.

        Args:
            arch: The architecture, which takes images of this size.
            image_size: Side of the images in pixels.
            **options: ``num_classes``, ``drop_rate`` and ``drop_path_rate``, with the meanings
                that timm gives them; and ``in_chans`` where images do not have three channels.
        """
        raise NotImplementedError

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """The choice in each dimension: the inverse of :meth:`decode`.

        Depths and width of a grown architecture only count where they are dimensions.

        Raises:
            ValueError: If ``arch`` is not in the space.
        """
        params = dict(zip(self.dimensions, self.values(arch), strict=True))
        self.check_choices(params)
        return params

    def features(self, arch: Architecture) -> dict[str, float]:
        """The choices of an architecture as numbers, for predictors of accuracy: name -> number.

        A dimension of numbers is a number, its logarithm to base 2 where the largest choice is at
        least four times the smallest; a dimension of texts has a 0 or 1 for every choice.

        A space may override this: features that suit its choices need less data.
        ``"depth"`` and ``"width"`` stand for all blocks and for the channels of the first; where
        they are missing, the network is built to count them. Dimensions with such names are
        choices, ``"SPACE.depth"``.
        """
        features = dimension_features(self.dimensions, self.values(arch))
        return {
            f"{self.name}.{name}" if name in SIZES else name: value
            for name, value in features.items()
        }

    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        """The architecture with these choices.

        Raises:
            ValueError: If a dimension is missing or unknown, or a value is not among its choices.
        """
        self.check_choices(params)
        return self.from_values([params[name] for name in self.dimensions])

    def parse(self, text: str) -> Architecture:
        """Parse the text of an architecture of this kind, also one outside the choices.

        Such are grown ones, ablations, and those of other parts. :meth:`encode` refuses them.

        Raises:
            ValueError: If the text is wrong.
        """
        return self.architecture.parse(text)

    def family_of(self, arch: Architecture | str) -> str:
        """The space of an architecture: the own name, or that of a member."""
        return self.name

    def read(self, arch: Architecture | str) -> Architecture:
        """``arch`` as an architecture, parsed if it is a text; errors as :meth:`parse`."""
        return self.parse(arch) if isinstance(arch, str) else arch

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
        """A freshly initialised network; arguments as :func:`asvit.build`.

        Raises:
            ValueError: If the text is wrong, depths or width are out of range or cannot be set,
                :meth:`check` fails, or the space has networks for three channels alone.
        """
        parsed = self.read(arch)
        if depths is not None or width is not None:
            if not hasattr(parsed, "with_"):
                raise ValueError(f"{parsed} has its own depths and width; leave both out")
            parsed = parsed.with_(depths=depths, width=width)
        self.check(parsed, image_size)
        rates = {"drop_rate": drop, "drop_path_rate": drop_path}
        if in_chans == 3:
            return self.make_network(parsed, image_size, num_classes=num_classes, **rates)
        try:
            return self.make_network(
                parsed, image_size, num_classes=num_classes, in_chans=in_chans, **rates
            )
        except TypeError as error:
            if "in_chans" not in str(error):
                raise
            raise ValueError(
                f"space {self.name!r} has networks for images of 3 channels alone, not of "
                f"{in_chans}"
            ) from error

    @abstractmethod
    def check(self, arch: Architecture | str, image_size: int) -> None:
        """Check that an architecture or text takes square images of this side in pixels.

        Raises:
            ValueError: If it does not; one line that says where and what would be right.
        """

    def check_choices(self, params: Mapping[str, Choice]) -> None:
        """Check that ``params`` has an allowed choice for every dimension.

        Raises:
            ValueError: If it does not; the message names the dimension and its choices.
        """
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
        ValueError: If the name is taken by another one, or the prefix of a plain space is.
    """
    space = cls()
    others = (other for name, other in SPACES.items() if name != space.name)
    twins = [other.name for other in others if other.prefix == space.prefix]
    if twins and isinstance(space, PlainSpace):
        raise ValueError(
            f"space {space.name!r} has the prefix {space.prefix!r} of {twins[0]!r}, whose "
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


@dataclass(frozen=True)
class PlainArchitecture:
    """One choice in every dimension of a plain space."""

    prefix: str  # prefix of the space
    choices: tuple[Choice, ...]  # in the order of the dimensions

    def __str__(self) -> str:
        return self.prefix + ",".join(str(choice) for choice in self.choices)


class PlainSpace(SearchSpace):
    """A space whose texts are its prefix and the choices, such as ``small:2,16,gelu``.

    A subclass sets ``name``, ``description``, ``paper``, ``prefix`` and ``dimensions``, and builds
    the network in :meth:`network`, which may have an argument ``in_chans``, too. Its architectures
    can be measured, searched, trained and exported, but not grown, since they have no depths and
    width besides their choices.

    Raises:
        ValueError: If the prefix does not end in a colon, or two choices of one dimension have the
            same text.
    """

    architecture: ClassVar[type] = PlainArchitecture

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The class of an architecture identifies its space.
        cls.architecture = type(f"{cls.__name__}Architecture", (PlainArchitecture,), {})

    def __init__(self) -> None:
        if not self.prefix[:-1] or not self.prefix.endswith(":"):
            raise ValueError(
                f"space {self.name!r} has the prefix {self.prefix!r}; use a word and a colon"
            )
        self._choices: dict[str, dict[str, Choice]] = {}
        for name, choices in self.dimensions.items():
            texts = {str(choice): choice for choice in choices}
            if len(texts) < max(len(choices), 1) or any("," in text for text in texts):
                raise ValueError(
                    f"dimension {name} of space {self.name!r} has the choices {list(choices)}; "
                    "use at least one, of different texts without commas"
                )
            self._choices[name] = texts

    @abstractmethod
    def network(
        self,
        choices: Mapping[str, Any],
        *,
        image_size: int,
        num_classes: int,
        drop_path: float,
        drop: float,
    ) -> nn.Module:
        """A freshly initialised network.

        Args:
            choices: Dimension -> choice.
            image_size: Side of the images in pixels.
            num_classes: Classes; 0 for the pooled features.
            drop_path: Drop-path probability of the last block.
            drop: Dropout before the head.
        """

    def values(self, arch: PlainArchitecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        if len(arch.choices) != len(self.dimensions):
            raise ValueError(f"{arch} is not {self._form}")
        return arch.choices

    def from_values(self, values: Sequence[Choice]) -> PlainArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        return cast("PlainArchitecture", self.architecture(self.prefix, tuple(values)))

    def parse(self, text: str) -> PlainArchitecture:
        """See :meth:`SearchSpace.parse`; spaces around choices are fine."""
        parts = [part.strip() for part in text.removeprefix(self.prefix).split(",")]
        if not text.startswith(self.prefix) or len(parts) != len(self.dimensions):
            raise ValueError(f"{shown(text)} is not {self._form}")
        for (name, choices), part in zip(self._choices.items(), parts, strict=True):
            if part not in choices:
                raise ValueError(
                    f"{name}={shown(part)} in {shown(text)} is not in space {self.name!r}; "
                    f"use one of {', '.join(choices)}"
                )
        return self.from_values(
            [choices[part] for choices, part in zip(self._choices.values(), parts, strict=True)]
        )

    def make_network(self, arch: PlainArchitecture, image_size: int, **options: Any) -> nn.Module:
        """See :meth:`SearchSpace.make_network`."""
        rates = {"drop_path": options.pop("drop_path_rate"), "drop": options.pop("drop_rate")}
        return self.network(self.encode(arch), image_size=image_size, **rates, **options)

    def check(self, arch: PlainArchitecture | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`; accepts any size unless a subclass overrides it."""
        self.read(arch)

    @property
    def _form(self) -> str:
        """The form of a text, for messages."""
        return self.prefix + ",".join(self.dimensions)
