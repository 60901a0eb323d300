"""The Gaussian process: from columns of features to accuracies with their uncertainty."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Exponentiation,
    Kernel,
    Matern,
    WhiteKernel,
)
from threadpoolctl import threadpool_limits

from asvit.predictor.features import missing
from asvit.spaces.base import SIZES

Array = NDArray[np.float64]

# Medians of the priors. Variances are in units of that of normal scores, for rows at the usual
# distance; length scales are per root of the number of columns, whose variance is 1 each.
_LINEAR: Final = {"all": 0.5, "sizes": 0.1}
_SMOOTH: Final = {"all": 0.2, "sizes": 0.1}
_LENGTH: Final = 1.5
_OWN, _OWN_BESIDE_NOISE = 0.5, 0.1
# Standard deviations of the priors of the logarithms: of variances, of length scales, of _OWN.
_VARIANCE_SPREAD, _LENGTH_SPREAD, _OWN_SPREAD = 2.0, 0.7, 1.0
_BOUNDS: Final = (1e-6, 1e3)
_EQUAL: Final = 1e-3  # length scale at which only equal rows correlate
# The parameters are those of the highest density, as if they were known. Deviations are therefore
# wider by a share that falls with the rows; 3 is from 8 columns of two tables, and held on others
# (python -m experiments.check_intervals).
_UNKNOWN_PARAMETERS: Final = 3.0


class Process:
    """Fits accuracies by columns of features; :class:`asvit.Predictor` takes architectures.

    The score of a network is a sum: a linear and a smooth function of all columns, the same of the
    sizes alone, and a deviation of its own. The columns of a function share its parameters, so
    that a dozen rows are enough.

    Features are ``[rows, columns]``, NaN where a row has none; accuracies ``[rows]`` are finite,
    in per cent. ``noise`` is the standard deviation of each between training seeds, if known.
    """

    def __init__(
        self, names: Sequence[str], values: Array, accuracies: Array, noise: Array | None = None
    ) -> None:
        self._names = list(names)
        finite = np.isfinite(values)
        self._mean = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
        std = np.where(finite, values, self._mean).std(axis=0)
        varied = std > 1e-9  # the deviation of a constant may be rounding
        self._std = np.where(varied, std, 1.0)
        self._varied = np.flatnonzero(varied if varied.any() else ~varied)
        self._scale = NormalScores(accuracies, 0.0 if noise is None else float(np.mean(noise)))
        alpha = np.full(len(accuracies), 1e-8)
        if noise is not None and self._scale.spread > 0:
            alpha += (noise / self._scale.spread) ** 2
        kernel, spreads = self._kernel(has_noise=noise is not None)
        self._process = ProcessWithPriors(kernel, spreads=spreads, alpha=alpha)
        with threadpool_limits(1, "blas"):
            self._process.fit(self._columns(values), self._scale.scores)

    def predict(self, names: Sequence[str], values: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the accuracies of rows, per cent, ``[rows]`` each.

        The deviation is half the distance between the quantiles one deviation of the score below
        and above; :meth:`quantiles` gives intervals, which are not symmetric.
        """
        low, middle, high = self.quantiles(names, values, norm.cdf((-1, 0, 1)))
        return middle, (high - low) / 2

    def quantiles(
        self, names: Sequence[str], values: Array, levels: ArrayLike, *, noise: Array | float = 0.0
    ) -> Array:
        """Quantiles of the accuracies of rows, per cent, ``[levels, rows]``.

        ``noise`` is the standard deviation between training seeds to add, in points.
        """
        z = norm.ppf(np.asarray(levels, dtype=np.float64))
        if not len(values):
            return np.zeros((len(z), 0))
        columns, rows = dict(zip(names, values.T, strict=True)), len(values)
        own = [columns.get(name, np.full(rows, missing(name))) for name in self._names]
        with threadpool_limits(1, "blas"):
            mean, std = self._process.predict(self._columns(np.column_stack(own)), return_std=True)
        std = std * (1 + _UNKNOWN_PARAMETERS / len(self._scale.scores))
        if self._scale.spread > 0:
            std = np.hypot(std, noise / self._scale.spread)
        return self._scale.accuracies(mean + np.multiply.outer(z, std))

    def _columns(self, values: Array) -> Array:
        """The columns that vary, standardised by the rows fitted to; NaN becomes their mean."""
        deviations = np.where(np.isfinite(values), values - self._mean, 0.0)
        return (deviations / self._std)[:, self._varied]

    def _kernel(self, *, has_noise: bool) -> tuple[Kernel, tuple[float, ...]]:
        """The kernel at the medians of the priors, and the spreads of the priors."""
        kernel = WhiteKernel(_OWN, _BOUNDS)
        if has_noise:
            kernel = ConstantKernel(_OWN_BESIDE_NOISE, _BOUNDS) * RBF(_EQUAL, "fixed")
        spreads = [_OWN_SPREAD]
        every = tuple(range(len(self._varied)))
        sizes = tuple(i for i in every if self._names[self._varied[i]] in SIZES)
        # Not how many sizes vary: those that follow from the choices alone count less.
        for group, columns, usual in (("all", every, len(every)), ("sizes", sizes, len(SIZES))):
            if columns:
                linear = OnColumns(DotProduct(0.0, "fixed"), columns)
                smooth = OnColumns(Matern(_LENGTH * usual**0.5, _BOUNDS, nu=2.5), columns)
                kernel += ConstantKernel(_LINEAR[group] / usual, _BOUNDS) * linear
                kernel += ConstantKernel(_SMOOTH[group], _BOUNDS) * smooth
                spreads += [_VARIANCE_SPREAD, _VARIANCE_SPREAD, _LENGTH_SPREAD]
        return kernel, tuple(spreads)


