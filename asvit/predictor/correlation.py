"""The predictor beside the measures that ``asvit correlate`` compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.predictor.validation import LEAST_TESTS, Splits, gather_rows
from asvit.reference.correlate import compared
from asvit.reference.findings import PREDICTOR, Finding

if TYPE_CHECKING:
    from asvit.reference.query import Plan

Array = NDArray[np.float64]

#: Numbers of trainings that are compared, as far as the table has rows for them.
TRAININGS: Final = (12, 25, 50)
SPLITS: Final = 20


def predictor_findings(
    plan: Plan, *, counts: Mapping[str, Array], image_size: int | None, seed: int
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
            findings.append(Finding(f"{PREDICTOR}{trainings}", target, "higher", False, ranked))
    return findings
