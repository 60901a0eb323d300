"""Checks of what a run is asked to do against the registries, before anything is made."""

from asvit.architectures.base import Growable
from asvit.spaces import SearchSpace, UnionSpace, load_space


def find_space(name: str, *, image_size: int, width: int | None = None) -> SearchSpace:
    """The space called ``name``, all of whose choices fit ``image_size``, and the width if any."""
    space = load_space(name)
    if isinstance(space, UnionSpace):
        for member in space.members:
            find_space(member, image_size=image_size, width=width)
        return space
    longest = max(len(choices) for choices in space.dimensions.values())
    # Every choice of every dimension is in one of these architectures. Choices ascend, and the
    # largest splits ask the most of an image: sizes that suit them suit all others.
    for place in reversed(range(longest)):
        choice = {
            dimension: choices[min(place, len(choices) - 1)]
            for dimension, choices in space.dimensions.items()
        }
        arch = space.decode(choice)
        if width is not None and isinstance(arch, Growable):
            arch = arch.with_(width=width)
        space.check(arch, image_size)
    return space
