"""Shares of variance by cause."""

import itertools
import math

import numpy as np
import pytest

from experiments.variance import _grid, _likelihoods, best_of, variance_components


def drawn(family: float, topology: float, seed: float, rng: np.random.Generator, of: int = 25):
    """``of`` families of three networks, each trained twice, with these deviations."""
    values, families, networks = [], [], []
    for i in range(of):
        level = family * rng.standard_normal()
        for j in range(3):
            own = level + topology * rng.standard_normal()
            values += [own + seed * rng.standard_normal() for _ in range(2)]
            families += [i] * 2
            networks += [(i, j)] * 2
    return values, {"family": families, "topology": networks}


def test_shares_are_those_that_were_drawn() -> None:
    for deviations in ((3.0, 2.0, 1.0), (1.0, 1.0, 2.0)):
        values, causes = drawn(*deviations, np.random.default_rng(0), of=25)
        found = variance_components(values, causes)
        total = sum(deviation**2 for deviation in deviations)
        for component, deviation in zip(found.values(), deviations, strict=True):
            assert component.share == pytest.approx(deviation**2 / total, abs=0.15)
            assert component.interval.low < component.share < component.interval.high
        assert sum(component.share for component in found.values()) == pytest.approx(1)
        assert list(found) == ["family", "topology", "seed"]
        assert [component.levels for component in found.values()] == [25, 75, 150]


def test_balanced_networks_have_the_likelihood_of_their_mean_squares() -> None:
    """The closed form: sums of squares between and within groups are independent chi-squares."""
    rng = np.random.default_rng(2)
    groups, of = 5, 4
    y = rng.standard_normal((groups, of)) + 2 * rng.standard_normal((groups, 1))
    between = of * float(((y.mean(1) - y.mean()) ** 2).sum())
    within = float(((y - y.mean(1, keepdims=True)) ** 2).sum())
    shares = _grid(2)
    effects = [np.repeat(np.eye(groups), of, axis=0)]
    found, variances = _likelihoods(y.ravel(), np.ones((groups * of, 1)), effects, shares)
    expected_between = of * shares[:, 0] + shares[:, 1]
    squares = between / expected_between + within / shares[:, 1]
    freedom = groups * of - 1
    expected = -(
        (groups - 1) * np.log(expected_between)
        + groups * (of - 1) * np.log(shares[:, 1])
        + freedom * np.log(squares)
    )
    assert np.ptp(found - expected / 2) < 1e-8
    assert variances == pytest.approx(squares / freedom)


def by_rows(y, means, effects, shares):
    """The likelihoods with the means as they are, and the inverses of covariances."""
    logs, variances = [], []
    for share in shares:
        covariances = [own @ own.T for own in effects]
        inverse = np.linalg.inv(np.tensordot(share, [*covariances, np.eye(len(y))], 1))
        information = means.T @ inverse @ means
        own = y - means @ np.linalg.solve(information, means.T @ inverse @ y)
        squares, freedom = own @ inverse @ own, len(y) - means.shape[1]
        determinants = np.linalg.slogdet(information)[1] - np.linalg.slogdet(inverse)[1]
        logs.append(-(determinants + freedom * np.log(squares)) / 2)
        variances.append(squares / freedom)
    return np.array(logs), np.array(variances)


@pytest.mark.parametrize("causes", [1, 2, 3])
@pytest.mark.parametrize("fixed", [1, 4])
def test_contrasts_give_the_restricted_likelihood(causes: int, fixed: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(10, 50))
        places = [rng.integers(0, rng.integers(2, rows), rows) for _ in range(causes)]
        effects = [np.equal.outer(own, np.unique(own)).astype(float) for own in places]
        means = np.eye(fixed)[np.arange(rows) % fixed]
        y, shares = 70 + 3 * rng.standard_normal(rows), _grid(causes + 1)[::50]
        found, expected = (of(y, means, effects, shares) for of in (_likelihoods, by_rows))
        assert np.ptp(found[0] - expected[0]) < 1e-8  # but for a constant
        assert found[1] == pytest.approx(expected[1], rel=1e-8)


def test_fixed_means_tell_of_the_rest_alone() -> None:
    values, causes = drawn(2.0, 1.0, 1.5, np.random.default_rng(3), of=6)
    chosen = {"family": [0, 0, 1, 1], "topology": [*"aabb"]}
    longer = {name: [*own, *chosen[name]] for name, own in causes.items()}
    fixed = [*[""] * len(values), *"aabb"]

    def shares(*means: float) -> list[float]:
        more = [means[0] + 1, means[0] - 1, means[1] + 1, means[1] - 1]
        found = variance_components([*values, *more], longer, fixed=fixed)
        return [component.share for component in found.values()]

    assert shares(0.0, 0.0) == pytest.approx(shares(50.0, -90.0))
    assert shares(0.0, 0.0)[2] != variance_components(values, causes)["seed"].share


def test_the_best_of_two_normal_draws_is_closed_form() -> None:
    assert best_of(3.0, 2) == pytest.approx(3 / math.sqrt(math.pi), rel=1e-6)
    assert best_of(3.0, 1) == 0
    assert all(a < b for a, b in itertools.pairwise(best_of(1.0, n) for n in (2, 3, 9, 100)))


@pytest.mark.parametrize(
    ("values", "causes", "message"),
    [
        ([1.0, 2.0], {"family": [1]}, r"family has 1 level\(s\) for 2 value\(s\)"),
        (
            [1.0, 2.0, 3.0],
            {"family": [1, 2, 3]},
            r"family has 3 level\(s\) for 3 values",
        ),
        (
            [1.0, 2.0, 3.0],
            {"family": [1, 1, 1]},
            r"family has 1 level\(s\) for 3 values",
        ),
        ([1.0, 2.0], {}, "too few for 1 mean"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(values, causes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        variance_components(values, causes)
