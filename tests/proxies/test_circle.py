"""The circle of inputs: geometry, quadrature and bad input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from proxies import Circle
from proxies.expansion import radius_of

UNIT_PLANE = torch.eye(12)[:, :2]


def circle(angles: Tensor, radius: float = 1.0) -> Circle:
    return Circle(UNIT_PLANE, angles, radius)


def test_random_plane_is_orthonormal_and_repeatable() -> None:
    first, second = (
        Circle.random((3, 8, 8), 7, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first.basis, second.basis)
    torch.testing.assert_close(first.basis.T @ first.basis, torch.eye(2, dtype=torch.float64))
    assert first.points == 7
    assert not torch.equal(first.basis, Circle.random((3, 8, 8), 7).basis)


@pytest.mark.parametrize(("radius", "expected"), [("sqrt_n", 8.0), ("unit", 1.0), (2.5, 2.5)])
def test_every_point_lies_at_the_radius(radius: float, expected: float) -> None:
    images = Circle.random((1, 8, 8), 5, radius=radius).images(torch.zeros(1))
    assert images.shape == (5, 1, 8, 8)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.flatten(1).norm(dim=1), torch.full((5,), expected))


def test_tangents_are_the_derivative_of_the_points() -> None:
    c = Circle.random((3, 4, 4), 6)
    like, step = torch.zeros(1, dtype=torch.float64), 1e-6
    difference = (c.at(c.angles + step) - c.at(c.angles - step)) / (2 * step)
    torch.testing.assert_close(c.tangents(like), difference, rtol=0, atol=1e-7)


def test_square_images_of_three_channels_are_recognised() -> None:
    assert circle(torch.zeros(1)).shape == (3, 2, 2)
    assert Circle(torch.eye(13)[:, :2], torch.zeros(1)).shape == (13,)
    assert Circle(UNIT_PLANE, torch.zeros(1), shape=(12,)).shape == (12,)


@given(st.lists(st.floats(0, 2 * math.pi), min_size=1, max_size=20))
def test_quadrature_is_exact_for_constants_at_any_angles(angles: list[float]) -> None:
    c = circle(torch.tensor(angles, dtype=torch.float64))
    assert c.integrate(torch.full((len(angles),), 3.0)) == pytest.approx(6 * math.pi, rel=1e-9)


def test_quadrature_of_a_wave_with_both_ends_of_the_turn() -> None:
    angles = torch.linspace(0, 2 * math.pi, 10, dtype=torch.float64)
    assert circle(angles).integrate(angles.cos() ** 2) == pytest.approx(math.pi, rel=1e-9)


def test_quadrature_does_not_depend_on_the_order() -> None:
    angles = torch.tensor([0.1, 2.0, 3.5, 5.0], dtype=torch.float64)
    values = torch.tensor([1.0, 4.0, 2.0, 0.5])
    order = torch.tensor([2, 0, 3, 1])
    shuffled = circle(angles[order]).integrate(values[order])
    assert shuffled == pytest.approx(circle(angles).integrate(values), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": torch.ones(12, 2)}, "use an orthonormal pair"),
        ({"basis": torch.full((12, 2), math.nan)}, "use an orthonormal pair"),
        ({"basis": torch.eye(12)}, r"use \[N, 2\]"),
        ({"angles": torch.zeros(0)}, r"use \[points\]"),
        ({"radius": 0.0}, "use a positive number"),
        ({"radius": math.inf}, "use a positive number"),
        ({"shape": (3, 5, 5)}, "does not have the 12 elements"),
    ],
)
def test_bad_circles_say_what_would_be_right(change: dict[str, object], message: str) -> None:
    right = {"basis": UNIT_PLANE, "angles": torch.zeros(3), "radius": 1.0}
    with pytest.raises(ValueError, match=message):
        Circle(**(right | change))  # type: ignore[arg-type]


def test_bad_random_circles() -> None:
    with pytest.raises(ValueError, match="points=2; use at least 3"):
        Circle.random((3, 4, 4), 2)
    with pytest.raises(ValueError, match="at least 2"):
        Circle.random((1, 1, 1), 5)
    with pytest.raises(ValueError, match="'sqrt_n', 'unit' or a number"):
        radius_of("sqrt", 4)  # type: ignore[arg-type]
