"""Growth step by step: on made-up measures of made-up costs, and on real networks."""

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import asvit
from asvit.architectures.genotype import Genotype
from proxies import Cost, Score
from scaling import Budget, GrowthEvent, Shape, Step, Trajectory, grow, proposals
from scaling.growth import CostOf
from scaling.ranking import rank_sums

SIDE = 32


def pyramid_cost(depths: tuple[int, ...], width: int) -> Cost:
    """Roughly what a pyramid costs, without building it."""
    params = sum(depth * 12 * (width * 2**i) ** 2 for i, depth in enumerate(depths))
    return Cost(params + 1000 * width, 50 * params)


BETTER = {"length_distortion": "higher", "ntk_condition_number": "lower"}


def score(name: str, value: float, reason: str = "") -> Score:
    return Score(value, 0.0, (value,), BETTER[name], reason)


class Made:
    """Scores by a formula instead of a network, with a note of what was asked for."""

    def __init__(self, values: Callable[[Shape], tuple[float, float]]) -> None:
        self.values = values
        self.asked: list[Shape] = []

    def get(self, shape: Shape) -> Mapping[str, Score]:
        self.asked.append(shape)
        values = zip(BETTER, self.values(shape), strict=True)
        return {n: score(n, v, "" if v == v else "singular") for n, v in values}

    def __setitem__(self, shape: Shape, scores: object) -> None:
        raise AssertionError("nothing is measured")


def never(depths: tuple[int, ...], width: int) -> nn.Module:
    raise AssertionError("nothing is built")


def deep_and_wide(shape: Shape) -> tuple[float, float]:
    return shape.width * (1 + shape.depths[0]), sum(shape.depths) / shape.width


def grown(
    budget: str | float = "88M",
    made: Made | None = None,
    cost: CostOf = pyramid_cost,
    **settings: object,
) -> Trajectory:
    given = {"depths": (1, 1, 1, 1), "width": 32, "known": made or Made(deep_and_wide)}
    return grow(never, cost, budget=budget, **{**given, **settings})


def test_sizes_of_numpy_are_as_pythons() -> None:
    sizes = {"depths": np.ones(4, np.int8), "width": np.int8(32)}
    assert repr(grown("5M", **sizes)) == repr(grown("5M"))


def shape_of(step: Step) -> Shape:
    return Shape(step.chosen.depths, step.chosen.width)


@given(
    st.sampled_from(["2M", "5M", "30M", "88M", "4.4G", "1000000000"]),
    st.integers(0, 5),
    st.sampled_from([1, 4]),
)
@settings(max_examples=30, deadline=None)
def test_every_step_follows_the_rule(budget: str, salt: int, multiple: int) -> None:
    def values(shape: Shape) -> tuple[float, float]:
        return float(hash((shape, salt)) % 7), float(hash((salt, shape)) % 5)

    growth = grown(budget, Made(values), width_multiple=multiple)
    limit = Budget.parse(budget)
    assert growth.steps[0].kind == "start"
    for before, step in itertools.pairwise(growth.steps):
        assert step.number == before.number + 1
        assert step.chosen.cost.params > before.chosen.cost.params
        assert limit.of(step.chosen.cost) <= limit.amount
        shapes = [Shape(c.depths, c.width) for c in step.candidates]
        if step.kind == "grow":
            asked = proposals(shape_of(before), multiple=multiple)
            assert shapes == [s for s in asked if limit.of(pyramid_cost(*s)) <= limit.amount]
        columns = {n: [c.scores[n].value for c in step.candidates] for n in BETTER}
        sums = rank_sums(columns, BETTER)
        assert [c.rank_sum for c in step.candidates] == sums
        assert step.chosen.rank_sum == min(sums)
    assert [s.kind for s in growth.steps].count("land") <= 1
    gap = limit.gap(growth.steps[-1].chosen.cost)
    assert growth.reached == (0 <= gap <= 0.02)
    assert growth.reached or f"{gap * 100:.3g}% below" in growth.reason


def test_it_measures_at_a_quarter_and_counts_at_full_width() -> None:
    made = Made(deep_and_wide)
    found = grown("5M", made)
    assert made.asked[0] == Shape((1, 1, 1, 1), 8)
    for step in found.steps:
        for one in step.candidates or (step.chosen,):
            assert one.measured_width == one.width // 4
            assert one.cost == pyramid_cost(one.depths, one.width)


