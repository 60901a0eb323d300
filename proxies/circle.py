"""The circle of inputs for measures of the feature curve."""

import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

Radius = float | Literal["sqrt_n", "unit"]

_ORTHONORMAL_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Circle:
    """A circle ``h(θ) = radius · (u⁰ cos θ + u¹ sin θ)`` in the space of images.

    Args:
        basis: ``[N, 2]``, the orthonormal pair ``(u⁰, u¹)``; N is channels times height
            times width.
        angles: ``[points]``, in radians.
        radius: In input units; ``√N`` in the paper, 1 in the released code.
        shape: ``(C, H, W)`` of one image. By default three square channels if N allows that, else
            flat vectors ``(N,)``.

    Raises:
        ValueError: If the basis is not an orthonormal pair, there is no angle, the radius is not
            positive, or the shape does not have N elements.

    References:
        Poole et al. 2016, arXiv:1606.05340; As-ViT, arXiv:2202.11921.
    """

    basis: Tensor
    angles: Tensor
    radius: float = 1.0
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.basis.ndim != 2 or self.basis.shape[1] != 2:
            raise ValueError(f"circle basis has shape {tuple(self.basis.shape)}; use [N, 2]")
        gram = self.basis.double().T @ self.basis.double()
        if not (gram - torch.eye(2, device=gram.device)).abs().max() < _ORTHONORMAL_TOLERANCE:
            raise ValueError(
                f"circle basis has Gram matrix {gram.tolist()}; use an orthonormal pair"
            )
        if self.angles.ndim != 1 or not len(self.angles):
            raise ValueError(f"circle angles have shape {tuple(self.angles.shape)}; use [points]")
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise ValueError(f"circle radius is {self.radius}; use a positive number")
        size = self.basis.shape[0]
        if not self.shape:
            object.__setattr__(self, "shape", _image_shape(size))
        if math.prod(self.shape) != size:
            raise ValueError(
                f"circle shape {self.shape} does not have the {size} elements of its basis; "
                "use (channels, height, width) of one image"
            )

    @classmethod
    def random(
        cls,
        shape: tuple[int, ...],
        points: int = 10,
        *,
        radius: Radius = "sqrt_n",
        generator: torch.Generator | None = None,
    ) -> Self:
        """Draw a circle in a uniformly random plane, with equally spaced angles.

        Args:
            shape: ``(C, H, W)`` of one image.
            points: Number of angles ``2πk / points``, from 0 and without 2π.
            radius: ``"sqrt_n"`` (the paper: a pixel has unit variance over the circle's plane),
                ``"unit"`` (the released code), or a number.
            generator: Generator of the two Gaussian vectors, float64 on the CPU.

        Raises:
            ValueError: If the shape has fewer than two elements, ``points < 3``, or the radius is
                none of the above.
        """
        size = math.prod(shape)
        if size < 2:
            raise ValueError(f"circle shape {shape} has {size} elements; use at least 2")
        if points < 3:
            raise ValueError(f"circle points={points}; use at least 3")
        # On the CPU, whatever the default device: generators of other devices draw other numbers.
        cpu = torch.device("cpu")
        gaussian = torch.randn(size, 2, generator=generator, dtype=torch.float64, device=cpu)
        basis = torch.linalg.qr(gaussian).Q
        angles = torch.arange(points, dtype=torch.float64, device=cpu) * (2 * math.pi / points)
        return cls(basis, angles, radius_of(radius, size), tuple(shape))

    @property
    def points(self) -> int:
        """Number of angles."""
        return len(self.angles)

    def at(self, angles: Tensor) -> Tensor:
        """Images at ``[k]`` angles: ``[k, *shape]``, differentiable in the angles."""
        return self._combine(torch.cos(angles), torch.sin(angles))

    def images(self, like: Tensor) -> Tensor:
        """Images at the angles, ``[points, *shape]``, with dtype and device of ``like``."""
        return self.at(self.angles.double()).to(like)

    def tangents(self, like: Tensor) -> Tensor:
        """Derivatives of :meth:`images` with respect to the angle, ``[points, *shape]``."""
        angles = self.angles.double()
        return self._combine(-torch.sin(angles), torch.cos(angles)).to(like)

    def integrate(self, values: Tensor) -> float:
        """Integrate ``[points]`` values over the full turn.

        Uses the trapezoid rule on the closed circle. Angles may be unequally spaced, in any order,
        and include both 0 and 2π. Exact for constants.
        """
        angles, order = torch.sort(self.angles.double() % (2 * math.pi))
        gaps = torch.diff(angles, append=angles[:1] + 2 * math.pi)
        weights = (gaps + gaps.roll(1)) / 2
        return float(values.detach().double().cpu()[order.cpu()] @ weights.cpu())

    def _combine(self, first: Tensor, second: Tensor) -> Tensor:
        coefficients = self.radius * torch.stack((first, second), 1)
        return (coefficients @ self.basis.to(coefficients).T).reshape(-1, *self.shape)


def radius_of(radius: Radius, size: int) -> float:
    """Radius in input units of a circle of images with ``size`` elements."""
    named = {"sqrt_n": math.sqrt(size), "unit": 1.0}
    if isinstance(radius, str) and radius not in named:
        raise ValueError(f"circle radius {radius!r}; use 'sqrt_n', 'unit' or a number")
    return named[radius] if isinstance(radius, str) else float(radius)


def _image_shape(size: int) -> tuple[int, ...]:
    side = math.isqrt(size // 3)
    return (3, side, side) if size == 3 * side * side else (size,)
