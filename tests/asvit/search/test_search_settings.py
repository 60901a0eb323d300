"""Settings of searches; what holds for all settings is in ``core/test_settings.py``."""

from typing import Any

import pytest

from asvit.search import SearchSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"repeats": True}, "repeats must be a whole number, got True"),
        ({"images": 1}, "images must be at least 2, got 1"),
        ({"points": 2}, "points must be at least 3, got 2"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"batch": 4, "controller": "tpe"}, "batch=4 does not suit controller 'tpe'"),
        ({"proxies": ("a", "b", "a")}, "proxies names 'a' more than once"),
        ({"proxies": (1,)}, "proxies must be names of measures"),
        ({"radius": "big"}, "radius must be 'sqrt_n', 'unit' or a positive number, got 'big'"),
        ({"radius": 0.0}, "radius must be"),
        ({"radius": True}, "radius must be"),
        ({"radius": float("inf")}, "radius must be"),
        ({"data": ""}, "data must be a name"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        SearchSettings(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_sets_some_and_one_name_is_a_list_of_one() -> None:
    quick = SearchSettings.make("quick", repeats=3)
    changed = SearchSettings(repeats=3, image_size=64, images=8)
    assert (quick, SearchSettings.make()) == (changed, SearchSettings())
    assert SearchSettings(proxies="length_distortion").proxies == ("length_distortion",)
