import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.search import SearchSettings


@given(
    st.builds(
        SearchSettings,
        steps=st.integers(1, 10**6),
        seed=st.integers(0, 2**40),
        images=st.integers(2, 100),
        radius=st.sampled_from(["sqrt_n", "unit", 1.5, 3]),
        proxies=st.sampled_from([("a",), ("a", "b")]),
    )
)
def test_settings_survive_json(settings: SearchSettings) -> None:
    assert SearchSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": -3}, "steps must be at least 1, got -3"),
        ({"steps": 2.5}, "steps must be a whole number, got 2.5"),
        ({"repeats": True}, "repeats must be a whole number, got True"),
        ({"images": 1}, "images must be at least 2, got 1"),
        ({"points": 2}, "points must be at least 3, got 2"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"batch": 4, "controller": "tpe"}, "batch=4 does not suit controller 'tpe'"),
        ({"proxies": ()}, "proxies must name at least one measure"),
        ({"proxies": ("a", "b", "a")}, "proxies names 'a' more than once"),
        ({"proxies": (1,)}, "proxies must be names of measures"),
        ({"radius": "big"}, "radius must be 'sqrt_n', 'unit' or a positive number, got 'big'"),
        ({"radius": 0.0}, "radius must be"),
        ({"radius": True}, "radius must be"),
        ({"radius": float("inf")}, "radius must be"),
        ({"data": ""}, "data must be a name"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        SearchSettings(**given_)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_presets_are_valid_and_given_settings_win() -> None:
    for name in SearchSettings.presets:
        SearchSettings.make(name)
    assert SearchSettings.make() == SearchSettings()
    assert SearchSettings.make("quick", repeats=3).repeats == 3
    assert SearchSettings.make("quick").image_size == SearchSettings.presets["quick"]["image_size"]


def test_unknown_names_teach() -> None:
    with pytest.raises(ValueError, match="unknown preset 'quik'; did you mean 'quick'"):
        SearchSettings.make("quik")
    with pytest.raises(TypeError, match="unknown setting 'step'; did you mean 'steps'"):
        SearchSettings.make(step=3)


def test_one_name_is_a_list_of_one() -> None:
    assert SearchSettings(proxies="length_distortion").proxies == ("length_distortion",)


def test_difference_names_both_values() -> None:
    one, other = SearchSettings(), SearchSettings(image_size=64, seed=2)
    assert one.difference(other) == {"image_size": (224, 64), "seed": (0, 2)}
    assert one.difference(one) == {}


def test_settings_of_a_newer_version_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown setting 'colour'"):
        SearchSettings.from_json({"colour": "red"})
