"""The table of measures."""

import pytest

from proxies import PROXIES, Proxy, get_proxy
from proxies.registry import register


@pytest.mark.parametrize("name", PROXIES)
def test_every_measure_says_what_it_is(name: str) -> None:
    proxy = get_proxy(name)
    assert proxy.name == name
    assert proxy.better in ("higher", "lower", "reported")
    assert proxy.description
    assert proxy.paper


def test_a_miss_teaches() -> None:
    with pytest.raises(KeyError, match=r"unknown proxy 'ntk_condition'; did you mean"):
        get_proxy("ntk_condition")
    with pytest.raises(KeyError, match="use one of length_distortion"):
        get_proxy("???")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'params' is already registered"):
        register(Proxy("params", "", "higher", "", lambda model, inputs: 0.0))
