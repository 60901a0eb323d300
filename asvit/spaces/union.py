"""Several spaces as one, such as families of networks that are compared at equal limits."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import numpy as np
from torch import nn

from asvit.spaces.base import SPACES, Architecture, Choice, SearchSpace

FAMILY = "family"


class UnionSpace(SearchSpace):
    """The architectures of several spaces.

    Its dimensions are the family, the name of a member, and the dimensions of every member under
    ``MEMBER.DIMENSION``. Those of the other members do not count. An architecture that several
    members have, such as those of As-ViT with and without parts, is of the smallest of them.

    Args:
        members: Names of spaces.
        name: Its own name; by default those of its members.

    Raises:
        ValueError: If a name is unknown, is given twice, or is that of another union.
    """

    branch: ClassVar[str] = FAMILY

    def __init__(self, members: Sequence[str], name: str = "") -> None:
        for member in members:
            if members.count(member) > 1 or isinstance(SPACES[member], UnionSpace):
                raise ValueError(
                    f"{member!r} cannot be part of {','.join(members)}; name each space once"
                )
        self._members = {member: SPACES[member] for member in members}
        self._smallest_first = sorted(self._members.items(), key=lambda item: item[1].size)
        self.name = name or ",".join(members)  # type: ignore[misc]
        self.description = f"the spaces {', '.join(members)}"  # type: ignore[misc]
        self.architecture = reduce(  # type: ignore[misc]
            or_, (space.architecture for space in self._members.values())
        )
        self.paper = "; ".join(  # type: ignore[misc]
            dict.fromkeys(
                paper for space in self._members.values() for paper in space.paper.split("; ")
            )
        )
        self.by_hand = tuple(  # type: ignore[misc]
            text for space in self._members.values() for text in space.by_hand
        )
        self.dimensions = {  # type: ignore[misc]
            FAMILY: tuple(members),
            **{
                f"{member}.{dimension}": choices
                for member, space in self._members.items()
                for dimension, choices in space.dimensions.items()
            },
        }
        self.legend = {  # type: ignore[misc]
            FAMILY: "the space of an architecture",
            **{
                " to ".join(f"{member}.{name}" for name in names.split(" to ")): meaning
                for member, space in self._members.items()
                for names, meaning in space.legend.items()
                if names.partition(" to ")[0] in space.dimensions
            },
        }

    @property
    def members(self) -> Sequence[str]:
        """The names of the spaces."""
        return tuple(self._members)

    @property
    def size(self) -> int:
        """Number of architectures; those of several members count for each."""
        return sum(space.size for space in self._members.values())

    def family_of(self, arch: Architecture | str) -> str:
        """See :meth:`SearchSpace.family_of`."""
        return self._member(self.read(arch))[0]

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a family, and an architecture of it, both uniformly."""
        names = list(self._members)
        return self._members[names[rng.integers(len(names))]].sample(rng)

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """See :meth:`SearchSpace.active`: those of the family."""
        family = str(params[FAMILY])
        return [f"{family}.{name}" for name in self._members[family].active(self._own(params))]

    def __contains__(self, arch: Architecture) -> bool:
        """See :meth:`SearchSpace.__contains__`."""
        return any(arch in space for space in self._members.values())

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """See :meth:`SearchSpace.encode`; dimensions of other families have their first choice."""
        family, space = self._member(arch)
        own = {f"{family}.{name}": choice for name, choice in space.encode(arch).items()}
        params = {name: choices[0] for name, choices in self.dimensions.items()}
        return {**params, FAMILY: family, **own}

    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        """See :meth:`SearchSpace.decode`."""
        self.check_choices(params)
        return self._members[str(params[FAMILY])].decode(self._own(params))

    def values(self, arch: Architecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        return self.encode(arch).values()

    def from_values(self, values: Sequence[Any]) -> Architecture:
        """See :meth:`SearchSpace.from_values`."""
        return self.decode(dict(zip(self.dimensions, values, strict=True)))

    def features(self, arch: Architecture) -> dict[str, float]:
        """See :meth:`SearchSpace.features`: those of its family."""
        return self._member(arch)[1].features(arch)

    def parse(self, text: str) -> Architecture:
        """See :meth:`SearchSpace.parse`; the architecture is in one of the spaces."""
        errors, near = list[ValueError](), list[ValueError]()  # of those whose texts begin alike
        for space in self._members.values():
            try:
                arch = space.parse(text)
                if arch in space:
                    return arch
                space.encode(arch)  # which says why not
            except ValueError as error:
                alike = space.prefix and text.startswith(space.prefix)
                (near if alike else errors).append(error)
        raise (near or errors)[0]

    def make_network(self, arch: Architecture, image_size: int, **options: Any) -> nn.Module:
        """See :meth:`SearchSpace.make_network`."""
        return self._member(arch)[1].make_network(arch, image_size, **options)

    def check(self, arch: Architecture | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`."""
        parsed = self.read(arch)
        self._member(parsed)[1].check(parsed, image_size)

    def _own(self, params: Mapping[str, Choice]) -> dict[str, Choice]:
        """The choices in the dimensions of the family, by the names that they have in it."""
        family = str(params[FAMILY])
        return {name: params[f"{family}.{name}"] for name in self._members[family].dimensions}

    def _member(self, arch: Architecture) -> tuple[str, SearchSpace]:
        """The name and the space of the family of an architecture, the smallest that has it."""
        for name, space in self._smallest_first:
            if arch in space:
                return name, space
        raise ValueError(f"{arch} is of none of the spaces {', '.join(self._members)}")
