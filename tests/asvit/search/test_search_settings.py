"""Settings of searches; what holds for all settings is in ``core/test_settings.py``."""

from typing import Any

import pytest

from asvit.core.errors import WrongOption
from asvit.runs.search import SEARCH
from asvit.search import SearchSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 4, "controller": "tpe"}, "batch=4 does not suit controller 'tpe'"),
        ({"controller": "predictor", "trainings": 4}, "trainings=4 are too few to learn from"),
        ({"controller": "predictor", "steps": 30}, "steps=30 is for searches that measure"),
        (
            {"trainings": 9, "proxies": ("snip",)},
            "is for searches that measure, and this one trains",
        ),
        ({"trainings": 9, "repeats": 2}, "repeats=2 is for searches that measure"),
        ({"proxies": ("accuracy", "params")}, "give trainings, too, and no other measures"),
        ({"width": 8}, "width=8 is for searches that train, and this one measures;"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        SearchSettings.make(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"controller": "predictor"},
        {"controller": "random", "trainings": 24},
        {"controller": "random", "proxies": "accuracy"},
    ],
)
def test_a_search_trains_where_anything_asks_for_trainings(given: dict[str, Any]) -> None:
    made = SearchSettings.make(**given)
    assert (made.proxies, made.trainings, made.trials) == (("accuracy",), 24, 20)
    assert (made.image_size, made.batch) == (32, 4)
    assert SearchSettings.from_json(made.to_json()) == made
    assert SearchSettings.make(**given, image_size=48, batch=2).image_size == 48


def test_a_limit_takes_the_place_of_the_width() -> None:
    made = SearchSettings(controller="predictor", max_macs="1.72M", max_params=5_000)
    assert (made.max_macs, made.max_params, made.width) == (1_720_000, 5_000, None)
    assert made.sized
    assert made.limited
    assert SearchSettings.from_json(made.to_json()) == made
    assert "at most 5,000 parameters, at most 1,720,000 multiply-adds" in made.in_words()
    given = SearchSettings(controller="predictor", max_macs="1.72M", width=8)
    assert given.limited
    assert not given.sized
    assert SearchSettings.make(max_macs="1.72M").sized  # of a search by measures, too
    assert SearchSettings.make(trainings=9).width == 16


@pytest.mark.parametrize("more", [{}, {"max_latency": "9ms"}, {"trainings": 9}])
def test_a_multiple_of_widths_without_a_limit_is_refused(more: dict[str, Any]) -> None:
    message = "width_multiple=8 is for max_params and max_macs; give one of them, too"
    with pytest.raises(WrongOption, match=message):
        SEARCH.make(width_multiple=8, **more)
    SearchSettings.make(width_multiple=8, max_params="1M", **more)


def test_a_limit_of_time_has_a_unit() -> None:
    made = SearchSettings.make(max_latency="0.5s", latency_batch=4)
    assert made.max_latency == 500.0
    assert made.limited
    assert not made.sized
    assert "at most 500 ms for 4 image(s)" in made.in_words()
    assert SearchSettings.from_json(made.to_json()) == made
    with pytest.raises(ValueError, match="latency_batch=4 is for max_latency"):
        SearchSettings.make(latency_batch=4)
    for wrong in ("0ms", "8", "8 ms s", "8min", "-1ms", 0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"is not a time above 0, such as 8ms or 0\.5s"):
            SearchSettings.make(max_latency=wrong)
    for wrong in ("5 M", "5X", "0", "M", -3, "5m!"):
        with pytest.raises(ValueError, match="is not a number from 1, such as 600M"):
            SearchSettings.make(max_params=wrong)


def test_a_search_of_the_other_kind_is_another_run_and_shows_its_own_settings() -> None:
    measures, trainings = SearchSettings.make(), SearchSettings.make(trainings=9)
    assert "steps" in measures.effective().keys() - trainings.effective().keys()
    assert "flip" in trainings.effective().keys() - measures.effective().keys()
    for made in (measures, trainings):
        assert SearchSettings.from_json(made.to_json()) == made
    assert measures.difference(trainings) == {"search": ("by architectures", "by trainings")}
    assert SearchSettings.make("quick", trainings=9).training_steps == 150
    assert SearchSettings.make("quick").image_size == 64
