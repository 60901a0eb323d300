"""DSS against a value by hand, its definition, and what counts as attention and as an MLP."""

import copy
import math
import re
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from proxies import dss
from proxies.synaptic import _parts
from tests.proxies.networks import Lambda, MultiHead, asvit_network, timm_network


def network() -> nn.Module:
    """Attention and a linear map, which form a block, and a head."""
    attention = Lambda(lambda made, x: made.value(x), value=nn.Linear(2, 2, bias=False))
    attention.__class__ = type("Attention", (Lambda,), {})
    block = Lambda(
        lambda made, x: made.expand(made.attention(x)),
        attention=attention,
        expand=nn.Linear(2, 2, bias=False),
    )
    model = Lambda(
        lambda made, x: made.head(made.block(x.flatten(1))),
        block=block,
        head=nn.Linear(2, 2, bias=False),
    )
    nn.init.eye_(model.head.weight)
    return model


def test_by_hand() -> None:
    model = network()
    with torch.no_grad():
        model.block.attention.value.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
        model.block.expand.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
    # By the attention's |A| = diag(3, 4), of nuclear norm 7, ∂R/∂A is (1, 3)ᵀ(1, 1), of √10 · √2.
    # Behind it is (3, 4): the saliencies of |M| = [[1, 2], [0, 1]] are 3, 8 and 4. No head.
    expected = 7 * math.sqrt(20) + 15
    assert dss(model, torch.empty(5, 1, 1, 2)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_equals_one_backward_pass(name: str) -> None:
    torch.manual_seed(0)
    build, side = timm_network(name)
    model = build()
    done = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for parameter in done.parameters():
            parameter.abs_()
    done(torch.ones(1, 3, side, side, dtype=torch.float64)).sum().backward()
    expected = 0.0
    for path, module in done.named_modules():
        if path.endswith((".attn.qkv", ".attn.proj")):
            w, g = module.weight.detach(), module.weight.grad
            expected += float(torch.linalg.svdvals(w).sum() * torch.linalg.svdvals(g).sum())
        if path.endswith((".mlp.fc1", ".mlp.fc2")):
            expected += float((module.weight.detach() * module.weight.grad).abs().sum())
    assert dss(model, torch.empty(2, 3, side, side)) == pytest.approx(expected, rel=1e-9)


def test_images_are_seen_for_their_shape_alone() -> None:
    torch.manual_seed(0)
    model = asvit_network("4,2,2|2,2,2|2,1,2|2,1,2|16,8", 32)()
    assert dss(model, torch.randn(3, 3, 32, 32)) == dss(model, torch.zeros(1, 3, 32, 32))


def named(model: nn.Module) -> dict[str, str]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: part for parameter, part in _parts(model).items()}


OURS = asvit_network("4,2,2|2,2,2|2,1,2|2,1,2|16,8", 32)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (OURS, 4 * 4),
        (timm_network("deit_tiny_patch16_224")[0], 2 * 4),
        (timm_network("swin_tiny_patch4_window7_224")[0], 6 * 4),
        (timm_network("pvt_v2_b0")[0], 4 * 5),
        (timm_network("pit_ti_224")[0], 3 * 4),
        (timm_network("vit_small_patch16_dinov3")[0], 2 * 4),
        (timm_network("crossvit_tiny_240")[0], None),
    ],
)
def test_parts_of_ours_and_of_timm(build: Callable[[], nn.Module], count: int | None) -> None:
    parts = named(build())
    assert any(".attn." in path for path in parts)
    assert count in (None, len(parts))
    for path, part in parts.items():
        assert part == ("attention" if ".attn." in path else "mlp")
        assert re.search(r"\.(attn|mlps?)\.", path)


def test_parts_of_torch() -> None:
    assert named(MultiHead()) == {
        "layer.self_attn.in_proj_weight": "attention",
        "layer.self_attn.out_proj.weight": "attention",
        "layer.linear1.weight": "mlp",
        "layer.linear2.weight": "mlp",
    }


def test_pooling_by_attention_is_a_head() -> None:
    small = {"img_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 2}
    model = timm.create_model("vit_base_patch16_siglip_224", num_classes=3, **small)
    assert {name.split(".")[0] for name in named(model)} == {"blocks"}


def test_a_shared_weight_counts_once() -> None:
    torch.manual_seed(0)
    model = network()
    model.block.expand.weight = model.block.attention.value.weight
    assert len(_parts(model)) == 1
