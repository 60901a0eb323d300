"""How a network stretches and bends a circle of inputs: the curve ``H(θ)`` of its features.

Derivatives with respect to the angle use forward mode: one pass gives the derivative of every
feature at every point of the circle, while reverse mode needs one pass per feature.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import jvp

from proxies.features import (
    independent_curve,
    measured,
    pooled_feature,
    reference_tensor,
)
from proxies.forward_mode import DualOperations, TwiceDifferentiable, load_rules
from proxies.functional import in_chunks
from proxies.messages import first_line
from proxies.registry import register_measure

Radius = float | Literal["sqrt_n", "unit"]

_ORTHONORMAL_TOLERANCE = 1e-3
_POOLE = "Poole et al. 2016, arXiv:1606.05340"


@dataclass(frozen=True, eq=False)
class Circle:
    """A circle ``h(θ) = radius · (u⁰ cos θ + u¹ sin θ)`` in the space of images.

    A ValueError if the basis is not an orthonormal pair, the radius is not positive, or the shape
    does not have N elements. Of Poole et al. 2016, arXiv:1606.05340; As-ViT, arXiv:2202.11921.

    Example:
        >>> circle = proxies.Circle.random((3, 32, 32), points=5)
        >>> circle.images(torch.empty(0)).shape
        torch.Size([5, 3, 32, 32])
    """

    #: ``[N, 2]``, the orthonormal pair ``(u⁰, u¹)``; N is channels times height times width.
    basis: Tensor
    angles: Tensor  #: ``[points]``, in radians
    radius: float = 1.0  #: in input units; ``√N`` in the paper, 1 in the released code
    #: ``(C, H, W)`` of one image. By default three square channels if N allows that, else flat
    #: vectors ``(N,)``.
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.basis.ndim != 2 or self.basis.shape[1] != 2:
            raise ValueError(f"circle basis has shape {tuple(self.basis.shape)}; use [N, 2]")
        gram = self.basis.double().T @ self.basis.double()
        if not (gram - torch.eye(2, device=gram.device)).abs().max() < _ORTHONORMAL_TOLERANCE:
            raise ValueError(
                f"circle basis has Gram matrix {gram.tolist()}; use an orthonormal pair"
            )
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise ValueError(f"circle radius is {self.radius}; use a positive number")
        size = self.basis.shape[0]
        object.__setattr__(self, "shape", tuple(self.shape) or _image_shape(size))  # also a list
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
            points: Number of angles ``2πk / points``, from 0 and without 2π; at least 3.
            radius: ``"sqrt_n"`` (the paper: a pixel has unit variance over the circle's plane),
                ``"unit"`` (the released code), or a number.
            generator: Generator of the two Gaussian vectors, float64 on the CPU.
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
        named = {"sqrt_n": math.sqrt(size), "unit": 1.0}
        if isinstance(radius, str) and radius not in named:
            raise ValueError(f"circle radius {radius!r}; use 'sqrt_n', 'unit' or a number")
        length = named[radius] if isinstance(radius, str) else float(radius)
        return cls(basis, angles, length, tuple(shape))

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
        """Integrate ``[points]`` values over the full turn, by the trapezoid rule."""
        angles, order = torch.sort(self.angles.double() % (2 * math.pi))
        gaps = torch.diff(angles, append=angles[:1] + 2 * math.pi)
        weights = (gaps + gaps.roll(1)) / 2
        return float(values.detach().double().cpu()[order.cpu()] @ weights.cpu())

    def _combine(self, first: Tensor, second: Tensor) -> Tensor:
        coefficients = self.radius * torch.stack((first, second), 1)
        return (coefficients @ self.basis.to(coefficients).T).reshape(-1, *self.shape)


def _image_shape(size: int) -> tuple[int, ...]:
    side = math.isqrt(size // 3)
    return (3, side, side) if size == 3 * side * side else (size,)


@functools.lru_cache(maxsize=16)
def _images_and_tangents(
    circle: Circle, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Not to be changed; computed and copied once for all networks, as a copy waits for them."""
    like = torch.empty(0, dtype=dtype, device=device)
    return circle.images(like), circle.tangents(like)


def curve_velocity(model: nn.Module, circle: Circle) -> Tensor:
    """Derivative ``∂H/∂θ`` of the feature, ``[points, F]``; as :func:`curve_speed`."""
    with torch.no_grad(), measured(model, norms="bypassed"):
        like = reference_tensor(model)
        images, tangents = _images_and_tangents(circle, like.dtype, like.device)

        def velocity(points: slice) -> Tensor:
            with dual_level(), DualOperations():
                duals = make_dual(images[points], tangents[points])
                tangent = unpack_dual(pooled_feature(model, duals)).tangent
            if tangent is None:
                raise ValueError(f"the feature of {type(model).__name__} ignores its input")
            return cast("Tensor", tangent)

        return _forward_mode(model, velocity, circle, "the feature curve")


