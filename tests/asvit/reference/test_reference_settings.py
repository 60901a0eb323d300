"""Settings and queries of correlations."""

from typing import Any

import pytest

from asvit.reference.settings import CorrelationQuery, CorrelationSettings


def test_settings_survive_json() -> None:
    settings = CorrelationSettings(image_size=64, radius=2.5, data="gaussian")
    assert CorrelationSettings.from_json(settings.to_json()) == settings


def test_a_query_survives_json() -> None:
    query = CorrelationQuery(proxies=("a", "a+b"), targets="top1", rows=9, max_params="30e6")
    assert query == CorrelationQuery.from_json(query.to_json())
    assert (query.targets, query.max_params) == (("top1",), "30M")
    assert query.most_params == 30_000_000
    assert CorrelationQuery().most_params is None


def test_presets_are_settings_and_given_ones_win() -> None:
    assert CorrelationSettings.make() == CorrelationSettings()
    assert CorrelationSettings.make("quick", repeats=4).repeats == 4
    assert all(
        CorrelationSettings.make(name).image_size is None for name in CorrelationSettings.presets
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"image_size": 1.5}, "image_size must be a whole number"),
        ({"images": 1}, "images must be at least 2"),
        ({"data": ""}, "data must be a name"),
        ({"radius": -1}, "radius must be"),
        ({"preset": "quik"}, "did you mean 'quick'"),
    ],
)
def test_settings_that_are_not_allowed(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CorrelationSettings.make(**given)


def test_no_such_setting() -> None:
    with pytest.raises(TypeError, match="did you mean 'repeats'"):
        CorrelationSettings.make(repeat=3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"proxies": ()}, "at least one measure"),
        ({"proxies": ("a", "a")}, "'a' more than once"),
        ({"proxies": 3}, "must be names of measures"),
        ({"targets": 3}, "targets must be names of accuracies, got 3"),
        ({"targets": (3,)}, "targets must be names of accuracies"),
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"max_params": 3}, "max_params must be a text such as '100M', got 3"),
        ({"max_params": "22G"}, "max_params must count parameters"),
        ({"max_params": "100"}, "did you mean 100M"),
        ({"max_params": "many"}, "'many'"),
    ],
)
def test_queries_that_are_not_allowed(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CorrelationQuery(**given)
