"""The directional derivative of attention against PyTorch's own, block by block."""

import pytest
import torch
from torch import Tensor
from torch.func import jvp

import proxies.forward_mode
from proxies.forward_mode import (
    AttentionCall,
    attention,
    attention_with_tangent,
    explicit_attention,
)


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


def test_missing_tangents_are_zero() -> None:
    q, k, v = draw(1, 2, 6, 4), draw(1, 2, 6, 4).flip(0), draw(1, 2, 6, 4).flip(1)
    call = AttentionCall(q, k, v)
    found = attention_with_tangent(call, (None, k, None))
    expected = attention_with_tangent(call, (torch.zeros_like(q), k, torch.zeros_like(v)))
    torch.testing.assert_close(found, expected)


def test_large_scores_do_not_overflow() -> None:
    q = draw(1, 1, 8, 4) * 1e3
    out, tangent = attention_with_tangent(AttentionCall(q, q, q), (q, q, q))
    assert out.isfinite().all()
    assert tangent.isfinite().all()


@pytest.mark.parametrize("step", [8, 1 << 20])
def test_explicit_attention_in_blocks(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(proxies.forward_mode, "_BLOCK_SCORES_ELSEWHERE", 8 * step)
    q, k, v = draw(2, 3, 12, 4), draw(2, 3, 9, 4), draw(2, 3, 9, 5)
    for bias in (None, draw(12, 9), draw(3, 1, 9)):
        found = explicit_attention(AttentionCall(q, k, v, bias))
        torch.testing.assert_close(found, plain(q, k, v, bias, 0.5))


@pytest.mark.usefixtures("_block")
def test_backward_pass_equals_pytorch_s(arguments: tuple[list[Tensor], Tensor | None]) -> None:
    inputs, added = arguments
    for x in inputs:
        x.requires_grad_()
    out = attention(AttentionCall(*inputs, added, 0.7))
    expected = plain(*inputs, added, 0.7)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    gradient = draw(*expected.shape).flip(-1)
    torch.testing.assert_close(
        torch.autograd.grad(out, inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
        rtol=1e-12,
        atol=1e-12,
    )


def test_a_bias_that_needs_a_gradient_gets_one() -> None:
    q, bias = draw(1, 2, 6, 4), draw(2, 6, 6).requires_grad_()
    gradient = torch.autograd.grad(attention(AttentionCall(q, q, q, bias)).sum(), bias)[0]
    expected = torch.autograd.grad(plain(q, q, q, bias, 0.5).sum(), bias)[0]
    torch.testing.assert_close(gradient, expected)
