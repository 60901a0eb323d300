"""The predictor beside the measures that ``asvit correlate`` compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.predictor.validation import LEAST_TESTS, Splits, gather_rows
from asvit.reference.correlate import compared
from asvit.reference.findings import PREDICTOR, Correlation, Finding

if TYPE_CHECKING:
    from asvit.reference.query import Plan
    from asvit.reference.result import Values

Array = NDArray[np.float64]

#: Numbers of trainings that are compared, as far as the table has rows for them.
TRAININGS: Final = (12, 25, 50)
SPLITS: Final = 20


def predictor_findings(
    plan: Plan, values: Values, *, counts: Mapping[str, Array], image_size: int | None, seed: int
) -> list[Finding]:
    """How well predictors rank the rows of a query that they were not fitted to.

    Each target and number of trainings has a finding of the form of a measure's. Its values are
    means over 20 random splits, its intervals are over resampled rows and splits. The rival is the
    count that ranks all rows best, judged on the same test rows.

    ``counts`` are by name, each in the order of ``plan.rows``; without an ``image_size``, in
    pixels, each row has its own; the seed is that of splits and resamples.
    """
    findings = []
    for target in plan.targets:
        trained = np.isfinite(np.asarray(values.accuracies[target]))
        if trained.sum() < min(TRAININGS) + LEAST_TESTS:
            continue
        rows = gather_rows(plan.table, target, image_size, among=plan.rows, counts=counts)
        own = {name: column[trained] for name, column in counts.items()}
        n = len(rows.accuracies)
        for trainings in TRAININGS:
            if trainings + LEAST_TESTS <= n and np.ptp(rows.accuracies) > 0:
                ranked = _correlation(Splits(rows, trainings, SPLITS, seed), own)
                findings.append(
                    Finding(f"{PREDICTOR}{trainings}", target, "higher", False, ranked)
                )
    return findings


def _correlation(fits: Splits, counts: Mapping[str, Array]) -> Correlation:
    def taus(column: Array | None, groups: ArrayLike | None) -> Array:
        columns = None if column is None else [column] * SPLITS
        return fits.mean(fits.taus(columns, groups))

    return compared(taus, counts, fits.rows.accuracies)