@pytest.mark.parametrize(("ratio", "width"), [(0.25, 32), (0.25, 37), (0.3, 48), (0.5, 8), (1, 9)])
@pytest.mark.parametrize("step", [1, 4])
def test_widths_of_a_step_are_measured_apart(ratio: float, width: int, step: int) -> None:
    made = Made(deep_and_wide)
    start = {"width": width // step * step, "width_step": step}
    _, *steps = grown("9M", made, ratio=ratio, **start).steps
    for one in steps:
        measured = [(c.depths, c.measured_width) for c in one.candidates]
        assert len(set(measured)) == len(measured)
    assert len({c.measured_width for c in steps[0].candidates}) > 1


@pytest.mark.parametrize("multiple", [1, 6])
def test_all_widths_are_multiples_of_the_step(multiple: int) -> None:
    formula = Made(deep_and_wide)
    trajectory = grown("3M", formula, width_step=4, width_multiple=multiple, width=36)
    assert len(trajectory.steps) > 1
    for step in trajectory.steps:
        candidates = step.candidates or (step.chosen,)
        assert len({one.shape for one in candidates}) == len(candidates)
        for one in candidates:
            assert one.width % (12 if step.kind == "grow" and multiple == 6 else 4) == 0
            assert one.measured_width == max(4, one.width // 16 * 4)
    assert {shape.width % 4 for shape in formula.asked} == {0}


def test_candidates_equal_in_every_measure_go_by_parameters() -> None:
    found = grown("88M", Made(lambda shape: (1.0, 1.0)))
    for step in found.steps[1:]:
        assert step.chosen.cost.params == min(c.cost.params for c in step.candidates)


def test_a_failure_ranks_worst() -> None:
    def values(shape: Shape) -> tuple[float, float]:
        return float(shape.width), math.nan if shape.depths[3] > 1 else float(shape.depths[2])

    found = grown("30M", Made(values))
    assert found.steps[1].chosen.depths[3] == 1
    kappas = [c.scores["ntk_condition_number"].value for c in found.steps[1].candidates]
    assert any(map(math.isnan, kappas))


def test_when_everything_failed_it_says_why() -> None:
    with pytest.raises(
        ValueError, match=r"all 12 candidates failed; for depths .*: singular"
    ) as e:
        grown("30M", Made(lambda shape: (math.nan, math.nan)))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budget": "900K"}, "budget 900K is below the start, which has 1,076,480 parameters"),
        ({"budget": "0.05G"}, "below the start, which has 52,224,000 multiply-adds"),
        ({"budget": "2000M"}, r"more than 1,000 times the start.*give at most 1076\.48M"),
        ({"budget": "88"}, "did you mean 88M"),
        ({"stop_within": 0.0}, "stop_within must be above 0"),
        ({"ratio": 1.5}, r"ratio must be above 0 and at most 1, got 1\.5"),
        ({"measures": ["extrinsic_curvature"]}, "extrinsic_curvature has no direction"),
        ({"budget": "5ms"}, "budget 5ms is a time; let cost return a proxies"),
        ({"width_multiple": 0}, "width_multiple"),
        ({"width": 0}, "width must be a positive multiple of 1, got 0"),
        ({"depths": (1, -1)}, r"depths must be 0 or more blocks .*, got \(1, -1\)"),
        ({"depths": ()}, "depths must be 0 or more blocks of one or more stages"),
        ({"width_step": 0}, "width_step must be at least 1"),
        ({"width_step": 3}, "width must be a positive multiple of 3, got 32"),
    ],
)
def test_what_cannot_be_grown_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        grown(**settings)
    assert "\n" not in str(caught.value)


def test_an_end_that_cannot_be_reached_says_so() -> None:
    def limited(depths: tuple[int, ...], width: int) -> Cost:
        if width > 40 or max(depths) > 3:
            raise ValueError("no such model")
        return pyramid_cost(depths, width)

    found = grown(cost=limited)
    assert not found.reached
    assert found.reason.startswith("no larger model is within 2% of 88M and can be built")
    assert max(found.steps[-1].chosen.depths) <= 3


def test_progress_tells_of_every_candidate_and_step() -> None:
    events: list[GrowthEvent] = []
    found = grown("5M", progress=events.append)
    assert [e.chosen for e in events if e.chosen] == list(found.steps)
    per_step = [e.measured for e in events if e.step == 1 and e.chosen is None]
    assert per_step == list(range(1, len(found.steps[1].candidates) + 1))
    done = [e.done for e in events]
    assert done == sorted(done)
    assert done[0] == 0.0
    assert done[-1] > 0.95


def test_an_as_vit_grows_and_again_without_measuring_anything() -> None:
    seed = Genotype.parse("4,8,2|2,4,2|2,2,2|2,1,2|16")
    known: dict[Shape, Mapping[str, Score]] = {}

    def build(depths: tuple[int, ...], width: int) -> nn.Module:
        return asvit.build(seed, image_size=32, depths=depths, width=width)

    def cost(depths: tuple[int, ...], width: int) -> Cost:
        return asvit.cost(seed.with_(depths=depths, width=width))

    start = {"depths": (1, 1, 1, 1), "width": 32, "budget": "4M", "known": known}
    found = grow(build, cost, **start, repeats=1, image_size=32, points=4, device="cpu")
    assert found.reached, found.reason
    assert all(s.valid for step in found.steps for s in step.chosen.scores.values())
    sizes = [step.chosen.cost.params for step in found.steps]
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 3
    assert found == grow(never, cost, **start)