class NormalScores:
    """The map between accuracies and the normal scores of their ranks, of variance 1.

    Ranks keep a few networks that failed to train from outweighing all others. Between accuracies
    the map is linear; beyond them it continues with the slope of the whole. Where all accuracies
    are equal, that is ``noise``, their standard deviation between training seeds.
    """

    def __init__(self, accuracies: Array, noise: float = 0.0) -> None:
        n, differ = len(accuracies), np.ptp(accuracies) > 0
        scores = norm.ppf((rankdata(accuracies) - 0.5) / n)
        #: Points of accuracy per unit of score, about.
        self.spread = float(accuracies.std()) if differ else noise
        #: Scores of ``accuracies``, ``[rows]``; equal accuracies have equal scores.
        self.scores: Array = scores / scores.std() if differ else np.zeros(n)
        self._accuracies, first = np.unique(accuracies, return_index=True)
        self._scores = self.scores[first]

    def accuracies(self, scores: Array) -> Array:
        """The accuracies of these scores, per cent, of any shape."""
        above = self._beyond(scores - self._scores[-1], 100 - self._accuracies[-1])
        below = self._beyond(self._scores[0] - scores, self._accuracies[0])
        return np.interp(scores, self._scores, self._accuracies) + above - below

    def _beyond(self, away: Array, room: float) -> Array:
        """Points of accuracy at scores ``away`` from the outermost one; less than ``room``."""
        if room <= 0:
            return np.zeros_like(away)
        return -room * np.expm1(-self.spread * np.maximum(away, 0) / room)


class OnColumns(Exponentiation):  # type: ignore[misc]  # scikit-learn has no types
    """A kernel of some columns; it hands parameters on as scikit-learn's power of a kernel."""

    exponent = 1

    def __init__(self, kernel: Kernel, columns: tuple[int, ...]) -> None:
        self.kernel, self.columns = kernel, columns

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments, and those of the kernel; see scikit-learn."""
        inner = self.kernel.get_params() if deep else {}
        own = {f"kernel__{name}": value for name, value in inner.items()}
        return {"kernel": self.kernel, "columns": self.columns, **own}

    def __call__(self, x: Array, y: Array | None = None, eval_gradient: bool = False) -> Any:
        """The kernel of two sets of rows, with its gradient if asked for."""
        own = list(self.columns)
        return self.kernel(x[:, own], None if y is None else y[:, own], eval_gradient)

    def diag(self, x: Array) -> Any:
        """The kernel of each row with itself."""
        return self.kernel.diag(x[:, list(self.columns)])


class ProcessWithPriors(GaussianProcessRegressor):  # type: ignore[misc]
    """A Gaussian process whose kernel parameters are those of the highest posterior density.

    The logarithm of each parameter has a normal prior around its value in ``kernel``. Without it,
    a dozen rows leave the parameters to chance: the likelihood is often highest where all is noise
    or nothing is. ``spreads`` are the deviations of these priors, in the order of ``theta``.
    """

    def __init__(self, kernel: Kernel, *, spreads: Sequence[float], alpha: Any = 1e-10) -> None:
        super().__init__(kernel, alpha=alpha)
        self.spreads = spreads

    def log_marginal_likelihood(
        self, theta: Array | None = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The logarithm of likelihood times prior, up to a constant."""
        result = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return result
        away = (theta - self.kernel.theta) / self.spreads
        prior = -0.5 * float(away @ away)
        if not eval_gradient:
            return result + prior
        return result[0] + prior, result[1] - away / self.spreads
