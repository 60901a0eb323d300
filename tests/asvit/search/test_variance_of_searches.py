"""What decided in a search of several families: which trainings count, and what they tell."""

import dataclasses

import numpy as np

from asvit.search.trained import Trained, shares_of_variance
from asvit.statistics.variance import best_of, variance_components
from proxies.counts import Cost


def networks(repeats: int) -> dict[str, Trained]:
    """Two networks of each of five families; the first ones are trained again."""
    rng = np.random.default_rng(0)
    made = {}
    for i in range(10):
        level = 60 + 3 * (i // 2)
        values = [level + float(rng.standard_normal()) for _ in range(1 + (i < repeats))]
        origin = "by hand" if i % 2 else "random"
        made[str(i)] = Trained(
            str(i), i, Cost(1, 1), values, family="abcde"[i // 2], origin=origin
        )
    return made


def chosen(**given) -> Trained:
    entry = Trained("best", 10, Cost(1, 1), (99.0,), family="a", origin="chosen")
    return dataclasses.replace(entry, **given)


def test_networks_that_the_predictor_chose_do_not_count() -> None:
    alone = shares_of_variance(networks(4), {})
    assert list(alone) == ["family", "topology", "seed"]
    assert shares_of_variance({**networks(4), "best": chosen()}, {}) == alone
    trained = {**networks(4), "best": chosen(accuracies=(99.0, 30.0, 80.0))}
    more = shares_of_variance(trained, {"best": (30.0, 80.0)})
    assert more["seed"].deviation > 3 * alone["seed"].deviation  # its seeds do
    assert [more[cause].levels for cause in ("family", "topology")] == [5, 10]
    assert more["topology"].gain == best_of(more["topology"].deviation, 10)


def test_without_repeats_topology_and_seed_are_one() -> None:
    trained = networks(0)
    found = shares_of_variance(trained, {})
    values = [entry.accuracies[0] for entry in trained.values()]
    expected = variance_components(values, {"family": [e.family for e in trained.values()]})
    assert list(found) == ["family", "topology and seed"]
    assert found["family"] == expected["family"]
