"""Predicts the accuracy of architectures from a few that were trained."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.predictor.features import column_of, features
from asvit.predictor.process import Process
from asvit.reference.findings import LEAST_TRAININGS
from asvit.spaces.architectures import Architectures, each_of
from asvit.spaces.base import Architecture

Array = NDArray[np.float64]


class Predictor:
    """Predicts the accuracy of architectures from a few that were trained.

    A Gaussian process on the sizes and choices of architectures (:func:`features`), fitted to
    normal scores of the ranks of the accuracies. Its parameters have priors that hold for a dozen
    trainings. The same trainings always give the same predictions, whatever the number of threads;
    their order changes them by rounding alone. Fitting to 50 takes about 0.05 s, besides counting.

    Args:
        image_size: Side in pixels of the images that multiply-adds are counted for; None for 224.
        num_classes: Classes of the networks whose parameters are counted.

    References:
        White et al. 2021, arXiv:2104.01177, compare predictors of accuracy.

    Example:
        >>> space = asvit.load_space("asvit")
        >>> architectures = [space.sample(np.random.default_rng(seed)) for seed in range(8)]
        >>> accuracies = [60, 62, 58, 65, 61, 63]
        >>> predictor = asvit.Predictor(image_size=32).fit(architectures[:6], accuracies)
        >>> mean, std = predictor.predict(architectures[6:])
        >>> mean.shape, std.shape
        ((2,), (2,))
    """

    def __init__(self, image_size: int | None = None, *, num_classes: int = 1000) -> None:
        self.image_size = image_size
        self.num_classes = num_classes
        self._process: Process | None = None

    def fit(
        self,
        architectures: Iterable[str | Architecture],
        accuracies: ArrayLike,
        noise: ArrayLike | None = None,
    ) -> Self:
        """Fit to networks that were trained; again, to others.

        Args:
            architectures: Texts or architectures of any spaces and families. One may be there
                several times, such as with several training seeds.
            accuracies: Per cent, ``[architectures]``; rows of NaN are left out.
            noise: Standard deviation between training seeds of each accuracy, in points,
                ``[architectures]``, or one for all; for a mean over seeds, that of the mean. None
                if it is unknown: then it is part of what the features do not explain.

        Raises:
            ValueError: If an architecture or an accuracy is wrong, lengths differ, or fewer than 5
                accuracies are known.
        """
        networks = list(architectures)
        column = column_of("accuracies", accuracies, len(networks))
        rows = np.flatnonzero(~np.isnan(column))
        wrong = column[rows][~((column[rows] >= 0) & (column[rows] <= 100))]
        if len(wrong):
            raise ValueError(f"accuracy {wrong[0]} is not in per cent; use 0 to 100")
        if len(rows) < LEAST_TRAININGS:
            raise ValueError(
                f"{len(rows)} architecture(s) have an accuracy; "
                f"a predictor needs at least {LEAST_TRAININGS}"
            )
        between = None
        if noise is not None:
            each = np.full(len(networks), noise) if np.ndim(noise) == 0 else noise
            between = column_of("noise", each, len(networks))[rows]
            if not (np.isfinite(between) & (between >= 0)).all():
                raise ValueError("noise must be 0 or more points for every known accuracy")
        names, values = self._features([networks[i] for i in rows])
        self._process = Process(names, values, column[rows], between)
        return self

    def predict(self, architectures: Architectures) -> tuple[Array, Array]:
        """Predict the accuracies that architectures would have.

        Returns:
            The means and the standard deviations, in per cent, ``[architectures]`` each. The
            deviations are those of accuracies averaged over seeds if the noise was given, else of
            single trainings.

        Raises:
            ValueError: If an architecture is wrong, or the predictor is not fitted yet.
        """
        return self._fitted.predict(*self._features(architectures))

    def quantiles(
        self,
        architectures: Architectures,
        levels: ArrayLike = (0.05, 0.5, 0.95),
        *,
        noise: float = 0.0,
    ) -> Array:
        """Quantiles of the accuracies that architectures would have.

        Args:
            architectures: Texts or architectures, or one of them.
            levels: Between 0 and 1; the default has the ends of the 90 % interval and the median.
            noise: Standard deviation between training seeds to add, in points, for the accuracy
                of a single training; 0 for what :meth:`predict` predicts.

        Returns:
            Per cent, ``[levels, architectures]``. An interval between them need not be symmetric:
            accuracies end at 100.
        """
        return self._fitted.quantiles(*self._features(architectures), levels, noise=noise)

    def _features(self, architectures: Architectures) -> tuple[list[str], Array]:
        return features(each_of(architectures), self.image_size, num_classes=self.num_classes)

    @property
    def _fitted(self) -> Process:
        if self._process is None:
            raise ValueError("the predictor is not fitted; call fit(architectures, accuracies)")
        return self._process
