"""Checks of what a run is asked to do against the registries, before anything is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asvit.runs.run import Run
from asvit.search.front import objectives
from asvit.search.settings import ACCURACY
from asvit.spaces import SearchSpace, UnionSpace, load_space
from proxies import get_proxy
from scaling.ranking import Better


def find_space(name: str, *, image_size: int) -> SearchSpace:
    """The space called ``name``, all of whose choices fit ``image_size``."""
    space = load_space(name)
    if isinstance(space, UnionSpace):
        for member in space.members:
            find_space(member, image_size=image_size)
        return space
    longest = max(len(choices) for choices in space.dimensions.values())
    # Every choice of every dimension is in one of these architectures. Choices ascend, and the
    # largest splits ask the most of an image: sizes that suit them suit all others.
    for place in reversed(range(longest)):
        choice = {
            dimension: choices[min(place, len(choices) - 1)]
            for dimension, choices in space.dimensions.items()
        }
        space.check(space.decode(choice), image_size)
    return space


def find_directions(names: tuple[str, ...]) -> dict[str, Better]:
    """Measure to its direction; the accuracy is that of a search that trains."""
    better: dict[str, Better] = {
        name: "higher" if name == ACCURACY else get_proxy(name).better for name in names
    }
    if not objectives(better):
        raise ValueError(
            f"nothing to search for: {', '.join(names)} {'is' if len(names) == 1 else 'are'} "
            "only reported; add a measure that has a better side, such as length_distortion"
        )
    return better


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
