"""Predictors as callers see them."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import asvit

SPACE = asvit.load_space("asvit")
SIDE = 32


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(n)]


def truth(architectures):
    """Expected accuracies that are linear in some choices, per cent."""
    return np.array(
        [60 + 2 * sum(arch.expansions) - 3 * sum(arch.kernels[1:]) for arch in architectures]
    )


@pytest.fixture(scope="module")
def trained():
    return drawn(25)


@pytest.fixture(scope="module")
def candidates():
    return drawn(30, seed=1)


def fitted(architectures, accuracies=None, noise=None):
    accuracies = truth(architectures) if accuracies is None else accuracies
    return asvit.Predictor(SIDE).fit(architectures, accuracies, noise)


@pytest.fixture(scope="module")
def predictor(trained):
    return fitted(trained)


def test_learns_what_accuracy_depends_on(predictor, candidates):
    mean, std = predictor.predict(candidates)
    assert mean.shape == std.shape == (30,)
    assert stats.kendalltau(mean, truth(candidates)).statistic > 0.75
    assert np.abs(mean - truth(candidates)).mean() < 0.5 * truth(candidates).std()
    assert (std > 0).all()


def test_order_of_rows_makes_no_difference(predictor, trained, candidates):
    order = np.random.default_rng(3).permutation(len(trained))
    shuffled = [trained[i] for i in order]
    for one, other in zip(
        predictor.predict(candidates), fitted(shuffled).predict(candidates), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=0.01)


def test_nan_rows_are_left_out(predictor, trained, candidates):
    accuracies = truth(trained).astype(float)
    with_nan = fitted([*trained, *drawn(2, seed=9)], [*accuracies, np.nan, np.nan])
    assert np.array_equal(with_nan.predict(candidates), predictor.predict(candidates))


def test_more_noise_means_less_spread_of_means(trained, candidates):
    quiet, _ = fitted(trained, noise=0.1).predict(candidates)
    loud, _ = fitted(trained, noise=np.full(len(trained), 30.0)).predict(candidates)
    assert loud.std() < 0.5 * quiet.std()


def test_shares_are_predicted_as_shares(predictor, trained, candidates):
    shares, _ = fitted(trained, truth(trained) / 100).predict(candidates)
    np.testing.assert_allclose(100 * shares, predictor.predict(candidates)[0], atol=1)
    fitted(trained, np.zeros(len(trained)))


@pytest.mark.parametrize(
    ("accuracies", "noise", "message"),
    [
        ([50.0] * 24, None, r"accuracies has shape \(24,\) for 25"),
        ([50.0] * 24 + [101.0], None, "accuracy 101.0 is not in per cent; use 0 to 100"),
        ([50.0] * 24 + [100.00001], None, r"accuracy 100\.00001 is not in per cent"),
        ([50.0] * 24 + [np.inf], None, "accuracy inf is not in per cent"),
        ([50.0] * 4 + [np.nan] * 21, None, "4 architecture.* at least 5"),
        ([50.0] * 25, [1.0], r"noise has shape \(1,\)"),
        ([50.0] * 25, -1.0, "noise must be 0 or more"),
        ([50.0] * 25, [np.nan] * 25, "noise must be 0 or more"),
    ],
)
def test_bad_input_gets_one_line(trained, accuracies, noise, message):
    with pytest.raises(ValueError, match=message) as caught:
        fitted(trained, accuracies, noise)
    assert "\n" not in str(caught.value)


def test_import_loads_no_scikit_learn():
    code = "import asvit, sys; sys.exit('sklearn' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
