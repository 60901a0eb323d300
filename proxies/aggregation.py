"""From several measures of many architectures to one ranking."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def az_nas_aggregate(*measures: ArrayLike) -> NDArray[np.float64]:
    """AZ-NAS's rank aggregation: the sum over measures of ``ln(rank / n)``.

    The best of n architectures has rank n, the worst 1, and equal ones share the mean of their
    ranks. The logarithm punishes a low rank in any measure more than high ones in others help.

    Args:
        measures: Values of each measure, ``[n]``, all in the same order of architectures and all
            such that higher is better. An architecture without a value in one of them (NaN) is
            ranked in none, and n counts the others.

    Returns:
        Scores ``[n]``, higher is better, 0 for an architecture that is the best in everything and
        NaN for one that is not ranked.

    Raises:
        ValueError: If there is no measure, or they are not as long as each other.

    References:
        Lee and Ham 2024, AZ-NAS, arXiv:2403.19232.
    """
    rows = [np.asarray(values, dtype=np.float64) for values in measures]
    shapes = {values.shape for values in rows}
    if len(shapes) != 1 or rows[0].ndim != 1:
        found = ", ".join(str(values.shape) for values in rows) or "none"
        raise ValueError(f"measures have shapes {found}; use one or more of the same length")
    table = np.stack(rows)
    ranked = ~np.isnan(table).any(axis=0)
    scores = np.full(table.shape[1], np.nan)
    ranks = [_ranks(values) for values in table[:, ranked]]
    scores[ranked] = np.log(np.stack(ranks) / ranked.sum()).sum(axis=0)
    return scores


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 for the lowest; equal values share their mean."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last: NDArray[np.float64] = np.cumsum(sizes) - (sizes - 1) / 2
    return last[group]
