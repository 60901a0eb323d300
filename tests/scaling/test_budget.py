from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaling import Budget, parse_amount, parse_budgets, parse_milliseconds


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("88M", "params", 88_000_000),
        (" 88 m ", "params", 88_000_000),
        ("88e6", "params", 88_000_000),
        ("88000000", "params", 88_000_000),
        ("87.58M", "params", 87_580_000),
        ("900K", "params", 900_000),
        ("1500M", "params", 1_500_000_000),
        ("22G", "macs", 22_000_000_000),
        ("0.5g", "macs", 500_000_000),
        ("22e9", "macs", 22_000_000_000),
        ("12ms", "latency", 12_000),
        ("0.5s", "latency", 500_000),
        ("2.5ms", "latency", 2_500),
    ],
)
def test_what_can_be_written(text: str, unit: str, amount: int) -> None:
    assert Budget.parse(text) == Budget(unit, amount)


@pytest.mark.parametrize("text", ["88", "5000", "88.5", "22"])
def test_a_number_without_its_suffix_gets_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean {text}M .* or {text}G"):
        Budget.parse(text)


@pytest.mark.parametrize(
    "text", ["", "M", "-88M", "88MB", "88T", "nan", "inf", "1e999", "0", "0M", "88M88", "8" * 5000]
)
def test_what_is_no_budget_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="budget") as caught:
        Budget.parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("value", "amount"),
    [("600M", 600_000_000), ("1.72m", 1_720_000), ("2G", 2 * 10**9), ("40K", 40_000), (7, 7)],
)
def test_a_number_of_anything(value: str | int, amount: int) -> None:
    assert parse_amount(value) == amount


@pytest.mark.parametrize(
    "text", ["", "0", 0, -1, "-1", "5 MB", "nan", "0.4", "1.5", "0.0001K", "6h", "1" * 99]
)
def test_what_is_no_number_from_1(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"is not a number from 1, such as 600M") as caught:
        parse_amount(text)
    assert len(str(caught.value)) < 100


@given(st.sampled_from(["params", "macs", "latency"]), st.integers(1, 10**17))
@example("latency", 4_498_464_264_666_971)  # more digits than a float has
def test_the_text_of_a_budget_is_read_back(unit: str, amount: int) -> None:
    assert Budget.parse(str(Budget(unit, amount))) == Budget(unit, amount)


def test_a_list_is_sorted_and_of_one_unit() -> None:
    assert list(map(str, parse_budgets("88M,30M, 50M,30e6"))) == ["30M", "50M", "88M"]
    assert parse_budgets(["22G", "5G"])[-1] == Budget("macs", 22 * 10**9)
    with pytest.raises(ValueError, match=r"22G, 30M are of two units"):
        parse_budgets("30M,22G")
    with pytest.raises(ValueError, match="no budget"):
        parse_budgets([])


def test_numbers_are_as_their_texts() -> None:
    thirty = Budget("params", 30_000_000)
    same: list[Any] = [30_000_000, 3e7, thirty, [3e7], (thirty, 30_000_000)]
    for value in same:
        assert parse_budgets(value) == (thirty,)
    assert Budget.parse(22e9) == Budget("macs", 22 * 10**9)
    wrong: list[Any] = [88, None, True, [None]]
    for value in wrong:
        with pytest.raises(ValueError, match="budget '"):
            parse_budgets(value)


def test_numbers_of_numpy_are_as_pythons() -> None:
    budget = Budget("params", np.int64(30_000_000))
    assert budget == Budget.parse("30M")
    assert type(budget.amount) is int
    assert parse_milliseconds(np.float32(8)) == parse_milliseconds("8ms") == 8
