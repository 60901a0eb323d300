"""Trainings of a search as a reference table, and those of a table for a search to start from."""

import math
from collections.abc import Mapping

from asvit.reference import ReferenceTable, build
from asvit.reference.build_result import BuiltRow
from asvit.reference.table import seed_of
from asvit.search.limits import Limits
from asvit.search.settings import ACCURACY, SearchSettings
from asvit.search.trained import Before, Trained, known_before
from asvit.spaces import SearchSpace, cost
from proxies.evaluation import FAILURES
from proxies.messages import first_line
from proxies.text import one_line


def trainings_in(
    table: ReferenceTable, space: SearchSpace, limits: Limits
) -> dict[str, list[float | None]]:
    """The trainings of a table: text to accuracies, one for each seed; None for no value."""
    columns = [n for n in table.accuracies if seed_of(n) == ACCURACY] or [table.default_target]
    trainings: dict[str, list[float | None]] = {}
    for place, text in enumerate(table.architectures):
        try:
            arch = space.parse(text)
            expected = limits.network(space.decode(limits.choices(arch)))
        except ValueError as error:
            raise ValueError(
                f"table {table.name} has {one_line(text)}, which is not in space {space.name}: "
                f"{first_line(error)}; use a table of that space"
            ) from error
        if expected != arch:
            raise ValueError(
                f"table {table.name} has {one_line(text)}, where this search would train "
                f"{expected}; use a table of such widths, or the settings of its own"
            )
        values = [table.accuracies[name][place] for name in columns]
        trainings[str(expected)] = [value if math.isfinite(value) else None for value in values]
    if not known_before(trainings):
        raise ValueError(f"table {table.name} has no accuracy; use one with trainings")
    return trainings


def check_recipe(table: ReferenceTable, lines: Mapping[str, str]) -> None:
    """Check that a table says that it was made by the recipe and on the images of ``lines``."""
    for name, ours in lines.items():
        theirs = table.provenance.get(name, "not known")
        if theirs != ours:
            raise ValueError(
                f"table {table.name} cannot be started from: its line {name!r} is "
                f"{one_line(theirs)}; here it is {ours}"
            )


def to_csv(
    trained: Mapping[str, Trained],
    before: Before,
    lines: Mapping[str, str],
    settings: SearchSettings,
    num_classes: int,
    in_chans: int = 3,
) -> str:
    """The trainings of a search as a reference table, each architecture with the mean of its own.

    Networks that failed as they cannot be built are left out: no table may have them.
    ``trained`` is by the text of the network, ``before`` what a table had of it; ``lines`` are
    recipe, images and what the accuracies are, as such tables have them. There are as many columns
    as seeds were used of any network: a search that starts from the table begins after them.
    """
    rows, seeds, known = [], 0, known_before(before)
    for text, entry in trained.items():
        new = len(entry.accuracies) - len(known.get(text, ()))
        seeds = max(seeds, len(before.get(text, ())) + new)
        try:
            size = cost(text, settings.image_size, num_classes, in_chans=in_chans)
        except FAILURES:
            continue
        rows.append(BuiltRow(text, size.params, size.macs, tuple(entry.accuracies)))
    above = {
        "title": f"{len(rows)} architectures of space {settings.space}, trained by a search",
        **lines,
        "num_classes": str(num_classes),
        "image_size": str(settings.image_size),
        **build.channel_line(in_chans),
    }
    return build.to_csv(rows, above, seeds=seeds)
