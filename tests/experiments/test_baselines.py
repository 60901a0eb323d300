import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.baselines import FAMILIES, compound, deeper, scale_at_random, scale_by_rule
from scaling import Budget, Shape
from tests.scaling.test_growth import pyramid_cost as cost

START = Shape((1, 1, 1, 1), 32)


BUDGETS = st.integers(1_100_000, 10**9).map(lambda amount: Budget("params", amount))


@given(BUDGETS, st.sampled_from(list(FAMILIES)))
def test_by_hand_is_the_largest_within_the_budget(budget: Budget, name: str) -> None:
    found = scale_by_rule(FAMILIES[name], START, cost, budget)
    assert cost(*found).params <= budget.amount
    family = FAMILIES[name](START)
    number = next(n for n in range(10**6) if family(n) == found)
    larger = next(family(n) for n in range(number, 10**6) if family(n) != found)
    assert cost(*larger).params > budget.amount


def test_what_each_changes() -> None:
    budget = Budget.parse("20M")
    deep, wide, both = (scale_by_rule(family, START, cost, budget) for family in FAMILIES.values())
    assert deep.width == 32
    assert max(deep.depths) - min(deep.depths) <= 1
    assert wide.depths == (1, 1, 1, 1)
    assert both.width > 32
    assert min(both.depths) > 1


def test_members_in_turn() -> None:
    assert [deeper(START)(n).depths for n in (0, 1, 5)] == [
        (1, 1, 1, 1), (2, 1, 1, 1), (3, 2, 2, 2),
    ]  # fmt: skip
    assert compound(START)(0) == START
    # 1.2^4 = 2.07, 1.1^4 = 1.46
    assert compound(START)(800) == Shape((2, 2, 2, 2), 47)


@given(BUDGETS, st.integers(0, 100))
def test_at_random_is_repeatable_and_within_the_budget(budget: Budget, seed: int) -> None:
    found, again = (
        scale_at_random(START, cost, budget, np.random.default_rng(seed)) for _ in range(2)
    )
    assert found == again
    assert cost(*found).params <= budget.amount
    assert cost(found.depths, found.width + 1).params > budget.amount


def test_a_budget_below_the_start_is_refused() -> None:
    budget = Budget.parse("1M")
    with pytest.raises(ValueError, match="within 1M"):
        scale_by_rule(deeper, START, cost, budget)
    with pytest.raises(ValueError, match="within 1M"):
        scale_at_random(START, cost, budget, np.random.default_rng(0))
