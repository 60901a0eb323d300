from typing import Any

import pytest

from asvit.growth import ScaleSettings

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"


def test_budgets_are_kept_in_one_form() -> None:
    settings = ScaleSettings(SEED, budgets="88e6, 30M,30000000")
    assert settings.budgets == ("30M", "88M")
    assert [budget.amount for budget in settings.limits] == [30_000_000, 88_000_000]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"budgets": "88"}, "did you mean 88M"),
        ({"budgets": "30M,22G"}, "two units"),
        ({"budgets": ()}, "no budget"),
        ({"stop_within": 0}, "stop_within must be a number above 0 and at most 1, got 0"),
        ({"stop_within": 2.0}, "stop_within must be a number above 0 and at most 1, got 2.0"),
        ({"ratio": True}, "ratio must be a number above 0"),
        ({"ratio": "1/4"}, "ratio must be a number above 0 and at most 1, got '1/4'"),
        ({"width_multiple": 0}, "width_multiple must be at least 1, got 0"),
        ({"count_size": 0}, "count_size must be at least 1, got 0"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"images": 1}, "images must be at least 2, got 1"),
        ({"proxies": ()}, "proxies must name at least one measure"),
        ({"radius": -1}, "radius must be"),
        ({"architecture": ""}, "architecture must be a name"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        ScaleSettings(**{"architecture": SEED, **given_})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_presets_are_valid_and_given_settings_win() -> None:
    for preset in ScaleSettings.presets:
        ScaleSettings.make(preset, architecture=SEED)
    assert ScaleSettings.make("quick", architecture=SEED, repeats=4).repeats == 4
    with pytest.raises(ValueError, match="use one of default, quick"):
        ScaleSettings.make("swift", architecture=SEED)
    with pytest.raises(TypeError, match="did you mean 'budgets'"):
        ScaleSettings.make(architecture=SEED, budget="88M")
