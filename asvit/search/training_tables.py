"""Trainings of a search as a reference table, and those of a table for a search to start from."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from asvit.reference import ReferenceTable
from asvit.reference.table import LEAST_ROWS, Cell, Target, format_table, seed_of
from asvit.search.limits import Limits
from asvit.search.settings import ACCURACY, SearchSettings
from asvit.search.trained import Before, Trained, known_before
from asvit.spaces import SearchSpace, cost
from asvit.statistics.ranks import kendall
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
    """All trainings as a reference table; the arguments are those of a search.

    The texts are of the networks, in the width that was trained. There are as many columns as
    seeds were used of any network: a search that starts from the table begins after them.
    """
    rows, seeds, known = list[Trained](), 0, known_before(before)
    for text, entry in trained.items():
        new = len(entry.accuracies) - len(known.get(text, ()))
        seeds = max(seeds, len(before.get(text, ())) + new)
        try:
            size = cost(text, settings.image_size, num_classes, in_chans=in_chans)
        except FAILURES:
            continue
        rows.append(replace(entry, architecture=text, size=size))
    above = {
        "title": f"{len(rows)} architectures of space {settings.space}, trained by a search",
        **lines,
        "num_classes": str(num_classes),
        "image_size": str(settings.image_size),
        # The channels of pictures need no line.
        **({} if in_chans == 3 else {"in_chans": str(in_chans)}),
    }
    return format_trained(rows, above, seeds=seeds)


def format_trained(rows: Sequence[Trained], provenance: Mapping[str, str], *, seeds: int) -> str:
    """The table as a file: its provenance, then a row for each architecture.

    The mean over the seeds is the default target. Each seed is a target, too, if enough rows have
    it: rows may differ in their number of seeds, and the columns of the last ones may be empty.
    """
    tau = noise_ceiling([row.accuracies for row in rows])
    ceiling = None if math.isnan(tau) else tau
    each = {
        f"accuracy_seed{seed}": [
            round(row.accuracies[seed], 3) if seed < len(row.accuracies) else math.nan
            for row in rows
        ]
        for seed in range(seeds)
    }
    counts = [len(row.accuracies) for row in rows] or [seeds]
    fewest, most = min(counts), max(counts)
    several = f"{most}" if fewest == most else f"{fewest} to {most}"
    means = f"test accuracy, mean of {several} training seed(s)"
    targets = [Target("accuracy", means, "scratch", ceiling)]
    targets += [
        Target(name, "the same of one training seed", "scratch", ceiling)
        for name, cells in each.items()
        if np.isfinite(cells).sum() >= LEAST_ROWS
    ]
    columns: dict[str, Sequence[Cell]] = {
        "architecture": [row.architecture for row in rows],
        "params": [row.size.params for row in rows],
        "macs": [row.size.macs for row in rows],
        "accuracy": [round(row.accuracy, 3) for row in rows],
        "accuracy_std": [round(row.std, 3) for row in rows],
        **each,
    }
    return format_table({**provenance, "default_target": "accuracy"}, targets, columns)


def noise_ceiling(accuracies: Sequence[Sequence[float]]) -> float:
    """How well one training of the architectures predicts the ranking of another.

    Kendall's tau-b between the accuracies of two seeds, averaged over all pairs of the seeds that
    every architecture has, ``[architectures]`` of its accuracies; NaN with one such seed, with
    fewer than two rows without a failure, or where all accuracies of a seed are equal.
    """
    seeds = min(map(len, accuracies), default=0)
    whole = [row[:seeds] for row in accuracies if not any(map(math.isnan, row))]
    if len(whole) < 2 or seeds < 2:
        return math.nan
    pairs = itertools.combinations(zip(*whole, strict=True), 2)
    return statistics.fmean(kendall(a, b) for a, b in pairs)
