"""The result of building a reference table: its rows, their spread and their noise."""

import itertools
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from asvit.core.codec import Nullable, finite, to_json
from asvit.core.estimates import Estimate
from asvit.core.results import Result
from asvit.core.run_files import TABLE
from asvit.reference.build_settings import BuildSettings


@dataclass(frozen=True)
class BuiltRow:
    """One architecture of the table."""

    architecture: str  # its text, with the width that was trained
    params: int  # parameters, with the classes of the table
    macs: int  # multiply-adds of one image of the table's size
    accuracies: tuple[Nullable, ...]  # of each training seed, per cent; NaN where training failed

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
    """The spread of the accuracies of a table, in percentage points."""

    lowest: float  # lowest mean accuracy, per cent
    median: float  # median of the means, per cent
    highest: float  # highest mean accuracy, per cent
    between: float  # standard deviation of the means between architectures
    # Standard deviation between the seeds of one architecture (root mean square over the
    # architectures); NaN for one seed.
    within: float


def spread(rows: Sequence[BuiltRow]) -> Spread:
    """The spread of the rows without a failure; NaN with fewer than two such rows."""
    whole = [row for row in rows if not math.isnan(row.mean)]
    if len(whole) < 2:
        return Spread(*[math.nan] * 5)
    means = [row.mean for row in whole]
    return Spread(
        lowest=min(means),
        median=statistics.median(means),
        highest=max(means),
        between=statistics.stdev(means),
        within=math.sqrt(statistics.fmean(row.std**2 for row in whole)),
    )


def noise_ceiling(rows: Sequence[BuiltRow]) -> float:
    """How well one training of the architectures predicts the ranking of another.

    Kendall's tau-b between the accuracies of two seeds, averaged over all pairs of seeds; NaN with
    one seed, with rows of different numbers of seeds, with fewer than two rows without a failure,
    or where all accuracies of a seed are equal.
    """
    whole = [row.accuracies for row in rows if not math.isnan(row.mean)]
    seeds = {len(row.accuracies) for row in rows}
    if len(whole) < 2 or len(seeds) > 1 or min(seeds) < 2:
        return math.nan
    from scipy.stats import kendalltau

    pairs = itertools.combinations(zip(*whole, strict=True), 2)
    return statistics.fmean(float(kendalltau(a, b).statistic) for a, b in pairs)


def reachable(ceiling: float, seeds: int) -> float:
    """The tau that a noise-free measure could reach on the mean of so many seeds.

    The noise ceiling compares two noisy columns; expected accuracies rank the mean over the seeds
    better than another training does. Assuming normal accuracies and noise, two seeds correlate
    by ``r`` with ``tau = 2/pi arcsin(r)`` (Greiner), means of ``k`` trainings by ``k r / (1 + (k -
    1) r)`` (Spearman, Brown), and expected accuracies with such a mean by the root of that. NaN
    unless the ceiling, tau between two seeds, is above 0.
    """
    if not ceiling > 0:
        return math.nan
    single = math.sin(math.pi / 2 * ceiling)
    averaged = seeds * single / (1 + (seeds - 1) * single)
    return 2 / math.pi * math.asin(math.sqrt(averaged))


@dataclass(frozen=True, kw_only=True)
class BuildResult(Result):
    """The result of building a reference table.

    Example:
        >>> result = asvit.build_reference(
        ...     n=2, seeds=1, train_images=200, test_images=100, image_size=32, width=8,
        ...     steps=2, batch_size=4, out="table",
        ... )
        >>> (result.folder / "table.csv").exists()
        True
    """

    kind = "reference"
    noun = "reference table"
    hidden = ("rows",)
    rows_in = "table"

    settings: BuildSettings
    rows: Sequence[BuiltRow]  #: the architectures, in the order in which they were drawn
    failures: Mapping[str, str]  #: why a training failed, by ``ARCHITECTURE, seed N``
    num_classes: int  #: classes of the images
    training_seconds: float  #: sum over all trainings

    @classmethod
    def next_in(cls, folder: Path, command: str) -> str:
        """To correlate measures with it."""
        return correlate_command(folder)

    @property
    def table(self) -> Path:
        """The table, a CSV file in the run folder."""
        return self.folder / TABLE

    @property
    def noise_ceiling(self) -> float:
        """See :func:`noise_ceiling`."""
        return noise_ceiling(self.rows)

    @property
    def reachable(self) -> float:
        """What a measure could reach on the means; see :func:`reachable`."""
        return reachable(self.noise_ceiling, self.settings.seeds)

    @property
    def spread(self) -> Spread:
        """See :class:`Spread`."""
        return spread(self.rows)

    def comparable(self) -> dict[str, Any]:
        """As the base has them, with the mean over architectures and its interval (Student's)."""
        from asvit.statistics.intervals import contrast

        values, means = super().comparable(), list(self._means.values())
        if not means:
            return values
        return {"mean_accuracy": contrast((1, means)), **values}

    def paired(self, other: Self) -> Mapping[str, Estimate]:
        """The mean difference of the architectures that both tables have (Student's interval)."""
        from asvit.statistics.intervals import contrast

        ours, theirs = self._means, other._means
        apart = [mean - theirs[text] for text, mean in ours.items() if text in theirs]
        if len(apart) < 2:
            return {}
        how = "architectures that both trained"
        return {"mean_accuracy": replace(contrast((1, apart)), cases=len(apart), how=how)}

    @property
    def _means(self) -> dict[str, float]:
        """Mean accuracies of the architectures without a failure."""
        return {row.architecture: row.mean for row in self.rows if not math.isnan(row.mean)}

    def derived(self) -> Mapping[str, Any]:
        """The table's path, the rows with their means, their spread and noise."""
        return {
            "space": self.settings.space,
            "table": str(self.table),
            "noise_ceiling": finite(self.noise_ceiling),
            "reachable": finite(self.reachable),
            "spread": to_json(self.spread),
            "rows": [{**to_json(row), "accuracy": finite(row.mean)} for row in self.rows],
        }


def correlate_command(folder: Path) -> str:
    """The command that correlates measures with the table of a run."""
    return shlex.join(["asvit", "correlate", "--reference", str(folder / TABLE)])
