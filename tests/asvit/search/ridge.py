"""A predictor of accuracy that takes no time: ridge regression on the choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit import predictor
from asvit.search import predictor_sampler
from asvit.spaces import SearchSpace
from asvit.spaces.architectures import find

Array = NDArray[np.float64]


class Ridge:
    """Stands in for :class:`asvit.Predictor`."""

    def __init__(self, _image_size: int | None = None) -> None: ...

    def fit(self, architectures: Sequence[str], accuracies: ArrayLike, noise: float = 0) -> Ridge:
        x, y = self.columns(architectures), np.asarray(accuracies, dtype=float)
        self._inverse = np.linalg.inv(x.T @ x + np.eye(x.shape[1]))
        self._mean = y.mean()
        self._weights = self._inverse @ x.T @ (y - self._mean)
        return self

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        x = self.columns(architectures)
        std = np.sqrt(np.einsum("ri,ij,rj->r", x, self._inverse, x))
        return self._mean + x @ self._weights, std

    @staticmethod
    def columns(texts: Sequence[str]) -> Array:
        """A row for each architecture."""
        rows = []
        for text in texts:
            space, arch = find(text)
            places = [space.dimensions[n].index(v) for n, v in space.encode(arch).items()]
            rows.append([1.0, *places])
        return np.array(rows)


def ridge_of(space: SearchSpace) -> type[Ridge]:
    """The same on the choices of a space of several families, and on the family."""

    class FamilyRidge(Ridge):
        @staticmethod
        def columns(texts: Sequence[str]) -> Array:
            rows = []
            for text in texts:
                params = space.encode(space.parse(text))
                branch = space.dimensions[space.branch]
                places = [params[space.branch] == choice for choice in branch]
                places += [c.index(params[name]) for name, c in space.dimensions.items()]
                rows.append([1.0, *places])
            return np.array(rows, dtype=float)

    return FamilyRidge


def quick_predictor(
    setattr_: Callable[[object, str, object], None],
    kind: type = Ridge,
    *,
    sampled: int = 40,
    spread: int = 32,
) -> None:
    """Have searches ask such a predictor, about few candidates that are not counted."""
    setattr_(predictor, "Predictor", kind)
    setattr_(predictor_sampler, "_SAMPLED", sampled)
    setattr_(predictor_sampler, "_SPREAD", spread)
    setattr_(predictor_sampler, "cost", lambda *_, **__: None)
