"""Dense ranks of measured values, their sums, and the best candidate."""

import math
from collections.abc import Mapping, Sequence

from proxies.registry import Better as Better

Directions = Mapping[str, Better]  # of measures, by name


def dense_ranks(values: Sequence[float], *, better: Better) -> list[int]:
    """Rank ``values``: 1 is the best, equal values share a rank, all NaN the last one."""
    if better not in ("higher", "lower"):
        raise ValueError(f"cannot rank by better={better!r}; use 'higher' or 'lower'")
    valid = sorted({v for v in values if not math.isnan(v)}, reverse=better == "higher")
    rank = {value: place for place, value in enumerate(valid, start=1)}
    return [rank.get(value, len(valid) + 1) for value in values]


def rank_sums(columns: Mapping[str, Sequence[float]], better: Directions) -> list[int]:
    """Sum each candidate's dense ranks over the measures that have a direction.

    ``columns`` has a value for each candidate; NaN is a failed measure. As-ViT ranks candidates
    this way, arXiv:2202.11921.
    """
    ranks = [
        dense_ranks(values, better=better[name])
        for name, values in columns.items()
        if better[name] != "reported"
    ]
    return [sum(candidate_ranks) for candidate_ranks in zip(*ranks, strict=True)]


def best_places(columns: Mapping[str, Sequence[float]], better: Directions) -> list[int]:
    """Indices of the best candidates: smallest rank sum, ties broken by single measures.

    Candidates tied on the smallest sum of dense ranks are compared by the measure with the largest
    relative range over all candidates, (max − min) / max |value|; then by the next one.
    """
    ranked = {name: v for name, v in columns.items() if better[name] != "reported"}
    sums = rank_sums(ranked, better)
    places = [place for place, total in enumerate(sums) if total == min(sums)]
    for name in sorted(ranked, key=lambda name: relative_range(ranked[name]), reverse=True):
        ranks = dense_ranks(ranked[name], better=better[name])
        least = min(ranks[place] for place in places)
        places = [place for place in places if ranks[place] == least]
    return places


def relative_range(values: Sequence[float]) -> float:
    """(max − min) / max |value| of the finite values; 0 where all of them are 0."""
    valid = [value for value in values if math.isfinite(value)]
    largest = max((abs(value) for value in valid), default=0.0)
    return (max(valid) - min(valid)) / largest if largest else 0.0
