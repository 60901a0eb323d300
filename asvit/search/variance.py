"""What decided in a search of several families: the shares of the variance of accuracies."""

import math
from collections.abc import Mapping

from asvit.core.estimates import SEED, Component
from asvit.search.trained import Accuracies, Trained
from asvit.statistics.variance import variance_components

FAMILY, TOPOLOGY = "family", "topology"
_BLIND = ("by hand", "random")  # origins of networks that were trained whatever the results were
_LEAST = 6  # trainings of them


def shares_of_variance(trained: Mapping[str, Trained], fresh: Accuracies) -> dict[str, Component]:
    """The shares of family, topology and training seed; empty with too few trainings.

    The networks that a predictor chose are better than others of their family, and would hide how
    far these differ. So only the networks count that were made by hand or drawn at random, with
    all their trainings: which of them were repeated follows from accuracies that count, too. Of
    the others, those with fresh seeds tell of seeds alone.

    Args:
        trained: All networks of a search, by their texts.
        fresh: Accuracies with fresh seeds of those that were trained again, by the same texts.
    """
    values: list[float] = []
    families, topologies, means = [], [], []
    for text, entry in trained.items():
        blind = entry.origin in _BLIND
        of = entry.accuracies if blind else fresh.get(text, ())
        finite = [value for value in of if math.isfinite(value)]
        if blind or len(finite) > 1:
            values += finite
            families += [entry.family] * len(finite)
            topologies += [text] * len(finite)
            means += ["" if blind else text] * len(finite)
    if means.count("") < _LEAST or not 1 < len(set(families)) < len(values):
        return {}
    if len(set(topologies)) == len(values):
        return variance_components(values, {FAMILY: families}, rest=f"{TOPOLOGY} and {SEED}")
    causes = {FAMILY: families, TOPOLOGY: topologies}
    if len(set(families)) == len(set(topologies)):
        causes = {f"{FAMILY} and {TOPOLOGY}": topologies}
    return variance_components(values, causes, fixed=means)
