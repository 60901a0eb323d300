"""Scores over repeats: seeds by identity, the same inputs for all, failures with a reason."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import proxies
from proxies import Score, evaluation, measure, seed_for
from proxies.evaluation import (
    DeviceError,
    check_device,
)
from proxies.registry import Proxy
from tests.proxies.networks import Lambda

SIDE = 8


def build() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.GELU(), nn.Flatten())


def scores(**changes: object) -> dict[str, Score]:
    settings = {"key": "a", "repeats": 3, "image_size": SIDE, "device": "cpu"} | changes
    return measure(build, ["length_distortion", "ntk_condition_number"], **settings)


def test_value_is_the_mean_over_repeats() -> None:
    score = scores()["length_distortion"]
    assert len(set(score.values)) == 3
    assert score.value == pytest.approx(sum(score.values) / 3)
    spread = math.sqrt(sum((v - score.value) ** 2 for v in score.values) / 2)
    assert score.std == pytest.approx(spread)
    assert score.better == "higher"
    assert score.valid


def test_seeds_follow_identity_not_order_and_leave_torch_s_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = scores()
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(7)
    assert scores() == first
    assert scores(key="b") != first
    assert scores(seed=1) != first
    fewer = scores(repeats=2)["length_distortion"]
    assert fewer.values == first["length_distortion"].values[:2]
    assert seed_for(0, "a", 0) != seed_for(0, "a", 1) != seed_for(1, "a", 1)


@pytest.mark.parametrize("given", [None, [3, 1]])
def test_architectures_have_the_same_inputs_and_repeats_other_ones(
    given: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[proxies.Inputs] = []

    def value(model: nn.Module, inputs: proxies.Inputs) -> float:
        met.append(inputs)
        return 1.0

    monkeypatch.setitem(proxies.PROXIES, "probe", Proxy("probe", "", "higher", "", value))
    own = {} if given is None else {"images": torch.zeros(2, 3, SIDE, SIDE)}
    labels = None if given is None else torch.tensor(given)
    for key in ("a", "b"):
        settings = {"image_size": SIDE, "labels": labels, "device": "cpu", **own}
        measure(build, ["probe"], key=key, repeats=2, **settings)
    assert met[0].labels.dtype == torch.int64
    for inputs in met:
        assert torch.equal(inputs.labels, met[0].labels)
        assert torch.equal(inputs.images, met[0].images)
    assert given is None or met[0].labels.tolist() == given
    assert met[0].seed == met[2].seed != met[1].seed == met[3].seed
    assert torch.equal(met[0].circle.basis, met[2].circle.basis)
    assert not torch.equal(met[0].circle.basis, met[1].circle.basis)


def broken(model: nn.Module, x: Tensor) -> Tensor:
    raise KeyError("token")


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 2)),
            "mat1 and mat2 shapes cannot be multiplied",
        ),
        (lambda: nn.Linear(0, -1), "Trying to create tensor with negative dimension"),
        (lambda: Lambda(broken), "Lambda: 'token'"),
    ],
)
def test_a_failure_is_nan_with_a_reason(factory: Callable[[], nn.Module], reason: str) -> None:
    found = measure(factory, ["length_distortion"], repeats=3, image_size=SIDE, device="cpu")
    score = found["length_distortion"]
    assert math.isnan(score.value)
    assert not score.valid
    assert score.reason.startswith("repeat 1 of 3: ")
    assert reason in score.reason


MISTAKES = (
    KeyError("x"), IndexError("x"), TypeError("x"), ZeroDivisionError("x"), AttributeError("x"),
    SystemExit("x"), OSError("x"), StopIteration("x"),
)  # fmt: skip


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
def test_mistakes_of_networks_and_measures_are_failures(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    assert "x" in measure(raising(error), ["params"], image_size=SIDE)["params"].reason
    wrong = Proxy("wrong", "", "higher", "", raising(error))
    monkeypatch.setitem(proxies.PROXIES, "wrong", wrong)
    found = measure(build, ["wrong"], repeats=2, image_size=SIDE)["wrong"]
    assert math.isnan(found.value)
    assert "x" in found.reason
    if not isinstance(error, OSError):
        assert re.search(rf"{type(error).__name__}: .*\(test_evaluation.py:\d+\)", found.reason)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_interrupt_and_missing_memory_are_no_failures(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        measure(raising(error), ["params"], image_size=SIDE)
    wrong = Proxy("wrong", "", "higher", "", raising(error))
    monkeypatch.setitem(proxies.PROXIES, "wrong", wrong)
    with pytest.raises(type(error)):
        measure(build, ["wrong"], image_size=SIDE)


def test_a_device_that_computes_nothing_any_more_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All networks after this one would fail, too."""
    error = RuntimeError("CUDA error: device-side assert triggered\nmore about it")
    monkeypatch.setattr(torch.accelerator, "synchronize", raising(error))
    message = r"device cuda:1 computes nothing .* \(CUDA error: device-side assert triggered\);"
    with pytest.raises(DeviceError, match=message):
        check_device(torch.device("cuda:1"))
    monkeypatch.setattr(evaluation, "check_device", raising(DeviceError()))
    for factory in (raising(error), lambda: Lambda(broken)):
        with pytest.raises(DeviceError):
            measure(factory, ["length_distortion"], image_size=SIDE, device="cpu")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.inf, "repeat 1 of 2: the value is infinite"),
        *((large, "too large to be averaged") for large in (1e308, -1e308, 1e151)),
        *((other, "must be real number") for other in (None, "high", 1j)),
        (torch.ones(2), "only one"),
    ],
)
def test_what_is_no_usable_number_fails(
    monkeypatch: pytest.MonkeyPatch, value: Any, reason: str
) -> None:
    wrong = Proxy("wrong", "", "higher", "", lambda *_: value)
    monkeypatch.setitem(proxies.PROXIES, "wrong", wrong)
    found = measure(build, ["wrong"], repeats=2, image_size=SIDE)["wrong"]
    assert math.isnan(found.value)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": 0}, "repeats=0; use at least 1"),
        ({"images": torch.zeros(2, 3, 4, 4)}, "use one or more square ones"),
        ({"images": torch.zeros(0, 3, SIDE, SIDE)}, "use one or more square ones"),
        ({"images": torch.zeros(2, 3, 4, 8), "image_size": None}, "use one or more square ones"),
        ({"device": "abacus"}, "device 'abacus' is not available; use 'auto' or 'cpu'"),
        ({"device": "meta"}, "device 'meta' computes nothing; use 'auto' or 'cpu'"),
        ({"device": "mps"}, "device 'mps' is not available; use 'auto' or 'cpu'"),
        ({"labels": torch.tensor([1])}, "use one integer for each image"),
        ({"labels": torch.zeros(16)}, "use one integer for each image"),
    ],
)
def test_bad_arguments(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores(**changes)
