"""How well a predictor ranks the rows of a reference table that it was not fitted to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.core.estimates import Estimate, Interval
from asvit.predictor.features import features, structure
from asvit.predictor.process import Process
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.correlate import best_count, compared
from asvit.reference.findings import LEAST_TRAININGS, PREDICTOR, Finding
from asvit.reference.table import seed_of
from asvit.spaces.architectures import parse
from asvit.spaces.base import SIZES
from asvit.statistics.ranks import estimate, resampled_tau, resamples
from proxies.text import shown

if TYPE_CHECKING:
    from asvit.reference.query import Plan

Array = NDArray[np.float64]
Places = NDArray[np.int64]

#: Fewer rows than this are too few to be ranked as a test.
LEAST_TESTS = 5
#: Of the interval whose coverage is reported.
COVERED = 0.90
_SAMPLES = 1000  # resamples of rows and splits

#: Numbers of trainings that a correlation compares, as far as the table has rows for them.
TRAININGS: Final = (12, 25, 50)
SPLITS: Final = 20


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """How well a predictor ranks the rows of a table after it was fitted to a few others.

    Values are means over the splits, each judged on the rows that it was not fitted to. The
    95 % percentile intervals are over 1000 resamples of the rows and of the splits, as the test
    rows of different splits overlap.
    """

    reference: str  #: name of the table
    target: str  #: name of the accuracies
    rows: int  #: rows with an accuracy
    trainings: int  #: rows that each split is fitted to
    splits: int  #: number of splits
    tau: float  #: Kendall's tau-b between prediction and accuracy
    tau_interval: Interval  #: its interval
    #: Share of accuracies inside the 90 % interval of their prediction, between its quantiles at
    #: 5 and 95 %. These include the noise between training seeds if the table has columns of
    #: single seeds.
    coverage: float
    coverage_interval: Interval  #: its interval
    #: The rival: each split chooses the count that ranks the rows it is fitted to best. This is
    #: the name of the one chosen most often; empty if there was none to choose.
    best_count: str
    best_count_tau: float  #: Kendall's tau-b between the chosen counts and accuracy
    difference: float  #: ``tau`` minus ``best_count_tau``
    difference_interval: Interval  #: its interval over the same resamples
    taus: tuple[float, ...]  #: tau of each split


def cross_validate(
    table: ReferenceTable | str | Path,
    target: str | None = None,
    trainings: int = 12,
    splits: int = 30,
    seed: int = 0,
    image_size: int | None = None,
) -> CrossValidation:
    """Fit a predictor to some rows of a table, rank the others, and repeat.

    Args:
        table: A reference table, its name, or the path of a CSV file.
        target: Name of the accuracies; None for the default ones of the table.
        trainings: Rows that each split is fitted to, drawn at random.
        splits: Number of splits.
        seed: Seed of splits and resamples.
        image_size: Side in pixels of the images that multiply-adds are counted for; None for that
            of each row.

    Raises:
        FileNotFoundError: If there is no such table.
        ValueError: If the table or the target is wrong, fewer than ``trainings`` + 5 rows have an
            accuracy, or the accuracies are all equal.

    Example:
        >>> validation = asvit.cross_validate("asvit-fractal", splits=2)
        >>> -1 <= validation.tau <= 1
        True
    """
    reference = load_reference(table, check=False)
    rows = gather_rows(reference, target, image_size)
    _check(rows, trainings, splits)
    fits = Splits(rows, trainings, splits, seed)
    taus, names = fits.taus(), [rows.best_count(split.train) for split in fits.splits]
    rivals = fits.taus([rows.counts.get(name, rows.accuracies * math.nan) for name in names])
    tau, coverage = fits.estimate(taus), fits.estimate(fits.covered())
    difference = fits.estimate(taus - rivals)
    return CrossValidation(
        reference=reference.name,
        target=rows.target,
        rows=len(rows.accuracies),
        trainings=trainings,
        splits=splits,
        tau=tau.value,
        tau_interval=tau.interval,
        coverage=coverage.value,
        coverage_interval=coverage.interval,
        best_count=Counter(names).most_common(1)[0][0],
        best_count_tau=fits.estimate(rivals).value,
        difference=difference.value,
        difference_interval=difference.interval,
        taus=tuple(map(float, taus[0])),
    )


def _check(rows: Rows, trainings: int, splits: int) -> None:
    n = len(rows.accuracies)
    if trainings < LEAST_TRAININGS or splits < 1 or n < trainings + LEAST_TESTS:
        raise ValueError(
            f"trainings={trainings}, splits={splits}; use 1 split and {LEAST_TRAININGS} to "
            f"{max(0, n - LEAST_TESTS)} trainings, as {n} row(s) have a value of "
            f"{shown(rows.target)} and {LEAST_TESTS} are to be ranked"
        )
    if np.ptp(rows.accuracies) == 0:
        raise ValueError(f"{shown(rows.target)} is the same in all rows: there is nothing to rank")


def predictor_findings(
    plan: Plan, *, counts: Mapping[str, Array], image_size: int | None, seed: int
) -> list[Finding]:
    """How well predictors rank the rows of a query, for each target and number of trainings.

    The rival is the count that ranks all rows best, judged on the same test rows. ``counts`` are
    by name, each in the order of ``plan.rows``.
    """
    findings = []
    for target in plan.targets:
        trained = np.isfinite(np.asarray(plan.table.accuracies[target])[list(plan.rows)])
        fitting = [n for n in TRAININGS if n + LEAST_TESTS <= trained.sum()]
        if not fitting:
            continue
        rows = gather_rows(plan.table, target, image_size, among=plan.rows, counts=counts)
        own = {name: column[trained] for name, column in counts.items()}
        for trainings in fitting if np.ptp(rows.accuracies) > 0 else ():
            fits = Splits(rows, trainings, SPLITS, seed)

            def taus(column: Array | None, groups: ArrayLike | None, fits: Splits = fits) -> Array:
                columns = None if column is None else [column] * SPLITS
                return fits.mean(fits.taus(columns, groups))

            ranked = compared(taus, own, rows.accuracies)
            findings.append(replace(ranked, measure=f"{PREDICTOR}{trainings}", target=target))
    return findings


class Rows(NamedTuple):
    """The rows of a table that have an accuracy."""

    target: str  # name of the accuracies
    names: Sequence[str]  # names of the features
    values: Array  # features, ``[rows, features]``
    accuracies: Array  # per cent, ``[rows]``
    by_seed: Array  # the accuracies of single training seeds, ``[seeds, rows]``; empty if unknown
    seeds: Places  # training seeds that each accuracy is a mean of, ``[rows]``
    counts: Mapping[str, Array]  # name -> plain count, ``[rows]``; more counts as better

    def noise(self, rows: Places) -> Array | None:
        """Standard deviation of all accuracies between seeds, pooled over ``rows``, if known."""
        by_seed = self.by_seed[:, rows]
        enough = np.isfinite(by_seed).sum(axis=0) > 1
        if not enough.any():
            return None
        pooled = np.nanvar(by_seed[:, enough], axis=0, ddof=1).mean()
        noise: Array = np.sqrt(pooled / self.seeds)
        return noise

    def best_count(self, rows: Places) -> str:
        """Name of the count that ranks ``rows`` best, of equal ones the first; empty for none."""
        columns = {name: column[rows] for name, column in self.counts.items()}
        return best_count(columns, self.accuracies[rows])[0]


def gather_rows(
    table: ReferenceTable,
    target: str | None,
    image_size: int | None = None,
    *,
    among: Sequence[int] | None = None,
    counts: Mapping[str, Array] | None = None,
) -> Rows:
    """The rows of a table, or of those ``among`` it, that have an accuracy.

    ``counts`` are those of these rows that are known already.
    """
    name = table.target(target).name
    accuracies = np.asarray(table.accuracies[name])
    usable = np.arange(len(table)) if among is None else np.asarray(among, dtype=np.int64)
    rated = np.isfinite(accuracies[usable])
    selected = usable[rated]
    columns = {**table.counts, "params": table.params, "macs": table.macs}
    if image_size is not None:
        del columns["macs"]
    inside = {key: np.asarray(of)[selected] for key, of in columns.items() if of is not None}
    inside |= {key: of[rated] for key, of in (counts or {}).items()}
    texts = [table.architectures[row] for row in selected]
    sides = [image_size or table.image_sizes[row] for row in selected]
    if "expansions" not in inside:
        each = zip(map(parse, texts), sides, strict=True)
        counted = [structure("expansions", arch, side) for arch, side in each]
        inside["expansions"] = np.array(counted)
    sizes: dict[str, ArrayLike] = {size: inside[size] for size in SIZES if size in inside}
    names, values = features(texts, sides, num_classes=table.num_classes, counts=sizes)
    stem = seed_of(name) or name
    by_seed = [column for key, column in table.accuracies.items() if seed_of(key) == stem]
    each_seed = np.array(by_seed, dtype=np.float64).reshape(-1, len(table))[:, selected]
    known = np.isfinite(each_seed).sum(axis=0)
    return Rows(
        target=name,
        names=names,
        values=values,
        accuracies=accuracies[selected],
        by_seed=each_seed,
        seeds=np.maximum(known, 1) if stem == name else np.ones(len(selected), dtype=np.int64),
        counts={**inside, **{size: values[:, names.index(size)] for size in SIZES}},
    )


class Split(NamedTuple):
    """Predictions for the test rows, after fitting to the others."""

    train: Places  # the rows fitted to
    test: Places  # the others, ``[tests]``
    mean: Array  # predicted accuracies, per cent, ``[tests]``
    low: Array  # lower ends of their 90 % intervals, noise between seeds included, ``[tests]``
    high: Array  # upper ends


def make_split(rows: Rows, trainings: int, seed: int, number: int) -> Split:
    """Fit to rows drawn by the seed and the number of the split, and predict the others."""
    order = np.random.default_rng([seed, number]).permutation(len(rows.accuracies))
    train, test = np.sort(order[:trainings]), np.sort(order[trainings:])
    noise = rows.noise(train)
    of_train, of_test = (None, 0.0) if noise is None else (noise[train], noise[test])
    process = Process(rows.names, rows.values[train], rows.accuracies[train], of_train)
    levels = ((1 - COVERED) / 2, 0.5, (1 + COVERED) / 2)
    low, mean, high = process.quantiles(rows.names, rows.values[test], levels, noise=of_test)
    return Split(train, test, mean, low, high)


class Splits:
    """Splits of rows, judged on resamples of the rows and of the splits, with replacement.

    Rows are drawn for all splits alike, as test rows of different splits overlap.
    """

    def __init__(self, rows: Rows, trainings: int, splits: int, seed: int) -> None:
        self.rows = rows
        self.splits = [make_split(rows, trainings, seed, number) for number in range(splits)]
        #: How often each row is drawn, ``[1 + samples, rows]``, and each split.
        self.weights = resamples(len(rows.accuracies), _SAMPLES, seed=seed)
        self.split_weights = resamples(splits, _SAMPLES, seed=seed + 1)

    def taus(
        self, columns: Sequence[Array] | None = None, groups: ArrayLike | None = None
    ) -> Array:
        """Tau of the predictions, or of a column for each split, ``[1 + samples, splits]``.

        Of all pairs of test rows, or of those in one group, ``[rows]``.
        """
        samples = []
        for place, split in enumerate(self.splits):
            x = split.mean if columns is None else columns[place][split.test]
            y, weights = self.rows.accuracies[split.test], self.weights[:, split.test]
            inside = None if groups is None else np.asarray(groups)[split.test]
            samples.append(resampled_tau(np.nan_to_num(x, nan=-np.inf), y, weights, inside))
        return np.column_stack(samples)

    def covered(self) -> Array:
        """Share of test rows inside their predicted interval, ``[1 + samples, splits]``."""
        shares = []
        for split in self.splits:
            accuracies = self.rows.accuracies[split.test]
            inside = (split.low <= accuracies) & (accuracies <= split.high)
            shares.append(_mean(inside, self.weights[:, split.test]))
        return np.column_stack(shares)

    def mean(self, values: Array) -> Array:
        """Mean over the splits of ``[1 + samples, splits]``; those with NaN are left out."""
        return _mean(np.nan_to_num(values), np.where(np.isnan(values), 0.0, self.split_weights))

    def estimate(self, values: Array) -> Estimate:
        """The mean over the splits of ``[1 + samples, splits]``, with its interval."""
        return estimate(self.mean(values))


def _mean(values: NDArray[Any], weights: Array) -> Array:
    """The means of ``[samples, cases]``, or ``[cases]``, by weights; NaN where these are all 0."""
    total = weights.sum(axis=1)
    means = np.full(len(total), np.nan)
    np.divide((weights * values).sum(axis=1), total, out=means, where=total > 0)
    return means
