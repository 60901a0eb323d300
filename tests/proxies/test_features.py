"""Which norms count, and that a model comes back as it was."""

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, RmsNorm
from torch import nn

from proxies.features import evaluating, is_norm, logits, measured, pooled_feature


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


@pytest.mark.parametrize("norms", ["bypassed", "kept"])
def test_everything_is_put_back_after_an_error(norms: str) -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=4).train()
    model.blocks.eval()
    x = torch.randn(2, 3, 32, 32)
    model.eval()
    expected = model(x)
    model.train()
    model.blocks.eval()
    precision = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with measured(model, norms=norms):  # type: ignore[arg-type]
            assert not model.training
            raise KeyboardInterrupt
    assert model.training
    assert not model.blocks.training
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert torch.backends.cuda.matmul.fp32_precision == precision
    model.eval()
    torch.testing.assert_close(model(x), expected)


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


def test_evaluation_bypasses_nothing_and_ends_with_every_mode_as_it_was() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=4).train()
    model.blocks.eval()
    x = torch.randn(2, 3, 32, 32)
    precision = torch.backends.cuda.matmul.fp32_precision
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with evaluating(model):
            assert not any(module.training for module in model.modules())
            inside = model(x)
            raise KeyboardInterrupt
    assert torch.backends.cuda.matmul.fp32_precision == precision
    assert model.training
    assert not model.blocks.training
    torch.testing.assert_close(inside, model.eval()(x))


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
