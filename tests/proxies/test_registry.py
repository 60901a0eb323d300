"""The table of measures, repeats split in any way, which give the same scores, and messages."""

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import proxies
from proxies import Proxy, Score, combine, measure, measure_repeats, register_measure
from proxies.messages import first_line, hint, nearest, unknown
from proxies.registry import Registry, UnknownNameError


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'params' is already registered"):
        register_measure("", name="params")(lambda model: 0.0)


def test_a_function_names_the_inputs_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(proxies.PROXIES, "given", None)  # removed again
    del proxies.PROXIES["given"]

    @register_measure("what it takes", better="reported")
    def given(model: nn.Module, labels: torch.Tensor, noise: torch.Tensor, seed: int) -> float:
        return seed + len(labels) + noise.std() ** 0

    inputs = proxies.Inputs(None, torch.zeros(6, 3, 4, 4, dtype=torch.uint8), torch.arange(6), 2)
    assert proxies.get_proxy("given").value(nn.Identity(), inputs) == 9
    assert given(nn.Identity(), inputs.labels, inputs.noise, 3) == 10


def test_a_function_takes_inputs_alone() -> None:
    with pytest.raises(ValueError, match="'odd' takes 'pictures', which is no input; use circle"):

        @register_measure("")
        def odd(model: nn.Module, images: torch.Tensor, pictures: int) -> float: ...


def test_only_the_same_definition_replaces_an_entry() -> None:
    things: Registry[object] = Registry("thing")
    for module in ("__main__", "__main__", "another_module"):
        code = {"__name__": module}
        exec("def measure(): ...", code)
        if module == "__main__":  # a notebook's cell that runs again
            assert things.register("one", code["measure"]) is things["one"]
        else:
            with pytest.raises(ValueError, match="'one' is already registered"):
                things.register("one", code["measure"])


def test_a_miss_is_a_key_error_and_a_value_error_that_teaches() -> None:
    things = Registry("fruit", {"apple": 1, "pear": 2})
    for kind in (KeyError, ValueError, UnknownNameError):
        with pytest.raises(kind, match=r"^unknown fruit 'aple'; did you mean 'apple'\?$"):
            things["aple"]
    with pytest.raises(UnknownNameError, match=r"^unknown fruit 'xyz'; use one of apple, pear$"):
        things["xyz"]
    with pytest.raises(KeyError, match=r"unknown proxy 'ntk_condition'; did you mean"):
        measure(build, ["ntk_condition"])
    assert things.get("xyz") is None
    assert "xyz" not in things


def test_importing_the_package_loads_no_torch_and_finding_a_measure_does() -> None:
    code = (
        "import sys, proxies; assert 'torch' not in sys.modules; "
        "assert 'length_distortion' in proxies.PROXIES; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SIDE = 8
NAMES = ("length_distortion", "weight", "params")


def build() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.GELU(), nn.Flatten())


@pytest.fixture(autouse=True, scope="module")
def _fails_by_chance() -> Iterator[None]:
    """A measure that needs a positive weight: it fails at some repeats of some seeds."""

    def value(model: nn.Module, inputs: proxies.Inputs) -> float:
        weight = float(model.get_parameter("0.weight").detach().flatten()[0])
        if weight < -0.1:
            raise ValueError("the first weight is far below zero")
        return weight if weight > 0 else math.nan

    proxies.PROXIES["weight"] = Proxy("weight", "", "higher", "", value, "not positive")
    yield
    del proxies.PROXIES["weight"]


def arguments(seed: int, repeats: int) -> dict[str, object]:
    return {"key": "a", "repeats": repeats, "seed": seed, "image_size": SIDE, "device": "cpu"}


def same(first: Mapping[str, Score], second: Mapping[str, Score]) -> bool:
    # repr tells all floats apart, and says that NaN is NaN.
    return repr(first) == repr(second)


@st.composite
def splits(draw: st.DrawFn) -> Sequence[Sequence[int]]:
    """The repeats of 1 to 4, each in one of some parts, in any order."""
    repeats = draw(st.integers(1, 4))
    parts = draw(st.lists(st.integers(0, 2), min_size=repeats, max_size=repeats))
    groups = [[r for r in range(repeats) if parts[r] == part] for part in range(3)]
    return draw(st.permutations(groups))


@settings(deadline=None, max_examples=40)
@given(split=splits(), seed=st.integers(0, 30))
def test_any_split_gives_the_whole(split: Sequence[Sequence[int]], seed: int) -> None:
    repeats = sum(map(len, split))
    chosen = arguments(seed, repeats)
    whole = measure(build, NAMES, **chosen)
    parts = [measure_repeats(build, NAMES, only=only, **chosen) for only in split]
    readings = {repeat: values for part in parts for repeat, values in part.items()}
    assert same(combine(NAMES, repeats, readings), whole)


def test_the_nearest_name_or_all_of_them() -> None:
    names = {"reinforce": 1, "random": 2}
    assert nearest("reinforc", names) == "reinforce"
    assert nearest("xyzzy", names) is None
    assert nearest("RANDOM", names) == "random"
    assert nearest("ONNX", ["Onnx", "onnx"]) in {"Onnx", "onnx"}
    assert hint("randm", names) == "did you mean 'random'?"
    assert hint("xyzzy", iter(names)) == "use one of reinforce, random"
    assert unknown("controller", "xyzzy", names) == (
        "unknown controller 'xyzzy'; use one of reinforce, random"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "a"),
        (ValueError("\n  a\nb"), "a"),
        (ValueError(), "ValueError"),
        (OSError(28, "No space left"), "[Errno 28] No space left"),
    ],
)
def test_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line
