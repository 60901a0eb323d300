"""Which norms count, and that a model comes back as it was."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, RmsNorm
from torch import nn

from proxies.features import evaluating, is_norm, logits, measured, pooled_feature

Hold = Callable[[nn.Module], AbstractContextManager[nn.Module]]


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.BatchNorm2d(4), nn.RMSNorm(4), RmsNorm(4)])
def test_norms_are_recognised(norm: nn.Module) -> None:
    assert is_norm(norm)


def test_other_modules_are_no_norms() -> None:
    assert not any(is_norm(module) for module in (nn.Linear(2, 2), nn.GELU(), nn.Dropout()))


def test_a_fused_activation_stays() -> None:
    fused = BatchNormAct2d(4, act_layer=nn.ReLU)
    with measured(fused, norms="bypassed"):
        x = torch.randn(2, 4, 3, 3)
        torch.testing.assert_close(fused(x), x.relu())


@pytest.mark.parametrize(
    "hold", [evaluating, partial(measured, norms="bypassed"), partial(measured, norms="kept")]
)
def test_everything_is_put_back_after_an_error(hold: Hold) -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=4)
    x = torch.randn(2, 3, 32, 32)
    expected = model.eval()(x)
    model.train()
    model.blocks.eval()
    precision = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with hold(model):
            assert not any(module.training for module in model.modules())
            inside = model(x)
            raise KeyboardInterrupt
    # Plain evaluation bypasses nothing.
    assert torch.equal(inside, expected) == (hold is evaluating)
    assert model.training
    assert not model.blocks.training
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert torch.backends.cuda.matmul.fp32_precision == precision
    torch.testing.assert_close(model.eval()(x), expected)


@pytest.mark.parametrize(
    ("name", "side"), [("vit_tiny_patch16_224", 32), ("convnext_atto", 64), ("pvt_v2_b0", 64)]
)
def test_the_feature_is_what_the_head_reads_before_the_last_norm(name: str, side: int) -> None:
    model = timm.create_model(name, num_classes=4, **({"img_size": side} if "vit" in name else {}))
    with measured(model, norms="kept"):
        feature = pooled_feature(model, torch.randn(2, 3, side, side))
    assert feature.shape == (2, model.num_features)
    # A final norm would leave unit variance over the features.
    assert (feature.std(dim=1) - 1).abs().min() > 0.05


def test_logits_are_what_the_model_gives() -> None:
    model = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, num_classes=4).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(logits(model, x), model(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (timm.create_model("resnet10t", num_classes=0), "ResNet has num_classes=0"),
        (nn.LSTM(3, 2), "LSTM gives tuple for 3 images"),
        (nn.Flatten(0), r"Flatten gives \(9,\) for 3 images"),
        (nn.Linear(3, 1), r"Linear gives \(3, 1\) for 3 images.*at least 2 classes"),
    ],
)
def test_what_has_no_logits(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        logits(model, torch.randn(3, 3))
