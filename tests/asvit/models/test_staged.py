"""What timm asks of AsViT, ShiftViT and PSViT alike."""

from typing import Any, NamedTuple

import pytest
import timm
import torch
from torch import nn

from asvit.models import HALLUCINATED_HOSTS, PSVIT_PRESETS, SHIFTVIT_VARIANTS, ShiftViT
from asvit.models.asvit import SIZES

IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
PSVIT = {
    "cells": ("b-s", "s", "b"), "dims": (8, 12, 16), "heads": (2, 3, 4), "img_size": 64,
}  # fmt: skip


class Case(NamedTuple):
    """A small network: its name in timm, settings, widths, and the stride of stage 1."""

    name: str
    settings: dict[str, Any]
    widths: tuple[int, ...]
    stride: int


CASES = {
    "asvit": Case(
        "asvit",
        {"architecture": "5,4,2,2|2,2,3,1|3,1,2,2|2,1,2,1|32,32", "img_size": 64},
        (32, 64, 128, 256),
        4,
    ),
    "shiftvit": Case(
        "shiftvit_r2_tiny", {"depths": (1, 2, 1, 1), "width": 24}, (24, 48, 96, 192), 4
    ),
    "psvit 2d": Case("psvit_2d_tiny", PSVIT, (8, 12, 16), 8),
    "psvit 1d": Case("psvit_1d_tiny", PSVIT, (8, 12, 16), 16),
}
PYRAMIDS = [kind for kind in CASES if kind != "psvit 1d"]
every_network = pytest.mark.parametrize("kind", CASES)
every_pyramid = pytest.mark.parametrize("kind", PYRAMIDS)


def make(kind: str, **settings: Any) -> Any:
    case = CASES.get(kind, Case(kind, {}, (), 4))
    torch.manual_seed(0)
    return timm.create_model(case.name, **{"num_classes": 5, **case.settings, **settings})


def as_features(model: Any, level: torch.Tensor) -> torch.Tensor:
    """A map in the shape of the features, without a class token."""
    return level if isinstance(model, ShiftViT) else level.flatten(2).transpose(1, 2)


@pytest.mark.parametrize(
    ("indices", "wanted"), [(None, slice(None)), ((1, 2), slice(1, 3)), ((-1,), slice(-1, None))]
)
@every_pyramid
def test_features_only(kind, indices, wanted):
    case = CASES[kind]
    stages = range(len(case.widths))[wanted]
    given = {} if indices is None else {"out_indices": indices}
    model = make(kind, features_only=True, **given)
    assert model.feature_info.channels() == [case.widths[i] for i in stages]
    assert model.feature_info.reduction() == [case.stride * 2**i for i in stages]
    maps = model(IMAGE)
    shapes = [(2, case.widths[i], *(n // case.stride >> i for n in (64, 96))) for i in stages]
    assert [level.shape for level in maps] == shapes
    sum(level.square().sum() for level in maps).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@every_network
def test_intermediates_are_those_of_a_whole_forward_pass(kind):
    model = make(kind).eval()
    prefix = getattr(model, "num_prefix_tokens", 0)
    final, maps = model.forward_intermediates(IMAGE, norm=True)
    torch.testing.assert_close(final, model.forward_features(IMAGE))
    if kind in PYRAMIDS:
        torch.testing.assert_close(as_features(model, maps[-1]), final)
        _, (raw,) = model.forward_intermediates(IMAGE, [-1])
        torch.testing.assert_close(model.norm(as_features(model, raw)), final)
        maps = maps[:-1]
    for i, level in enumerate(maps):
        x, early = model.forward_intermediates(IMAGE, [i], stop_early=True)
        torch.testing.assert_close(early[0], level)
        torch.testing.assert_close(x[:, prefix:], as_features(model, level))


@every_pyramid
def test_pruned_features_equal_those_of_the_whole(kind):
    model = make(kind).eval()
    _, maps = model.forward_intermediates(IMAGE)
    assert model.prune_intermediate_layers([0, 1], prune_norm=True) == [0, 1]
    assert len(model._stages) == 2
    assert model.num_features == CASES[kind].widths[1]
    pruned = model.forward_intermediates(IMAGE, [0, 1], intermediates_only=True)
    torch.testing.assert_close(pruned, maps[:2])


@pytest.mark.parametrize(
    ("kind", "shape", "pool"),
    [
        ("asvit", (2, 6, 256), lambda tokens: tokens.mean(1)),
        ("shiftvit", (2, 192, 2, 3), lambda level: level.mean((2, 3))),
        ("psvit 2d", (2, 6, 16), lambda tokens: tokens.mean(1)),
        ("psvit 1d", (2, 7, 16), lambda tokens: tokens[:, 0]),
    ],
)
def test_forward_is_features_then_head(kind, shape, pool):
    model = make(kind).eval()
    features = model.forward_features(IMAGE)
    assert features.shape == shape
    pooled = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(pooled, pool(features))
    torch.testing.assert_close(model(IMAGE), model.head(pooled))


@every_network
def test_the_classifier_can_be_replaced(kind):
    model, image = make(kind).double().eval(), IMAGE.double()
    model.reset_classifier(7)
    assert model(image).shape == (2, model.num_classes) == (2, 7)
    assert abs(model.get_classifier().weight.std() - 0.02) < 0.006
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    features = model.forward_head(model.forward_features(image), pre_logits=True)
    torch.testing.assert_close(model(image), features)
    model.reset_classifier(4, "avg")
    assert model(image).shape == (2, 4)
    model.reset_classifier(4, "")
    channels = 1 if kind == "shiftvit" else -1
    features = model.forward_features(image).movedim(channels, -1)
    torch.testing.assert_close(model(image), model.head(features).movedim(-1, channels))
    with pytest.raises(ValueError, match=r"global_pool='max' is not one of .*'avg', ''"):
        model.reset_classifier(5, "max")


@every_network
def test_gradient_checkpointing_gives_the_same_gradients(kind):
    model = make(kind, drop_path_rate=0.3)
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        assert all(stage.grad_checkpointing is enable for stage in model._stages)
        torch.manual_seed(0)
        model(IMAGE).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        model.zero_grad()
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("asvit_*", SIZES),
        ("*shift*", SHIFTVIT_VARIANTS),
        ("*psvit*", PSVIT_PRESETS),
        ("hallucinated*", HALLUCINATED_HOSTS),
    ],
)
def test_published_networks_are_registered(pattern, names):
    assert timm.list_models(pattern) == sorted(names)
    for name in names:
        assert timm.get_pretrained_cfg(name).input_size == (3, 224, 224)
        assert timm.list_models(module=timm.model_entrypoint(name).__module__.split(".")[-1]) == (
            sorted(names)
        )


@every_network
def test_drop_path_ramps_up_over_the_blocks(kind):
    model = make(kind, drop_path_rate=0.5)
    rates = [part.drop_prob for part in model.modules() if type(part).__name__ == "DropPath"]
    blocks = 5 if kind == "shiftvit" else 6
    # The first block has rate 0, and so no drop-path.
    assert rates == pytest.approx([0.5 * i / (blocks - 1) for i in range(1, blocks)])
