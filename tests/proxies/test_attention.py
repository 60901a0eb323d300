"""The directional derivative of attention against PyTorch's own, block by block."""

import pytest
import torch
from torch import Tensor
from torch.func import jvp

import proxies.attention
from proxies.attention import attention, attention_with_tangent, explicit_attention


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    scores = q @ k.transpose(-1, -2) * scale
    return torch.softmax(scores if bias is None else scores + bias, -1) @ v


def draw(*shape: int) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64
    )


# Blocks of several maps, of one map, and of a few rows of one.
@pytest.mark.parametrize("block", [1 << 19, 200, 30])
@pytest.mark.parametrize(
    ("tokens", "sources", "width", "bias"),
    [(12, 12, 4, None), (12, 7, 5, None), (12, 12, 4, (3, 12, 12)), (12, 12, 4, (1, 12))],
)
def test_equals_forward_mode_of_the_plain_form(
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    tokens: int,
    sources: int,
    width: int,
    bias: tuple[int, ...] | None,
) -> None:
    monkeypatch.setitem(proxies.attention._BLOCK_SCORES, "cpu", block)
    q, dq = draw(2, 3, tokens, 4), 2 * draw(2, 3, tokens, 4).flip(-1)
    k, dk = draw(2, 3, sources, 4).flip(1), draw(2, 3, sources, 4).flip(2)
    v, dv = draw(2, 3, sources, width), draw(2, 3, sources, width).flip(0)
    added = None if bias is None else draw(*bias)
    expected = jvp(lambda *x: plain(*x, added, 0.7), (q, k, v), (dq, dk, dv))
    found = attention_with_tangent(q, k, v, (dq, dk, dv), bias=added, scale=0.7)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_missing_tangents_are_zero() -> None:
    q, k, v = draw(1, 2, 6, 4), draw(1, 2, 6, 4).flip(0), draw(1, 2, 6, 4).flip(1)
    found = attention_with_tangent(q, k, v, (None, k, None))
    expected = attention_with_tangent(q, k, v, (torch.zeros_like(q), k, torch.zeros_like(v)))
    torch.testing.assert_close(found, expected)


def test_large_scores_do_not_overflow() -> None:
    q = draw(1, 1, 8, 4) * 1e3
    out, tangent = attention_with_tangent(q, q, q, (q, q, q))
    assert out.isfinite().all()
    assert tangent.isfinite().all()


@pytest.mark.parametrize("step", [8, 1 << 20])
def test_explicit_attention_in_blocks(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(proxies.attention, "_BLOCK_SCORES_ELSEWHERE", 8 * step)
    q, k, v = draw(2, 3, 12, 4), draw(2, 3, 9, 4), draw(2, 3, 9, 5)
    for bias in (None, draw(12, 9), draw(3, 1, 9)):
        found = explicit_attention(q, k, v, bias=bias)
        torch.testing.assert_close(found, plain(q, k, v, bias, 0.5))


@pytest.mark.parametrize("block", [1 << 19, 200, 30])
@pytest.mark.parametrize(
    ("tokens", "sources", "width", "bias"),
    [(12, 12, 4, None), (12, 7, 5, None), (12, 12, 17, (3, 12, 12)), (12, 12, 4, (1, 12))],
)
def test_backward_pass_equals_pytorch_s(
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    tokens: int,
    sources: int,
    width: int,
    bias: tuple[int, ...] | None,
) -> None:
    monkeypatch.setitem(proxies.attention._BLOCK_SCORES, "cpu", block)
    inputs = [
        x.requires_grad_()
        for x in (
            draw(2, 3, tokens, 4),
            draw(2, 3, sources, 4).flip(1),
            draw(2, 3, sources, width),
        )
    ]
    added = None if bias is None else draw(*bias)
    out = attention(*inputs, bias=added, scale=0.7)
    expected = plain(*inputs, added, 0.7)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    gradient = draw(2, 3, tokens, width).flip(-1)
    torch.testing.assert_close(
        torch.autograd.grad(out, inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
        rtol=1e-12,
        atol=1e-12,
    )


def test_a_bias_that_needs_a_gradient_gets_one() -> None:
    q, bias = draw(1, 2, 6, 4), draw(2, 6, 6).requires_grad_()
    gradient = torch.autograd.grad(attention(q, q, q, bias=bias).sum(), bias)[0]
    expected = torch.autograd.grad(plain(q, q, q, bias, 0.5).sum(), bias)[0]
    torch.testing.assert_close(gradient, expected)
