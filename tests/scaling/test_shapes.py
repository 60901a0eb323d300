from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.shapes import (
    MAX_EXTRA_BLOCKS,
    Shape,
    final_step_candidates,
    proposals,
    widest_fitting,
)

SHAPES = st.builds(
    Shape, st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple), st.integers(4, 300)
)


def test_the_first_step_of_the_paper() -> None:
    shapes = proposals(Shape((1, 1, 1, 1), 32))
    assert len(shapes) == 16
    assert {shape.width for shape in shapes} == {34, 35, 37, 38}
    assert shapes[:4] == [Shape((2, 1, 1, 1), width) for width in (34, 35, 37, 38)]
    assert shapes[-1] == Shape((1, 1, 1, 2), 38)


def test_the_released_rounding_is_that_of_the_quarter() -> None:
    # 8 x 1.05, 1.10, 1.15, 1.20 = 8.4, 8.8, 9.2, 9.6 -> 8, 9, 9, 10; times 4
    widths = {shape.width for shape in proposals(Shape((1,), 32), multiple=4)}
    assert widths == {32, 36, 40}


def test_multiples_too_coarse_for_the_factors_still_let_the_width_grow() -> None:
    assert {shape.width for shape in proposals(Shape((1,), 32), multiple=16)} == {32, 48}
    assert {shape.width for shape in proposals(Shape((1,), 2))} == {2, 3}


@pytest.mark.parametrize("width", range(32, 184, 4))
def test_halves_go_to_even_whatever_floats_make_of_them(width: int) -> None:
    # As the released code rounds the quarter: 10.5 of 40 to 10, 34.5 of 120 to 34, 38.5 of 140.
    exact = (Fraction(width, 4) * Fraction(100 + more, 100) for more in (5, 10, 15, 20))
    found = proposals(Shape((1,), width), multiple=4)
    assert [shape.width for shape in found] == sorted({4 * round(value) for value in exact})


@given(SHAPES, st.sampled_from([1, 2, 4, 8]))
def test_proposals_are_distinct_deeper_and_no_narrower(shape: Shape, multiple: int) -> None:
    found = proposals(shape, multiple=multiple)
    assert len(set(found)) == len(found) <= 4 * len(shape.depths)
    for one in found:
        assert sum(one.depths) == sum(shape.depths) + 1
        assert all(a <= b for a, b in zip(shape.depths, one.depths, strict=True))
        assert shape.width <= one.width <= 1.2 * shape.width + multiple


def amount(shape: Shape) -> int:
    return shape.width**2 * sum((i + 1) * depth for i, depth in enumerate(shape.depths))


@given(SHAPES, st.floats(1.02, 1.5), st.floats(0.001, 0.2))
def test_final_candidates_are_close_enough_and_the_widest(
    shape: Shape, more: float, within: float
) -> None:
    budget = amount(shape) * more
    found = final_step_candidates(
        shape,
        lambda s: amount(s) <= budget,
        lambda s: amount(s) >= budget * (1 - within),
    )
    assert len(set(found)) == len(found)
    assert len({sum(one.depths) for one in found} - {sum(shape.depths)}) <= 1
    for one in found:
        assert budget * (1 - within) <= amount(one) <= budget
        assert amount(Shape(one.depths, one.width + 1)) > budget
        assert sum(one.depths) <= sum(shape.depths) + MAX_EXTRA_BLOCKS


def test_a_final_step_keeps_to_multiples_of_the_width_step() -> None:
    candidates = final_step_candidates(
        Shape((2,), 32), lambda s: s.width <= 47, lambda s: s.width >= 40, width_step=4
    )
    assert candidates == [Shape((2,), 44), Shape((3,), 44)]


@given(st.integers(0, 1000))
def test_the_largest_that_fits(most: int) -> None:
    shape = Shape((1, 2), 8)
    assert widest_fitting(shape, lambda s: s.width <= 8 + most) == Shape((1, 2), 8 + most)
    assert widest_fitting(shape, lambda s: s.width < 8) is None


def test_blocks_may_go_to_several_stages() -> None:
    # Neither one block nor two in one stage are close enough, one in each of two stages is.
    wanted = (2, 1, 2)
    found = final_step_candidates(
        Shape((1, 1, 1), 8), lambda s: s.width == 8, lambda s: s.depths == wanted
    )
    assert found == [Shape(wanted, 8)]
