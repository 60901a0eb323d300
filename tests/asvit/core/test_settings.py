"""What follows from the metadata of settings: checks, presets, JSON, order."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.core.settings import fields_of, option_of
from asvit.core.shared_settings import MeasuringSettings
from proxies.registry import UnknownNameError
from tests.asvit.toy_run import TOY, ToyOptions, ToySettings
from tests.hostile import FIXED


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 2.0}, "steps must be a whole number, got 2.0"),
        ({"steps": True}, "steps must be a whole number, got True"),
        ({"steps": None}, "steps must be a whole number, got None"),
        ({"rate": 0}, "rate must be a number above 0 and at most 1, got 0"),
        ({"rate": 1.5}, "rate must be a number above 0 and at most 1, got 1.5"),
        ({"rate": math.nan}, "rate must be a number above 0 and at most 1, got nan"),
        ({"rate": "1"}, "rate must be a number above 0 and at most 1, got '1'"),
        ({"mode": "cubed"}, "mode must be plain or squared, got 'cubed'"),
        ({"again": 1}, "again must be true or false, got 1"),
        ({"name": ""}, "name must be a name, got ''"),
        ({"proxies": ()}, "proxies must name at least one measure, got none"),
        ({"proxies": ("a", "a")}, "proxies names 'a' more than once"),
        ({"limit": -1}, "limit must be at least 0, got -1"),
        ({"limit": 4}, "limit 4 is above 3 steps"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        ToySettings(**{"name": "x", **given_})
    assert str(caught.value) == message


settings = st.builds(
    ToySettings,
    name=st.text(min_size=1),
    steps=st.integers(1, 10**9),
    rate=st.floats(0, 1, exclude_min=True),
    mode=st.sampled_from(["plain", "squared"]),
    proxies=st.lists(st.text(), min_size=1, unique=True).map(tuple),
    limit=st.none() | st.just(0),
    again=st.booleans(),
)


@FIXED
@given(settings)
def test_settings_survive_json(made: ToySettings) -> None:
    assert ToySettings.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.difference(made) == {}


def test_settings_of_another_version_are_refused() -> None:
    right = ToySettings("x").to_json()
    with pytest.raises(ValueError, match="unknown setting 'depth'; another version of asvit may"):
        ToySettings.from_json({**right, "depth": 3})
    del right["steps"]
    with pytest.raises(ValueError, match="missing setting 'steps'; another version of asvit may"):
        ToySettings.from_json(right)


def test_given_settings_win_over_a_preset() -> None:
    assert ToySettings.make("few", name="x") == ToySettings("x", steps=2)
    assert ToySettings.make("few", name="x", steps=5).steps == 5
    with pytest.raises(UnknownNameError, match="use one of default, few"):
        ToySettings.make("many", name="x")
    with pytest.raises(TypeError, match="did you mean 'steps'"):
        ToySettings.make(name="x", step=5)


def test_a_run_takes_settings_and_options_by_name() -> None:
    run = TOY.make("few", name="x", out="there", hint="so")
    assert (run.settings.steps, str(run.folder), run.options.hint) == (2, "there", "so")
    with pytest.raises(TypeError, match="did you mean 'hint'"):
        TOY.make(name="x", hnt="so")


def test_own_fields_come_before_inherited_ones() -> None:
    names = [name for name, field in fields_of(ToyOptions).items() if option_of(field)]
    assert names == ["hint", "out", "fresh"]
    assert fields_of(ToySettings)["limit"].annotation == int | None


def test_paths_become_texts_and_other_objects_are_refused_in_a_line() -> None:
    settings = MeasuringSettings(data=Path("pictures") / "cats")
    assert settings == MeasuringSettings(data=str(Path("pictures", "cats")))
    json.dumps(settings.to_json())
    lines = type("Lines", (), {"__repr__": lambda _: "Network(\n  (0): Linear()\n)"})
    for name in ("data", "image_size", "device"):
        with pytest.raises(ValueError, match=rf"{name} must be .*, got Network\(\\n.*\)$"):
            MeasuringSettings(**{name: lines()})


def test_numbers_of_other_libraries_become_pythons() -> None:
    for steps, rate in ((np.int64(3), np.float32(0.5)), (np.uint8(3), Fraction(1, 2))):
        settings = ToySettings("toy", steps=steps, rate=rate)
        assert (type(settings.steps), type(settings.rate)) == (int, float)
        assert (settings.steps, settings.rate) == (3, 0.5)
    with pytest.raises(ValueError, match=r"steps must be a whole number, got 2\.5"):
        ToySettings("toy", steps=np.float64(2.5))
