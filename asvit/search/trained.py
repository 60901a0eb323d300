"""The trainings of a search as a reference table."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from asvit.reference.table import LEAST_ROWS, Cell, Target, format_table
from asvit.search.conclusion import Trained
from asvit.search.settings import SearchSettings
from asvit.spaces import cost
from asvit.statistics.ranks import kendall
from proxies.evaluation import FAILURES


def to_csv(
    trained: Mapping[str, Trained],
    lines: Mapping[str, str],
    settings: SearchSettings,
    num_classes: int,
    in_chans: int = 3,
) -> str:
    """All trainings as a reference table, with the texts of the networks, in their width."""
    rows = list[Trained]()
    for text, entry in trained.items():
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
    return format_trained(rows, above)


def format_trained(rows: Sequence[Trained], provenance: Mapping[str, str]) -> str:
    """The table as a file: its provenance, then a row for each architecture.

    The mean over the seeds is the default target. Each seed is a target, too, if enough rows have
    it: rows may differ in their number of seeds.
    """
    tau = noise_ceiling([row.accuracies for row in rows])
    ceiling = None if math.isnan(tau) else tau
    counts = [len(row.accuracies) for row in rows] or [0]
    fewest, most = min(counts), max(counts)
    each = {
        f"accuracy_seed{seed}": [
            round(row.accuracies[seed], 3) if seed < len(row.accuracies) else math.nan
            for row in rows
        ]
        for seed in range(most)
    }
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
        "accuracy_std": [_std(row.accuracies) for row in rows],
        **each,
    }
    return format_table({**provenance, "default_target": "accuracy"}, targets, columns)


def _std(accuracies: Sequence[float]) -> float:
    """Sample standard deviation, points; NaN for one training or if one failed."""
    if len(accuracies) < 2 or any(map(math.isnan, accuracies)):
        return math.nan
    return round(statistics.stdev(accuracies), 3)


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
