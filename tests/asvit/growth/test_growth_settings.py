"""Settings of a growth."""

import re
from typing import Any

import pytest

from asvit.core.errors import WrongOption
from asvit.growth.settings import ScaleSettings
from asvit.runs.scaling import SCALE

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"


def test_budgets_are_kept_in_one_form() -> None:
    settings = ScaleSettings(SEED, budgets="88e6, 30M,30000000")
    assert settings.budgets == ("30M", "88M")
    assert [budget.amount for budget in settings.limits] == [30_000_000, 88_000_000]
    assert ScaleSettings(SEED, budgets=88e6).budgets == ("88M",)
    assert ScaleSettings(SEED, budgets=[30_000_000, "88M"]).budgets == ("30M", "88M")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"budgets": "88"}, "did you mean 88M"),
        ({"budgets": "30M,22G"}, "two units"),
        ({"budgets": ()}, "no budget"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        ScaleSettings(**{"architecture": SEED, **given_})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"latency_batch": 4}, "latency_batch is for times such as 12ms, not for a budget of 88M"),
        ({"latency_runtime": "onnx"}, "latency_runtime is for times such as 12ms"),
        ({"latency_command": "time {onnx}"}, "latency_command is for times such as 12ms"),
    ],
)
def test_what_a_growth_would_ignore_is_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongOption, match=re.escape(message)):
        SCALE.make(architecture=SEED, **given_)
