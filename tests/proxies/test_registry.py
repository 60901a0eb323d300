"""The table of measures; repeats split in any way give one measurement's scores, to the bit."""

import json
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
from proxies import Proxy, Readings, Score, combine, measure, measure_repeats
from proxies.registry import Registry, UnknownNameError, register


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'params' is already registered"):
        register(Proxy("params", "", "higher", "", lambda model, inputs: 0.0))


@pytest.mark.parametrize(
    ("module", "replaced"), [("__main__", True), ("another_module", False), ("proxies.own", False)]
)
def test_only_a_cell_that_runs_again_replaces_what_has_no_name(
    module: str, replaced: bool
) -> None:
    values = [eval("lambda *_: 0.0", {"__name__": module}) for _ in range(2)]
    things: Registry[object] = Registry("thing")
    things.register("one", values[0])
    if replaced:
        assert things.register("one", values[1]) is things["one"]
    else:
        with pytest.raises(ValueError, match="'one' is already registered"):
            things.register("one", values[1])


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


def test_threads_wait_for_the_measures_and_a_failed_import_is_repeated() -> None:
    code = """if True:
        import sys, threading, proxies
        sys.modules["torch"] = None
        try:
            proxies.get_proxy("naswot")
        except ImportError:
            del sys.modules["torch"]
        names = []
        look = lambda: names.append(proxies.get_proxy("naswot").name)
        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert names == ["naswot"] * 4, names
        """
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
    chosen = arguments(seed, sum(map(len, split)))
    whole = measure(build, NAMES, **chosen)
    parts = [measure_repeats(build, NAMES, only=only, **chosen) for only in split]
    assert same(combine(parts), whole)
    through = [Readings.from_json(json.loads(json.dumps(part.to_json()))) for part in parts]
    assert through == parts
    assert same(combine(through), whole)


def test_these_seeds_cover_failures_after_values() -> None:
    found = [measure(build, ["weight"], **arguments(seed, 4))["weight"] for seed in range(31)]
    lengths = {len(score.values) for score in found if score.reason}
    assert lengths >= {1, 2, 3}
    assert {score.reason.partition(": ")[2] for score in found} >= {
        "",
        "not positive",
        "the first weight is far below zero",
    }


def test_a_failed_build_is_split_like_a_failed_measure() -> None:
    def build_some() -> nn.Module:
        if torch.rand(1).item() < 0.5:
            raise RuntimeError("unlucky")
        return build()

    for seed in range(8):
        chosen = arguments(seed, 3)
        whole = measure(build_some, NAMES, **chosen)
        parts = [measure_repeats(build_some, NAMES, only=[r], **chosen) for r in (2, 0, 1)]
        assert same(combine(parts), whole)


def test_names_repeats_and_parts_may_come_one_by_one() -> None:
    options = arguments(0, 3)
    whole = measure(build, ["length_distortion"], **options)
    assert same(measure(build, "length_distortion", **options), whole)
    assert same(measure(build, iter(["length_distortion"]), **options), whole)
    parts = (
        measure_repeats(build, "length_distortion", only=iter(only), **options)
        for only in ([2, 0], [1])
    )
    assert same(combine(parts), whole)


def test_what_does_not_depend_on_weights_is_read_once() -> None:
    found = measure_repeats(build, ["params"], only=[1, 2], repeats=3, image_size=SIDE)
    assert found.taken == {}
    found = measure_repeats(build, ["params"], repeats=3, image_size=SIDE, device="cpu")
    assert found.taken == {0: {"params": 196.0}}
    assert combine([found])["params"] == Score(196.0, 0, (196.0,), "higher")


ONE = Readings(("weight",), 2, {0: {"weight": 1.0}})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "readings of 0 measurements; combine those of one"),
        ([ONE, Readings(("weight",), 3, {})], "readings of 2 measurements; combine those of one"),
        ([ONE], "weight has no reading of repeat 1 of 2"),
        ([ONE, ONE], "repeat 0 is in two parts; give each repeat once"),
    ],
)
def test_parts_must_make_one_whole(parts: Sequence[Readings], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine(parts)


@pytest.mark.parametrize(
    ("repeats", "only", "message"),
    [
        (3, [3], "there is no repeat 3 of 3; use 0 to 2"),
        (3, [-1], "there is no repeat -1 of 3; use 0 to 2"),
    ],
)
def test_only_repeats_that_there_are(repeats: int, only: Sequence[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_repeats(build, ["params"], repeats=repeats, only=only, image_size=SIDE)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"names": ["a"], "repeats": 2},
        {"names": ["a"], "repeats": 2, "taken": []},
        {"names": ["a"], "repeats": "x", "taken": {}},
        {"names": ["a"], "repeats": 2, "taken": {"0": {"a": None}}},
        {"names": ["a"], "repeats": 2, "taken": {"0": 1}},
        [],
    ],
)
def test_strange_records_are_refused(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be read; use what to_json returned"):
        Readings.from_json(stored)
