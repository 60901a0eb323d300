"""The circle, and the curve of its features: closed forms and brute force."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from proxies import (
    Circle,
    curve_speed,
    extrinsic_curvature,
    gauss_map_length,
    length_distortion,
)
from proxies.expansion import curve_velocity
from tests.proxies.networks import NETWORKS, Lambda

CIRCLE = Circle.random((3, 4, 4), 9, radius=2.5, generator=torch.Generator().manual_seed(1))


def test_identity_keeps_the_circle() -> None:
    identity = nn.Identity()
    assert length_distortion(identity, CIRCLE) == pytest.approx(2 * math.pi * 2.5, rel=1e-6)
    assert gauss_map_length(identity, CIRCLE) == pytest.approx(2 * math.pi, rel=1e-6)
    torch.testing.assert_close(
        extrinsic_curvature(identity, CIRCLE), torch.full((9,), 1 / 2.5, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", ["convolutions", "attention", "windows"])
def test_acceleration_is_the_velocity_s_derivative(name: str) -> None:
    build, side = NETWORKS[name]
    model = build().double()
    basis = Circle.random((3, side, side), generator=torch.Generator().manual_seed(3)).basis
    angles, step = torch.tensor([0.3, 2.0, 4.0], dtype=torch.float64), 1e-5

    def unit_tangent(shift: float) -> Tensor:
        velocity = curve_velocity(model, Circle(basis, angles + shift, radius=3.0))
        return velocity / velocity.norm(dim=1, keepdim=True)

    expected = ((unit_tangent(step) - unit_tangent(-step)) / (2 * step)).norm(dim=1)
    circle = Circle(basis, angles, radius=3.0)
    turning = extrinsic_curvature(model, circle) * curve_speed(model, circle)
    torch.testing.assert_close(turning, expected, rtol=1e-6, atol=1e-9)
    length = gauss_map_length(model, circle)
    assert length == pytest.approx(circle.integrate(expected), rel=1e-6)


@pytest.mark.parametrize("norm", [F.layer_norm, F.instance_norm])
def test_norms_as_functions_are_not_differentiated_twice(norm: Callable[..., Tensor]) -> None:
    model = Lambda(lambda _, x: norm(x, *[x.shape[1:]] * (norm is F.layer_norm)).flatten(1))
    with pytest.raises(ValueError, match="a norm as a function has no second derivative"):
        gauss_map_length(model, CIRCLE)


DETACHED: dict[str, Callable[[Tensor], Tensor]] = {
    "a method": lambda x: x.sin().detach() + x.cos(),
    "a function": lambda x: torch.detach(x.sin()) + x.cos(),
    "in place": lambda x: x.sin().detach_() + x.cos(),
    "data": lambda x: x.sin().data + x.cos(),
    "all": lambda x: (x.sin() + x.cos()).detach(),
}


@pytest.mark.parametrize("detached", DETACHED.values(), ids=DETACHED)
def test_the_curve_goes_on_where_gradients_stop(detached: Callable[[Tensor], Tensor]) -> None:
    plain, stopped = (
        nn.Sequential(nn.Flatten(), nn.Linear(48, 6), Lambda(lambda _, x, f=function: f(x)))
        for function in (lambda x: x.sin() + x.cos(), detached)
    )
    stopped.load_state_dict(plain.state_dict())
    for measure in (curve_speed, extrinsic_curvature):
        torch.testing.assert_close(measure(stopped, CIRCLE), measure(plain, CIRCLE))


def test_the_first_call_warns_of_nothing() -> None:
    """Torch loads rules at its first dual number, and warns of its own use of torch.jit."""
    words = "import proxies, torch; c = proxies.Circle.random((3, 4, 4), 3)\n"
    words += "m = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 6))\n"
    words += "print(proxies.length_distortion(m, c) > 0)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", words],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


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


def test_the_shape_may_be_a_list() -> None:
    turn = torch.arange(4) * (math.pi / 2)
    circle = Circle(UNIT_PLANE, turn, shape=[3, 2, 2])
    assert length_distortion(nn.Flatten(), circle) == pytest.approx(2 * math.pi)


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
        ({"radius": 0.0}, "use a positive number"),
        ({"radius": math.inf}, "use a positive number"),
        ({"shape": (3, 5, 5)}, "does not have the 12 elements"),
    ],
)
def test_bad_circles_say_what_would_be_right(change: dict[str, object], message: str) -> None:
    right = {"basis": UNIT_PLANE, "angles": torch.zeros(3), "radius": 1.0}
    with pytest.raises(ValueError, match=message):
        Circle(**(right | change))


def test_bad_random_circles() -> None:
    with pytest.raises(ValueError, match="points=2; use at least 3"):
        Circle.random((3, 4, 4), 2)
    with pytest.raises(ValueError, match="at least 2"):
        Circle.random((1, 1, 1), 5)
    with pytest.raises(ValueError, match="'sqrt_n', 'unit' or a number"):
        Circle.random((1, 2, 2), 5, radius="sqrt")
