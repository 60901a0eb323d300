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

    ``members`` are names of spaces, each once and none of a union; ``name`` is by default theirs.
    """

    branch: ClassVar[str] = FAMILY

    def __init__(self, members: Sequence[str], name: str = "") -> None:
        for member in members:
            if members.count(member) > 1 or isinstance(SPACES[member], UnionSpace):
                raise ValueError(
                    f"{member!r} cannot be part of {','.join(members)}; name each space once"
                )
        spaces = self._members = {member: SPACES[member] for member in members}
        self.members: Sequence[str] = tuple(members)  #: the names of the spaces
        self._smallest_first = sorted(spaces.values(), key=lambda space: space.size)
        self.name = name or ",".join(members)  # type: ignore[misc]
        self.description = f"the spaces {', '.join(members)}"  # type: ignore[misc]
        kinds = (space.architecture for space in spaces.values())
        self.architecture = reduce(or_, kinds)  # type: ignore[misc]
        papers = [paper for space in spaces.values() for paper in space.paper.split("; ")]
        self.paper = "; ".join(dict.fromkeys(papers))  # type: ignore[misc]
        by_hand = [text for space in spaces.values() for text in space.by_hand]
        self.by_hand = tuple(by_hand)  # type: ignore[misc]
        dimensions: dict[str, tuple[Choice, ...]] = {FAMILY: tuple(members)}
        meanings = {FAMILY: "the space of an architecture"}
        for member, space in spaces.items():
            dimensions |= {f"{member}.{name}": own for name, own in space.dimensions.items()}
            for names, meaning in space.legend.items():
                first, *last = names.split(" to ")
                if first in space.dimensions:
                    both = " to ".join(f"{member}.{name}" for name in (first, *last))
                    meanings[both] = meaning
        self.dimensions, self.legend = dimensions, meanings  # type: ignore[misc]

    @property
    def size(self) -> int:
        """Number of architectures; those of several members count for each."""
        return sum(space.size for space in self._members.values())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a family, and an architecture of it, both uniformly."""
        return self._members[self.members[int(rng.integers(len(self.members)))]].sample(rng)

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """As the base says: those of the family."""
        family, own = self._own(params)
        return [f"{family.name}.{name}" for name in family.active(own)]

    def __contains__(self, arch: Architecture) -> bool:
        """Whether a member has an architecture."""
        return any(arch in space for space in self._members.values())

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """As the base says; dimensions of other families have their first choice."""
        family = self._member(arch)
        own = {f"{family.name}.{name}": choice for name, choice in family.encode(arch).items()}
        params = {name: choices[0] for name, choices in self.dimensions.items()}
        return {**params, FAMILY: family.name, **own}

    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        """As the base says."""
        self.check_choices(params)
        family, own = self._own(params)
        return family.decode(own)

    def features(self, arch: Architecture) -> dict[str, float]:
        """As the base says: those of its family."""
        return self._member(arch).features(arch)

    def family_of(self, arch: Architecture | str) -> str:
        """As the base says."""
        return self._member(self.read(arch)).name

    def parse(self, text: str) -> Architecture:
        """As the base says; the architecture is in one of the spaces."""
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
        """As the base says."""
        return self._member(arch).make_network(arch, image_size, **options)

    def _own(self, params: Mapping[str, Choice]) -> tuple[SearchSpace, dict[str, Choice]]:
        """The family, and the choices in its dimensions by the names that they have in it."""
        family = self._members[str(params[FAMILY])]
        return family, {name: params[f"{family.name}.{name}"] for name in family.dimensions}

    def _member(self, arch: Architecture) -> SearchSpace:
        """The family of an architecture, the smallest that has it."""
        for space in self._smallest_first:
            if arch in space:
                return space
        raise ValueError(f"{arch} is of none of the spaces {', '.join(self.members)}")
