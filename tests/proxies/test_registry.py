"""The table of measures."""

import subprocess
import sys

import pytest

from proxies import PROXIES, Proxy, get_proxy
from proxies.registry import Registry, UnknownNameError, register


@pytest.mark.parametrize("name", PROXIES)
def test_every_measure_says_what_it_is(name: str) -> None:
    proxy = get_proxy(name)
    assert proxy.name == name
    assert proxy.better in ("higher", "lower", "reported")
    assert proxy.description
    assert proxy.paper


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'params' is already registered"):
        register(Proxy("params", "", "higher", "", lambda model, inputs: 0.0))


def test_a_miss_is_a_key_error_and_a_value_error_that_teaches() -> None:
    things = Registry("fruit", {"apple": 1, "pear": 2})
    for kind in (KeyError, ValueError, UnknownNameError):
        with pytest.raises(kind, match=r"^unknown fruit 'aple'; did you mean 'apple'\?$"):
            things["aple"]
    with pytest.raises(UnknownNameError, match=r"^unknown fruit 'xyz'; use one of apple, pear$"):
        things["xyz"]
    with pytest.raises(KeyError, match=r"unknown proxy 'ntk_condition'; did you mean"):
        get_proxy("ntk_condition")
    assert things.get("xyz") is None
    assert "xyz" not in things


def test_importing_the_package_loads_no_torch_and_finding_a_measure_does() -> None:
    code = (
        "import sys, proxies; assert 'torch' not in sys.modules; "
        "assert 'length_distortion' in proxies.PROXIES; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