def curve_speed(model: nn.Module, circle: Circle) -> Tensor:
    """Speed ``‖∂H/∂θ‖ = √g^E`` of the feature curve at each angle, ``[points]``.

    In feature units per radian, with norms bypassed. One forward pass with dual numbers, at about
    twice the memory.

    Args:
        model: Any module whose samples do not interact.
        circle: Circle of inputs; its images must fit the model.

    Raises:
        ValueError: If the model does not return a differentiable row for each image.

    References:
        Poole et al. 2016, arXiv:1606.05340; As-ViT, arXiv:2202.11921, section 3.
    """
    return cast("Tensor", torch.linalg.vector_norm(curve_velocity(model, circle), dim=1))


@register_measure(
    "manifold expansion L^E: how much the network lengthens a circle of inputs",
    paper="As-ViT, arXiv:2202.11921",
    check=independent_curve,
)
def length_distortion(model: nn.Module, circle: Circle) -> float:
    """Manifold expansion L^E: the length of the feature curve, ``∫ ‖∂H/∂θ‖ dθ`` over the circle.

    In feature units. Arguments and errors as :func:`curve_speed`.

    Example:
        >>> circle = proxies.Circle.random((3, 32, 32), points=5, radius=1.0)
        >>> round(proxies.length_distortion(torch.nn.Flatten(), circle), 3)
        6.283
    """
    return circle.integrate(curve_speed(model, circle))


def extrinsic_curvature(model: nn.Module, circle: Circle) -> Tensor:
    """Curvature κ of the feature curve at each angle, ``[points]``.

    From velocity ``v`` and acceleration ``a``:
    ``κ = (v·v)^(-3/2) √((v·v)(a·a) − (v·a)²)``, per feature unit; a circle of radius r has 1/r.
    Reported, not ranked; as a score it is integrated over the angle. One doubly dual forward pass.
    """
    speed, turning = _speed_and_turning(model, circle)
    return turning / speed


@register_measure(
    "curvature κ of the feature curve, integrated over the circle's angle",
    name="extrinsic_curvature",
    better="reported",
    paper=_POOLE,
    check=independent_curve,
)
def _whole_curvature(model: nn.Module, circle: Circle) -> float:
    return circle.integrate(extrinsic_curvature(model, circle))


@register_measure(
    "Gauss-map length L^G: how far the feature curve's unit tangent travels",
    better="reported",
    paper=_POOLE,
    check=independent_curve,
)
def gauss_map_length(model: nn.Module, circle: Circle) -> float:
    """Gauss-map length L^G: path length of the unit tangent, ``∫ ‖∂v̂/∂θ‖ dθ``, ``v̂ = v/‖v‖``.

    In radians, 2π for a plane curve that turns once. Reported, not ranked. Costs as
    :func:`extrinsic_curvature`.
    """
    return circle.integrate(_speed_and_turning(model, circle)[1])


def _speed_and_turning(model: nn.Module, circle: Circle) -> tuple[Tensor, Tensor]:
    """Speed of the feature curve, and of its unit tangent, from velocity and acceleration."""
    like = reference_tensor(model)
    angles = circle.angles.to(like.device, torch.float64)

    def both(rows: slice) -> Tensor:
        def curve(theta: Tensor) -> Tensor:
            return pooled_feature(model, circle.at(theta).to(like))

        def speed(theta: Tensor) -> Tensor:
            return jvp(curve, (theta,), (torch.ones_like(theta),))[1]  # type: ignore[no-any-return]

        with TwiceDifferentiable():
            theta = angles[rows]
            return torch.stack(jvp(speed, (theta,), (torch.ones_like(theta),)), 1)

    with torch.no_grad(), measured(model, norms="bypassed"):
        derivatives = _forward_mode(model, both, circle, "the feature curve's acceleration")
    # In float64: the component of a orthogonal to v is a difference of large squares.
    v, a = derivatives.double().unbind(1)
    squared = (v * v).sum(1)
    orthogonal = a - v * ((v * a).sum(1) / squared)[:, None]
    return squared.sqrt(), torch.linalg.vector_norm(orthogonal, dim=1) / squared.sqrt()


def _forward_mode(
    model: nn.Module, derivative: Callable[[slice], Tensor], circle: Circle, what: str
) -> Tensor:
    key = (what, circle.points, circle.shape, str(reference_tensor(model).device))
    load_rules()
    try:
        return in_chunks(derivative, circle.points, key=key)
    except NotImplementedError as error:
        why = f"{type(model).__name__} cannot be differentiated forward: {first_line(error)}"
        raise ValueError(why) from error
