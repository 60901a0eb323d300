"""Forward-mode rules and attention against PyTorch's own derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import jvp
from torch.nn import functional as F

import proxies.forward_mode
from proxies.forward_mode import (
    AttentionCall,
    DualOperations,
    ExplicitAttention,
    TwiceDifferentiable,
    attention_with_tangent,
)

TOKENS = torch.randn(2, 4, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TANGENT = TOKENS.flip(-1)
CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "causal": {"is_causal": True},
    "bias": {"attn_mask": TOKENS[0, 0, :, :6]},
    "boolean mask": {
        "attn_mask": torch.eye(6, dtype=torch.bool).roll(1, 0) | (TOKENS[0, 0, :, :6] > 0)
    },
}


def attend(x: Tensor, **kwargs: Any) -> Tensor:
    return F.scaled_dot_product_attention(x, x.flip(-2), 2 * x, **kwargs)


# One bias depends on the input.
BIASED = {"bias of the input": lambda x: attend(x, attn_mask=x @ x.transpose(-1, -2))}
ATTENTIONS = {name: partial(attend, **kwargs) for name, kwargs in CALLS.items()} | BIASED


@pytest.mark.parametrize("call", ATTENTIONS.values(), ids=ATTENTIONS)
def test_dual_numbers_pass_fused_attention(call: Callable[[Tensor], Tensor]) -> None:
    def spelt_out(x: Tensor) -> Tensor:
        with ExplicitAttention():
            return call(x)

    torch.testing.assert_close(spelt_out(TOKENS), call(TOKENS))
    expected = jvp(spelt_out, (TOKENS,), (TANGENT,))
    with torch.no_grad(), dual_level(), DualOperations():
        found = unpack_dual(call(make_dual(TOKENS, TANGENT)))
    torch.testing.assert_close(found, expected)


# Linear maps whose weight or bias depends on the input, and one called by keywords.
ROWS = TOKENS[0, 0]
LINEAR_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "weight": lambda x: F.linear(x, x.sin()),
    "weight alone": lambda x: F.linear(ROWS, x.sin()),
    "bias": lambda x: F.linear(x, ROWS, x[:, 0]),
    "kernel": lambda x: F.conv2d(x[None, None], x[None, None, :3, :3].sin()),
    "keywords": lambda x: F.linear(input=x, weight=ROWS),
    "positions": lambda x: F.linear(x, ROWS, ROWS[:, 0]),
}


@pytest.mark.parametrize("call", LINEAR_MAPS.values(), ids=LINEAR_MAPS)
def test_dual_numbers_pass_linear_maps(call: Callable[[Tensor], Tensor]) -> None:
    expected = jvp(call, (ROWS.cos(),), (ROWS,))
    with torch.no_grad(), dual_level(), DualOperations():
        found = unpack_dual(call(make_dual(ROWS.cos(), ROWS)))
    torch.testing.assert_close(found, expected)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLU": F.silu,
    "SiLU in place": lambda x: F.silu(x.clone(), inplace=True),
    "SiLU in place, result unused": lambda x: [y := x.clone(), F.silu(y, inplace=True)][0],
    "Mish": F.mish,
    "hard sigmoid": lambda x: x * F.hardsigmoid(x),
    "GLU": F.glu,
    "GLU of the first axis": lambda x: F.glu(x, dim=0),
}


@pytest.mark.parametrize("call", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations_are_differentiated_forward_twice(call: Callable[[Tensor], Tensor]) -> None:
    angles = torch.linspace(0, 6, 12, dtype=torch.float64)
    weights = torch.randn(12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def curve(theta: Tensor) -> Tensor:
        return call(3 * torch.sin(theta)[:, None] * weights)

    def velocity(theta: Tensor) -> Tensor:
        return jvp(curve, (theta,), (torch.ones_like(theta),))[1]

    with torch.no_grad(), TwiceDifferentiable():
        value = curve(angles)
        first, second = jvp(velocity, (angles,), (torch.ones_like(angles),))
        after, before = (curve(angles + step) for step in (1e-4, -1e-4))
    torch.testing.assert_close(value, curve(angles))
    torch.testing.assert_close(first, (after - before) / 2e-4, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(second, (after - 2 * value + before) / 1e-8, rtol=1e-4, atol=1e-4)


def test_random_attention_is_refused() -> None:
    with ExplicitAttention(), pytest.raises(ValueError, match=r"dropout 0\.1 is random"):
        attend(TOKENS, dropout_p=0.1)


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    scores = q @ k.transpose(-1, -2) * scale
    return torch.softmax(scores if bias is None else scores + bias, -1) @ v


def draw(*shape: int) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64
    )


@pytest.fixture(params=[1 << 19, 200, 30], ids=["several maps", "one map", "rows of a map"])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(proxies.forward_mode._BLOCK_SCORES, "cpu", request.param)


@pytest.fixture(
    params=[
        (12, 4, None),
        (7, 5, None),
        (12, 4, (3, 12, 12)),
        (12, 17, (3, 12, 12)),
        (12, 4, (1, 12)),
    ]
)
def arguments(request: pytest.FixtureRequest) -> tuple[list[Tensor], Tensor | None]:
    """Query of 12 tokens, key and value, and a bias."""
    sources, width, bias = request.param
    tokens = [draw(2, 3, 12, 4), draw(2, 3, sources, 4).flip(1), draw(2, 3, sources, width)]
    return tokens, None if bias is None else draw(*bias)


@pytest.mark.usefixtures("_block")
def test_equals_forward_mode_of_the_plain_form(
    arguments: tuple[list[Tensor], Tensor | None],
) -> None:
    (q, k, v), added = arguments
    dq, dk, dv = 2 * q.flip(-1), k.flip(1).flip(2), v.flip(0)
    expected = jvp(lambda *x: plain(*x, added, 0.7), (q, k, v), (dq, dk, dv))
    found = attention_with_tangent(AttentionCall(q, k, v, added, 0.7), (dq, dk, dv))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
