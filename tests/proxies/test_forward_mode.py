"""Every way to call fused attention, under dual numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import jvp
from torch.nn import functional as F

from proxies.forward_mode import DualOperations, ExplicitAttention, pack, unpack

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
    with torch.no_grad(), forward_ad.dual_level(), DualOperations():
        found = unpack(call(pack(TOKENS, TANGENT)))
    torch.testing.assert_close(found, expected)


def test_grouped_queries() -> None:
    q, k = TOKENS, TOKENS[:, :2]
    expected = F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    with ExplicitAttention():
        found = F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    torch.testing.assert_close(found, expected)


def test_random_attention_is_refused() -> None:
    with ExplicitAttention(), pytest.raises(ValueError, match=r"dropout 0\.1 is random"):
        attend(TOKENS, dropout_p=0.1)
