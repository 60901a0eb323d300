"""Scaling by hand: what each rule changes, and that it gives the largest within the budget."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies import Cost
from scaling import Budget
from scaling.rules import RULES, deeper, scale_by_rule
from scaling.shapes import shape_of
from tests.scaling.test_growth import Made, deep_and_wide, grown
from tests.scaling.test_growth import pyramid_cost as depths_and_width

START = shape_of((1, 1, 1, 1), 32, (2, 3, 2, 3))
BUDGETS = st.integers(1_200_000, 10**9).map(lambda amount: Budget("params", amount))


def cost(depths: tuple[int, ...], width: int, expansions: tuple[int, ...] = ()) -> Cost:
    wide = sum(expansions) * 10 * width**2
    counted = depths_and_width(depths, width)
    return Cost(counted.params + wide, counted.macs + 50 * wide)


@given(BUDGETS, st.sampled_from(list(RULES)))
def test_it_is_the_largest_within_the_budget(budget: Budget, name: str) -> None:
    found = scale_by_rule(RULES[name].family, START, cost, budget)
    assert cost(*found).params <= budget.amount
    family = RULES[name].family(START)
    number = next(n for n in range(10**6) if family(n) == found)
    larger = next(family(n) for n in range(number, 10**6) if family(n) != found)
    assert cost(*larger).params > budget.amount


@given(BUDGETS, st.sampled_from(list(RULES)))
def test_the_width_takes_what_is_left(budget: Budget, name: str) -> None:
    rule = RULES[name]
    family, found = (
        scale_by_rule(rule.family, START, cost, budget),
        rule.largest(START, cost, budget),
    )
    assert cost(*found).params <= budget.amount
    assert (found.depths, found.expansions) == (family.depths, family.expansions)
    assert found == family or rule.lands
    if rule.lands:
        assert cost(*found.wider(found.width + 1)).params > budget.amount


def test_what_each_changes() -> None:
    budget = Budget.parse("60M")
    found = {n: scale_by_rule(rule.family, START, cost, budget) for n, rule in RULES.items()}
    assert found["depth"].width == 32
    assert max(found["depth"].depths) - min(found["depth"].depths) <= 1
    assert found["width"].depths == (1, 1, 1, 1)
    assert found["aspect"].width / 32 == pytest.approx(found["aspect"].depths[0], rel=0.15)
    assert found["width"].width > found["aspect"].width > found["compound"].width > 32
    for name, shape in found.items():
        assert (shape.expansions != START.expansions) == RULES[name].expansions


def test_hidden_widths_grow_fastest_until_they_may_not() -> None:
    family = RULES["shape"].family(shape_of((10, 10), 1000, (2, 3)))
    four = family(400)  # compute times 4
    assert four.depths == (round(10 * 4**0.45),) * 2
    assert four.width == round(1000 * 4**0.22)
    assert four.expansions == (math.floor(2 * 4**0.38 + 0.5), math.floor(3 * 4**0.38 + 0.5))
    assert family(4000).expansions == (6, 6)
    assert RULES["shape"].family(shape_of((1,), 8, (9,)))(4000).expansions == (9,)  # never smaller


def test_members_in_turn() -> None:
    assert [deeper(START)(n).depths for n in (0, 1, 5)] == [
        (1, 1, 1, 1), (2, 1, 1, 1), (3, 2, 2, 2),
    ]  # fmt: skip
    compound = RULES["compound"].family(START)
    assert compound(0) == START
    # 1.2^4 = 2.07, 1.1^4 = 1.46
    assert compound(800)[:2] == ((2, 2, 2, 2), 47)


def test_a_budget_below_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="within 1M"):
        scale_by_rule(deeper, START, cost, Budget.parse("1M"))


@pytest.mark.parametrize("name", RULES)
def test_a_series_has_the_largest_within_each_budget(name: str) -> None:
    stops = [Budget.parse(text) for text in ("5M", "20M", "60M")]
    found = grown("60M", cost=cost, expansions=START.expansions, rule=name, budgets=["20M", "5M"])
    assert found.steps[0].kind == "start"
    assert {step.kind for step in found.steps[1:]} == {"rule"}
    rule = RULES[name]
    expected = [START, *(rule.largest(START, cost, stop) for stop in stops)]
    assert [step.chosen.shape for step in found.steps] == list(dict.fromkeys(expected))
    assert all(step.candidates == (step.chosen,) for step in found.steps[1:])


def test_a_rule_needs_no_measure_to_choose_by() -> None:
    series = grown("60M", Made(lambda shape: (math.nan, math.nan)), rule="width")
    assert [step.kind for step in series.steps] == ["start", "rule"]
    assert series.reached
    assert all("singular" in row.reason for row in series.rows())


@pytest.mark.parametrize("name", RULES)
def test_budgets_below_the_start_have_no_step(name: str) -> None:
    params = cost(*START).params
    below = Budget.parse(f"{int(0.99 * params)}")
    series = grown("60M", cost=cost, expansions=START.expansions, rule=name, budgets=[below])
    assert [step.kind for step in series.steps] == ["start", "rule"]
    alone = grown(str(below.amount), cost=cost, expansions=START.expansions, rule=name)
    assert alone.reached
    assert [step.chosen.shape for step in alone.steps] == [START]


def test_expansions_grow_as_blocks_do() -> None:
    made = Made(lambda shape: (sum(shape.expansions), sum(shape.depths)))  # both like expansions
    found = grown("20M", made, cost, expansions=(2, 2, 2, 2))
    first, second = found.steps[:2]
    assert len(second.candidates) == 2 * 4 * 3  # widths 32, 36, 40
    assert first.chosen.expansions == (2, 2, 2, 2)
    assert sum(second.chosen.expansions) == 9
    assert second.chosen.depths == (1, 1, 1, 1)
    assert found.reached
    assert "|3,2,2,2" in found.rows()[1].architecture
    made = Made(deep_and_wide)
    found = grown("20M", made, cost, expansions=(2, 2, 2, 2))
    assert found.reached
    assert all(shape.expansions for shape in made.asked)
