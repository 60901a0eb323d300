"""What lies within the limits of a search."""

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asvit.designs.settings import DesignSettings
from asvit.runs.algorithms import search
from asvit.search import SearchSettings
from asvit.search.limits import Excess, Limits
from asvit.spaces import cost, load_space

TINY = load_space("asvit-tiny")
FIRST = "4,4,2|2,2,2|2,1,2|2,1,2|16"


def limits(**given: Any) -> Limits:
    return Limits(TINY, SearchSettings.make(space="asvit-tiny", image_size=32, **given))


@given(
    st.integers(0, 999),
    st.none() | st.integers(2_000, 900_000),
    st.none() | st.integers(10_000, 3_000_000),
)
@settings(max_examples=30, deadline=None)
def test_networks_are_as_wide_as_the_limits_allow(
    seed: int, params: int | None, macs: int | None
) -> None:
    below = limits(trainings=9, max_params=params, max_macs=macs, classes=7)
    arch = TINY.sample(np.random.default_rng(seed))
    if params is macs is None:
        assert below.network(arch).width == 16
        return
    made, within = [], []
    for width in range(1, 120):  # brute force
        with contextlib.suppress(ValueError):  # too narrow for the heads
            made.append(arch.with_(width=width))
            size = cost(made[-1], 32, 7)
            if size.params <= (params or math.inf) and size.macs <= (macs or math.inf):
                within.append(made[-1])
    found = below.network(arch)
    assert found == below.shown(arch) == below.network(found)
    assert found == (within or made[:1])[-1]
    excess = below.excess(arch)
    assert (excess is None) == bool(within)
    if excess is not None:
        size = cost(found, 32, 7)
        shares = [have / most - 1 for have, most in ((size.params, params), (size.macs, macs))
                  if most is not None]  # fmt: skip
        assert excess.share == pytest.approx(max(shares))
        assert excess.share > 0


@pytest.mark.parametrize(
    ("device", "given", "multiple"),
    [
        ("cuda", {"max_macs": "100M"}, 8),
        ("cuda:1", {"max_params": "5M"}, 8),
        ("cuda", {"max_params": "20M", "max_macs": "99M"}, 1),
        ("cuda", {"max_macs": "1G", "width_multiple": 4}, 4),
        ("cuda", {"max_latency": "9ms"}, None),
        ("cpu", {"max_macs": "1G"}, 1),
    ],
)
@pytest.mark.parametrize("kind", [SearchSettings, DesignSettings])
def test_widths_are_multiples_for_gpus_and_networks_that_keep_them_busy(
    kind: Any,
    device: str,
    given: dict[str, Any],
    multiple: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "device_of", lambda name, workers: {"auto": device}[name])
    settings = search.with_multiple(kind.make(trainings=9, data="digits", **given), None)
    assert settings.width_multiple == multiple
    assert search.with_multiple(settings, None) == settings


def test_only_what_is_small_enough_is_timed() -> None:
    timed: list[str] = []

    def time(network: object) -> float:
        timed.append(str(network))
        return 9.0

    chosen = SearchSettings.make(
        space="asvit-tiny", trainings=9, max_latency="8ms", max_params="40K"
    )
    below, arch = Limits(TINY, chosen, time), TINY.parse(FIRST)
    told = "9 ms, more than 95% of the 8 ms allowed"
    assert below.excess(arch) == Excess(pytest.approx(9 / 7.6 - 1), told)
    assert below.excess(arch, timed=False) is None
    assert timed == [str(below.network(arch))]
    assert Limits(TINY, chosen, lambda _one: 7.61).excess(arch) is not None  # times vary
    assert Limits(TINY, chosen, lambda _one: 7.59).excess(arch) is None
    tiny = Limits(TINY, SearchSettings.make(space="asvit-tiny", max_latency=8, max_params=9), time)
    excess = tiny.excess(arch)
    assert "parameters" in excess.reason
    assert len(timed) == 1


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("CUDA error: unknown"), ChildProcessError("no route to pi")]
)
def test_a_device_that_fails_makes_no_network_too_slow(error: Exception) -> None:
    def time(_network: object) -> float:
        raise error

    options = SearchSettings.make(space="asvit-tiny", max_latency="8ms")
    with pytest.raises(type(error)):
        Limits(TINY, options, time).excess(TINY.parse(FIRST))


def test_limits_far_below_every_network_are_refused_after_a_few_draws() -> None:
    """Each of a thousand takes the time of a search for its width."""
    with pytest.raises(ValueError, match=r"^none of 20 architectures drawn .* the 5 allowed$"):
        limits(max_params=5).sample(np.random.default_rng(0))
