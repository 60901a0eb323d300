"""The Gaussian process: from columns of features to accuracies with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Kernel,
    Matern,
    WhiteKernel,
)
from threadpoolctl import threadpool_limits

from asvit.predictor.features import SIZES, missing
from asvit.predictor.kernels import GaussianProcessWithPriors, OnColumns
from asvit.predictor.scale import NormalScores

Array = NDArray[np.float64]

#: A predictor is not fitted to fewer networks.
LEAST_TRAININGS: Final = 5

# Medians of the priors, in units of the variance of normal scores; for the length scales, in
# distances between two rows of the group of columns, which are about 1.4.
_LINEAR: Final = {"sizes": 0.5, "choices": 0.2}
_SMOOTH: Final = {"sizes": 0.2, "choices": 0.15}
_LENGTH: Final = 1.5
_OWN: Final = 0.3
# Standard deviations of the priors of the logarithms.
_VARIANCE_SPREAD: Final = 1.5
_LENGTH_SPREAD: Final = 0.7
_OWN_SPREAD: Final = 1.0
_BOUNDS: Final = (1e-6, 1e3)
#: Length scale at which only equal rows have anything in common.
_EQUAL: Final = 1e-3


class Process:
    """Fits accuracies by columns of features; :class:`asvit.Predictor` takes architectures.

    The score of a network is a sum of four parts: linear in the sizes, linear in the choices, and
    a smooth deviation in each of both; and of its own deviation, which no column explains. All
    columns of a group share their parameters, so that a dozen rows are enough.
    """

    def fit(
        self,
        names: Sequence[str],
        values: Array,
        accuracies: Array,
        noise: Array | float | None = None,
    ) -> Self:
        """Fit to rows whose features are ``values``, ``[rows, columns]``.

        Args:
            names: Names of the columns.
            values: NaN where a row has no such feature.
            accuracies: Per cent, ``[rows]``, all finite.
            noise: Standard deviation of each accuracy between training seeds, or one for all;
                None if unknown.
        """
        self._names = list(names)
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        self._mean = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        self._std = np.where(known, values, self._mean).std(axis=0)
        varied = self._std > 1e-9
        self._varied = np.flatnonzero(varied if varied.any() else ~varied)
        sizes = np.array([self._names[i] in SIZES for i in self._varied], dtype=bool)
        self._groups = {"sizes": np.flatnonzero(sizes), "choices": np.flatnonzero(~sizes)}
        self._scale = NormalScores(accuracies)
        alpha = np.full(len(accuracies), 1e-8)
        if noise is not None and self._scale.spread > 0:
            alpha += (noise / self._scale.spread) ** 2
        kernel, spreads = self._kernel(known_noise=noise is not None)
        self._process = GaussianProcessWithPriors(kernel, spreads=spreads, alpha=alpha)
        with threadpool_limits(1, "blas"):
            self._process.fit(self._columns(values), self._scale.scores)
        return self

    def predict(self, names: Sequence[str], values: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the accuracies of rows, per cent, ``[rows]`` each."""
        with threadpool_limits(1, "blas"):
            mean, std = self._process.predict(
                self._columns(self._aligned(names, values)), return_std=True
            )
        low, middle, high = map(self._scale.accuracies, (mean - std, mean, mean + std))
        return middle, (high - low) / 2

    def sample(self, names: Sequence[str], values: Array, n: int, seed: int) -> Array:
        """Joint draws of the accuracies of rows from the posterior, per cent, ``[n, rows]``."""
        with threadpool_limits(1, "blas"):
            mean, covariance = self._process.predict(
                self._columns(self._aligned(names, values)), return_cov=True
            )
            rng = np.random.default_rng(seed)
            drawn = rng.multivariate_normal(mean, covariance, size=n, method="eigh")
        return self._scale.accuracies(drawn)

    def _aligned(self, names: Sequence[str], values: Array) -> Array:
        """The columns that the process was fitted to, ``[rows, columns]``."""
        place = {name: i for i, name in enumerate(names)}
        nothing = np.full(len(values), 1.0)
        return np.column_stack(
            [
                values[:, place[name]] if name in place else nothing * missing(name)
                for name in self._names
            ]
        )

    def _columns(self, values: Array) -> Array:
        """The columns that vary, standardised; those of a group have a variance of 1 together."""
        filled = np.where(np.isfinite(values), values, self._mean)
        found: Array = ((filled - self._mean) / np.where(self._std > 0, self._std, 1))[
            :, self._varied
        ]
        for columns in self._groups.values():
            found[:, columns] /= np.sqrt(max(len(columns), 1))
        return found

    def _kernel(self, *, known_noise: bool) -> tuple[Kernel, tuple[float, ...]]:
        """The kernel at the medians of the priors, and the spreads of the priors."""
        own = (
            ConstantKernel(_OWN, _BOUNDS) * RBF(_EQUAL, "fixed")
            if known_noise
            else WhiteKernel(_OWN, _BOUNDS)
        )
        kernel, spreads = own, [_OWN_SPREAD]
        for group, columns in self._groups.items():
            if not len(columns):
                continue
            indices = tuple(map(int, columns))
            linear = OnColumns(DotProduct(0.0, "fixed"), indices)
            smooth = OnColumns(Matern(_LENGTH, _BOUNDS, nu=2.5), indices)
            kernel += ConstantKernel(_LINEAR[group], _BOUNDS) * linear
            kernel += ConstantKernel(_SMOOTH[group], _BOUNDS) * smooth
            spreads += [_VARIANCE_SPREAD, _VARIANCE_SPREAD, _LENGTH_SPREAD]
        return kernel, tuple(spreads)
