"""The Gaussian process on plain columns, its kernels and its scale."""

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern

from asvit.predictor.process import (
    NormalScores,
    OnColumns,
    Process,
    ProcessWithPriors,
)

NAMES = ["params", "macs", *(f"E{i}" for i in range(6))]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_linear_kernel_with_known_noise_is_bayesian_regression(rng):
    x, new = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    noise = rng.uniform(0.1, 1, size=20)
    y = x @ [1.0, -2.0, 0.5] + noise * rng.normal(size=20)
    kernel = ConstantKernel(4.0, "fixed") * OnColumns(DotProduct(0.0, "fixed"), (0, 2))
    process = ProcessWithPriors(kernel, spreads=(), alpha=noise**2).fit(x, y)
    mean, std = process.predict(new, return_std=True)
    used, known = new[:, [0, 2]], x[:, [0, 2]]
    precision = known.T @ (known / noise[:, None] ** 2) + np.eye(2) / 4
    weights = np.linalg.solve(precision, known.T @ (y / noise**2))
    np.testing.assert_allclose(mean, used @ weights, rtol=1e-6)
    expected = np.sqrt(np.einsum("ri,ij,rj->r", used, np.linalg.inv(precision), used))
    np.testing.assert_allclose(std, expected, rtol=1e-5)


@pytest.mark.parametrize("inner", [RBF(0.7), Matern(1.3, nu=2.5), ConstantKernel(2.0) * RBF(0.7)])
def test_kernel_of_columns_is_that_of_the_columns_alone(rng, inner):
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    kernel = OnColumns(inner, (1, 3))
    np.testing.assert_array_equal(kernel(x, y), inner(x[:, [1, 3]], y[:, [1, 3]]))
    np.testing.assert_array_equal(kernel.diag(x), inner.diag(x[:, [1, 3]]))
    for found, expected in zip(
        kernel(x, eval_gradient=True), inner(x[:, [1, 3]], eval_gradient=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    other = kernel.clone_with_theta(kernel.theta + 1)
    np.testing.assert_allclose(other.theta, inner.theta + 1)
    assert np.array_equal(clone(kernel).bounds, inner.bounds)
    assert kernel.is_stationary() == inner.is_stationary()


def test_gradient_of_the_posterior_is_its_slope(rng):
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    kernel = ConstantKernel(0.5) * OnColumns(RBF(1.0), (0, 1)) + ConstantKernel(0.2) * DotProduct()
    process = ProcessWithPriors(kernel, spreads=(1.0, 0.5, 1.0, 2.0), alpha=0.1)
    process.fit(x, y)
    theta = kernel.theta + np.array([0.3, -0.2, 0.1, 0.4])
    _, gradient = process.log_marginal_likelihood(theta, eval_gradient=True)
    slope = optimize.approx_fprime(theta, process.log_marginal_likelihood, 1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-4)


def test_scores_are_normal_and_map_back(rng):
    accuracies = rng.uniform(20, 90, size=40)
    scale = NormalScores(accuracies)
    assert scale.scores.std() == pytest.approx(1)
    assert np.array_equal(np.argsort(scale.scores), np.argsort(accuracies))
    np.testing.assert_allclose(scale.accuracies(scale.scores), accuracies)
    middle = stats.norm.ppf(0.5)
    assert scale.accuracies(np.array([middle]))[0] == pytest.approx(np.median(accuracies), abs=1)


@pytest.mark.parametrize("accuracy", [60.0, 60.1])  # seven of 60.1 deviate by rounding
def test_equal_accuracies_are_uncertain_by_their_noise(rng, accuracy):
    values = rng.normal(size=(7, len(NAMES)))
    sure = Process(NAMES, values, np.full(7, accuracy))
    np.testing.assert_allclose(sure.predict(NAMES, values), [[accuracy] * 7, [0] * 7])
    deviations = []
    for noise in (0.5, 1.0):
        process = Process(NAMES, values, np.full(7, accuracy), np.full(7, noise))
        mean, std = process.predict(NAMES, values)
        np.testing.assert_allclose(mean, accuracy)
        assert ((std > 0.2 * noise) & (std < 2 * noise)).all()
        deviations.append(std)
    np.testing.assert_allclose(deviations[1], 2 * deviations[0], rtol=0.01)


def test_missing_columns_are_taken_as_average(rng):
    values = rng.normal(size=(20, len(NAMES)))
    accuracies = 60 + 5 * values[:, 0]
    process = Process(NAMES, values, accuracies)
    average = values[:5].copy()
    average[:, 3] = values[:, 3].mean()
    expected = process.predict(NAMES, average)
    names = [name for name in NAMES if name != "E1"]
    without = process.predict([*names, "other"], np.insert(np.delete(average, 3, 1), 7, 9, 1))
    unknown = average.copy()
    unknown[:, 3] = np.nan
    np.testing.assert_allclose(without, expected)
    np.testing.assert_allclose(process.predict(NAMES, unknown), expected)


def test_intervals_of_means_hold_with_known_noise(rng):
    inside = []
    for _ in range(20):
        values = rng.normal(size=(60, len(NAMES)))
        expected = 60 + 2 * values @ rng.normal(size=len(NAMES)) + rng.normal(size=60)
        accuracies = expected[:25] + 4 * rng.normal(size=25)
        process = Process(NAMES, values[:25], accuracies, np.full(25, 4.0))
        mean, std = process.predict(NAMES, values[25:])
        inside.append(np.abs(expected[25:] - mean) < 1.645 * std)
    assert 0.82 < np.mean(inside) < 0.97


@pytest.mark.parametrize("rows", [12, 40])
def test_quantiles_map_the_ends_of_the_scores_interval(rng, rows):
    values = rng.normal(size=(rows, len(NAMES)))
    accuracies = 100 - np.exp(2 + values[:, 0] + 0.3 * rng.normal(size=rows))  # a long lower tail
    process = Process(NAMES, values, accuracies)
    new = rng.normal(size=(30, len(NAMES)))
    low, middle, high = process.quantiles(NAMES, new, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(middle, process.predict(NAMES, new)[0])
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert high.max() <= 100
    assert (middle - low).mean() > 1.2 * (high - middle).mean()
    wider = process.quantiles(NAMES, new, (0.05, 0.95), noise=5.0)
    assert (wider[0] <= low).all()
    assert (wider[1] >= high).all()
