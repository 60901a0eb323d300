"""Scaling by hand: what each rule changes, and that it gives the largest within the budget."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling import Budget, Shape
from scaling.shapes import RULES, compound, largest_fitting, within
from tests.scaling.test_growth import Made, grown
from tests.scaling.test_growth import pyramid_cost as cost

START = Shape((1, 1, 1, 1), 32)
BUDGETS = st.integers(1_200_000, 10**9).map(lambda amount: Budget("params", amount))


@given(BUDGETS, st.sampled_from(list(RULES)))
def test_it_is_the_largest_within_the_budget(budget: Budget, name: str) -> None:
    rule, fits = RULES[name], within(cost, budget)
    of_family, found = largest_fitting(rule.family(START), fits), rule.largest(START, cost, budget)
    assert of_family is not None
    assert found.depths == of_family.depths
    assert found.width >= of_family.width
    # The width takes what is left.
    assert cost(*found).params <= budget.amount < cost(found.depths, found.width + 1).params


def test_what_each_changes() -> None:
    budget = Budget.parse("60M")
    found = {name: rule.largest(START, cost, budget) for name, rule in RULES.items()}
    assert found["width"].depths == (1, 1, 1, 1)
    assert found["width"].width > found["compound"].width > 32
    assert min(found["compound"].depths) > 1


def test_compound_scaling_by_hand() -> None:
    family = compound(START)
    assert family(0) == START
    # 1.2^4 = 2.07, 1.1^4 = 1.46
    assert family(800) == Shape((2, 2, 2, 2), 47)


@pytest.mark.parametrize("name", RULES)
def test_a_series_has_the_largest_within_each_budget(name: str) -> None:
    stops = [Budget.parse(text) for text in ("5M", "20M", "60M")]
    found = grown("60M", rule=name, budgets=["20M", "5M"])
    assert found.steps[0].kind == "start"
    assert {step.kind for step in found.steps[1:]} == {"rule"}
    expected = [START, *(RULES[name].largest(START, cost, stop) for stop in stops)]
    assert [step.chosen.shape for step in found.steps] == list(dict.fromkeys(expected))
    assert all(step.candidates == (step.chosen,) for step in found.steps[1:])


def test_a_rule_needs_no_measure_to_choose_by() -> None:
    series = grown("60M", Made(lambda shape: (math.nan, math.nan)), rule="width")
    assert [step.kind for step in series.steps] == ["start", "rule"]
    assert series.reached
    assert all("singular" in row.reason for row in series.rows())
