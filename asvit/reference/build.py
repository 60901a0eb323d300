"""A table of reference accuracies from trainings of random architectures of a space."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import kendalltau

from asvit.reference.journal import Outcome, Training
from asvit.reference.recipe import BuildSettings
from asvit.reference.schema import Cell, format_table
from asvit.reference.table import Target
from asvit.spaces import SearchSpace
from asvit.spaces.architectures import build_on_meta
from proxies.counts import Cost, count


@dataclass(frozen=True)
class Row:
    """One architecture of the table.

    Attributes:
        architecture: Its text, with the width that was trained.
        params: Parameters, with the classes of the table.
        macs: Multiply-adds of one image of the table's size.
        accuracies: Of each training seed, per cent; NaN where training failed.
    """

    architecture: str
    params: int
    macs: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN if a training failed: the others would flatter it."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation over the seeds, points; NaN for one seed."""
        if len(self.accuracies) < 2 or math.isnan(self.mean):
            return math.nan
        return statistics.stdev(self.accuracies)


@dataclass(frozen=True)
class Spread:
    """How far the accuracies of a table lie apart, in points of per cent.

    Attributes:
        lowest: Lowest mean accuracy, per cent.
        median: Their median, per cent.
        highest: Highest mean accuracy, per cent.
        between: Standard deviation of the means between architectures.
        within: Standard deviation between the seeds of one architecture (root mean square over
            the architectures); NaN for one seed.
    """

    lowest: float
    median: float
    highest: float
    between: float
    within: float


def spread(rows: Sequence[Row]) -> Spread:
    """The spread of the rows without a failure; NaN with fewer than two of them."""
    whole = [row for row in rows if not math.isnan(row.mean)]
    if len(whole) < 2:
        return Spread(math.nan, math.nan, math.nan, math.nan, math.nan)
    means = [row.mean for row in whole]
    return Spread(
        lowest=min(means),
        median=statistics.median(means),
        highest=max(means),
        between=statistics.stdev(means),
        within=math.sqrt(statistics.fmean(row.std**2 for row in whole)),
    )


def draw(space: SearchSpace, settings: BuildSettings) -> tuple[str, ...]:
    """Texts of the architectures of a table: the same for the same space, seed and width.

    Raises:
        ValueError: If there are too few, or one does not suit the width or the image size.
    """
    if settings.n > space.size:
        raise ValueError(
            f"n={settings.n}, but space {space.name!r} has {space.size} architectures; use fewer"
        )
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed))
    drawn: dict[str, None] = {}
    while len(drawn) < settings.n:
        architecture = space.sample(rng)
        space.check(architecture, settings.image_size)
        drawn[str(architecture.with_(width=settings.width))] = None
    return tuple(drawn)


@lru_cache(maxsize=4096)
def size_of(architecture: str, image_size: int, num_classes: int) -> Cost:
    """Parameters and multiply-adds of the network that is trained."""
    return count(
        build_on_meta(architecture, image_size=image_size, num_classes=num_classes), image_size
    )


def noise_ceiling(rows: Sequence[Row]) -> float:
    """How far one training of the architectures predicts the ranking of another.

    Returns:
        Kendall's tau-b between the accuracies of two seeds, the mean over all pairs of seeds; NaN
        where there is one seed, or fewer than two rows without a failure.
    """
    whole = [row.accuracies for row in rows if not math.isnan(row.mean)]
    if len(whole) < 2 or len(whole[0]) < 2:
        return math.nan
    pairs = itertools.combinations(zip(*whole, strict=True), 2)
    return statistics.fmean(float(kendalltau(a, b).statistic) for a, b in pairs)


def reachable(ceiling: float, seeds: int) -> float:
    """The tau that a measure could reach on the mean of so many seeds if it knew no noise.

    The noise ceiling itself compares two noisy columns; expected accuracies rank the mean over
    the seeds better than another training does. Accuracies and noise are taken as normal: tau is
    then that of a correlation ``r`` with ``tau = 2/pi arcsin(r)`` (Greiner), of ``k`` trainings
    on average ``k r / (1 + (k - 1) r)`` (Spearman, Brown), and the expected accuracies correlate
    with them by its root.

    Args:
        ceiling: Kendall's tau between two seeds.
        seeds: Trainings that are averaged; 1 for a column of one seed.

    Returns:
        Tau, above the ceiling; NaN where the ceiling is not above 0.
    """
    if not ceiling > 0:
        return math.nan
    one = math.sin(math.pi / 2 * ceiling)
    several = seeds * one / (1 + (seeds - 1) * one)
    return 2 / math.pi * math.asin(math.sqrt(several))


def rows_of(
    architectures: Sequence[str],
    outcomes: Mapping[Training, Outcome],
    settings: BuildSettings,
    num_classes: int,
) -> list[Row]:
    """The rows of those architectures whose trainings are all finished, in order."""
    rows = []
    for text in architectures:
        trainings = [Training(text, seed) for seed in range(settings.seeds)]
        if all(training in outcomes for training in trainings):
            size = size_of(text, settings.image_size, num_classes)
            accuracies = tuple(outcomes[training].accuracy for training in trainings)
            rows.append(Row(text, size.params, size.macs, accuracies))
    return rows


def to_csv(rows: Sequence[Row], provenance: Mapping[str, str], *, seeds: int) -> str:
    """The table as a file: where it comes from, then one row an architecture.

    The mean over the seeds is its default target; each seed is one, too.
    """
    ceiling = noise_ceiling(rows)
    known = None if math.isnan(ceiling) else ceiling
    each = [f"accuracy_seed{seed}" for seed in range(seeds)]
    targets = [
        Target("accuracy", f"test accuracy, mean of {seeds} training seed(s)", "scratch", known),
        *(Target(name, "the same of one training seed", "scratch", known) for name in each),
    ]
    columns: dict[str, list[Cell]] = {
        "architecture": [row.architecture for row in rows],
        "params": [row.params for row in rows],
        "macs": [row.macs for row in rows],
        "accuracy": [round(row.mean, 3) for row in rows],
        "accuracy_std": [round(row.std, 3) for row in rows],
        **{name: [round(row.accuracies[i], 3) for row in rows] for i, name in enumerate(each)},
    }
    return format_table({**provenance, "default_target": "accuracy"}, targets, columns)
