"""What scikit-learn's Gaussian process lacks here: kernels of some columns, and priors."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Exponentiation, Kernel

Array = NDArray[np.float64]


class OnColumns(Exponentiation):  # type: ignore[misc]  # scikit-learn has no types
    """A kernel of some of the columns.

    Its parameters are those of the kernel, handed through as by scikit-learn's power of a kernel.
    """

    exponent = 1

    def __init__(self, kernel: Kernel, columns: tuple[int, ...]) -> None:
        self.kernel = kernel
        self.columns = columns  #: their indices

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments, and those of the kernel; see scikit-learn."""
        own = {"kernel": self.kernel, "columns": self.columns}
        inner = self.kernel.get_params() if deep else {}
        return {**own, **{f"kernel__{name}": value for name, value in inner.items()}}

    def __call__(self, x: Array, y: Array | None = None, eval_gradient: bool = False) -> Any:
        """The kernel of two sets of rows, with its gradient if asked for."""
        columns = list(self.columns)
        return self.kernel(
            x[:, columns], None if y is None else y[:, columns], eval_gradient=eval_gradient
        )

    def diag(self, x: Array) -> Array:
        """The kernel of each row with itself."""
        return cast("Array", self.kernel.diag(x[:, list(self.columns)]))


class GaussianProcessWithPriors(GaussianProcessRegressor):  # type: ignore[misc]
    """A Gaussian process whose kernel parameters are those of the highest posterior density.

    The logarithm of each parameter has a normal prior around its value in ``kernel``. Without it,
    a dozen rows leave the parameters to chance: the likelihood is often highest where all is noise
    or nothing is. ``spreads`` are the deviations of these priors, in the order of ``theta``.
    """

    def __init__(
        self, kernel: Kernel, *, spreads: tuple[float, ...], alpha: float | Array = 1e-10
    ) -> None:
        super().__init__(kernel, alpha=alpha)
        self.spreads = spreads

    def log_marginal_likelihood(
        self, theta: Array | None = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The logarithm of likelihood times prior, up to a constant."""
        found = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None:
            return found
        away = (theta - self.kernel.theta) / self.spreads
        prior = -0.5 * float(away @ away)
        if not eval_gradient:
            return found + prior
        likelihood, gradient = found
        return likelihood + prior, gradient - away / self.spreads
