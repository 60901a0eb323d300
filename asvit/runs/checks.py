"""Checks of what a run is asked to do against the registries, before anything is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asvit.architectures.base import Growable
from asvit.runs.run import Run
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


def check_stay(run: Run[Any, Any, Any], needed: Mapping[str, Path]) -> None:
    """Check that starting over removes no file that the run needs.

    Args:
        run: The run, before it claims its folder.
        needed: Files by what they are.

    Raises:
        ValueError: If ``--fresh`` would remove one of them.
    """
    if not run.fresh:
        return
    folder = run.folder.resolve()
    removed = {folder / name for name in (*run.other_files(folder), *run.files.names)}
    for what, path in needed.items():
        if path.resolve() in removed:
            raise ValueError(
                f"{path}, {what}, is in the folder that --fresh empties; give --out another"
            )
