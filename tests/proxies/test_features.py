"""The feature and state of a network; values that do not depend on what torch is set to."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import asvit
from proxies import PROXIES, Circle, Inputs, Score, measure
from proxies.features import measured, pooled_feature
from proxies.registry import standard_measures


def test_a_fused_activation_stays() -> None:
    fused = BatchNormAct2d(4, act_layer=nn.ReLU)
    x = torch.randn(2, 4, 3, 3)
    with measured(fused, norms="bypassed"):
        torch.testing.assert_close(fused(x), x.relu())


@pytest.mark.parametrize(
    ("name", "side"), [("vit_tiny_patch16_224", 32), ("convnext_atto", 64), ("pvt_v2_b0", 64)]
)
def test_the_feature_is_what_the_head_reads_before_the_last_norm(name: str, side: int) -> None:
    model = timm.create_model(name, num_classes=4, **({"img_size": side} if "vit" in name else {}))
    images = torch.randn(2, 3, side, side)
    with measured(model, norms="kept"):
        feature = pooled_feature(model, images)
    assert feature.shape == (2, model.num_features)
    # A final norm would leave unit variance over the features.
    assert (feature.std(dim=1) - 1).abs().min() > 0.05


SIDE = 32
TEXT = "5,2,2|3,1,2|2,1,2|2,1,3|16"


@contextmanager
def other_settings() -> Iterator[None]:
    """Everything that is set for the whole process, other than usual."""
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.set_default_dtype(torch.float64)
    try:
        anomalies, autocast = torch.autograd.set_detect_anomaly(True), torch.autocast("cpu")
        with anomalies, autocast, torch.device("meta"), torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)


def build() -> nn.Module:
    return asvit.build(TEXT, image_size=SIDE, num_classes=3)


def scores(key: str = "", names: Sequence[str] = standard_measures()) -> dict[str, Score]:
    with torch.device("cpu"):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(4, 3, SIDE, SIDE, generator=generator, dtype=torch.float32)
    return measure(build, names, key=key, repeats=1, images=images, device="cpu")


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_scores_do_not_depend_on_what_is_set_around() -> None:
    expected = scores()
    assert all(score.valid for score in expected.values())
    with other_settings():
        found = scores()
    assert repr(found) == repr(expected)


def test_a_network_with_checkpoints_is_measured_without_them() -> None:
    def plain() -> nn.Module:
        return timm.create_model("vit_tiny_patch16_224", img_size=SIDE, depth=2, patch_size=8)

    def checkpointed() -> nn.Module:
        network: Any = plain()
        network.set_grad_checkpointing(True)
        return network

    names = ("ntk_condition_number", "synflow", "length_distortion", "dss")
    images = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    options: Any = {"repeats": 1, "images": images, "device": "cpu"}
    assert measure(checkpointed, names, **options) == measure(plain, names, **options)


def test_a_compiled_network_is_measured_as_it_was_written() -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def written() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GELU())

    def compiled() -> nn.Module:
        return torch.compile(written(), backend="eager")

    # That of operations, which a graph hides.
    options: Any = {"repeats": 1, "images": images, "device": "cpu"}
    assert measure(compiled, "naswot", **options) == measure(written, "naswot", **options)


def inputs_of(images: Tensor) -> Inputs:
    circle = Circle.random((3, SIDE, SIDE), 3, generator=torch.Generator().manual_seed(0))
    return Inputs(circle, images, torch.arange(len(images)) % 3)


@pytest.mark.parametrize("name", standard_measures())
def test_each_measure_takes_tensors_of_inference_mode(name: str) -> None:
    model, images = build(), torch.randn(4, 3, SIDE, SIDE)
    expected = PROXIES[name].value(model, inputs_of(images))
    with torch.inference_mode():
        inside = inputs_of(images.clone())
        assert PROXIES[name].value(model, inside) == expected
    assert PROXIES[name].value(model, inside) == expected


@pytest.mark.parametrize("wrapper", [nn.DataParallel, AveragedModel])
@pytest.mark.parametrize("name", ["length_distortion", "ntk_condition_number", "snip"])
def test_a_wrapper_is_not_taken_for_the_network(name: str, wrapper: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="wraps another network; measure its attribute module"):
        PROXIES[name].value(wrapper(build()), inputs_of(torch.randn(4, 3, SIDE, SIDE)))


def test_threads_take_turns() -> None:
    def some(key: str) -> dict[str, Score]:
        return scores(key, ["length_distortion", "ntk_condition_number", "extrinsic_curvature"])

    expected = [some(key) for key in "abcd"]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(some, "abcd"))
    assert repr(found) == repr(expected)


NARROW = """
import torch
import asvit, proxies
for dtype in (torch.bfloat16, torch.float16):
    build = lambda: asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32).to(dtype)
    asked = dict(names=["length_distortion", "ntk_condition_number", "snip"], repeats=1)
    asked |= dict(images=torch.randn(8, 3, 32, 32), device="cpu")
    found = proxies.measure(build, **asked)
    assert found == proxies.measure(lambda: build().float(), **asked), found
    model, circle = build(), proxies.Circle.random((3, 32, 32), 3)
    wide, images = build().float(), torch.randn(8, 3, 32, 32).to(dtype)
    wide.load_state_dict(model.state_dict())
    for measure, inputs in ((proxies.curve_speed, circle), (proxies.ntk_matrix, images)):
        value = measure(model, inputs)
        assert torch.equal(value, measure(wide, inputs)), measure
        assert value.dtype in (torch.float32, torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
"""


def test_weights_of_few_digits_are_measured_in_float32() -> None:
    """In a process of its own: on one thread, products of torch may end the process (AMX)."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NARROW],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-1000:]
