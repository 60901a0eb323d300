"""Rules for operations that PyTorch has no derivative, or a slow one, for.

PyTorch's fused attention has no forward-mode rule. Here a block of scores, its softmax and their
derivatives never leave the processor's cache, and the rest are matrix products padded to the width
of a vector register.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual

from proxies.functional import InterceptOperations, Operation, forms_of

# Scores in one block: two float32 buffers of 2 MB on a CPU, enough to keep an accelerator busy
# elsewhere.
_BLOCK_SCORES = {"cpu": 1 << 19}
_BLOCK_SCORES_ELSEWHERE = 1 << 28
# Products with fewer columns than a vector register is wide take up to twice as long.
_REGISTER_COLUMNS = 16


class AttentionCall(NamedTuple):
    """Arguments of the attention ``O = softmax(s QKᵀ + B) V`` with output ``[..., N, e]``."""

    query: Tensor  # ``[..., N, d]``
    key: Tensor  # ``[..., M, d]``
    value: Tensor  # ``[..., M, e]``
    bias: Tensor | None  # added to the scores, broadcastable to ``[..., N, M]``
    scale: float


def attention_with_tangent(
    call: AttentionCall, tangents: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> tuple[Tensor, Tensor]:
    """Attention and its derivative along tangents of query, key and value; None for zero.

    With ``P`` the attention map and ``Ṡ = s (Q̇Kᵀ + QK̇ᵀ)``, the derivative is
    ``Ȯ = (P ⊙ Ṡ) V − rowsum(P ⊙ Ṡ) ⊙ O + P V̇``: the bias is constant along the tangent.
    """
    query, key, value, bias, scale = call
    batch, tokens, dim, width = query.shape[:-2], query.shape[-2], query.shape[-1], value.shape[-1]
    # [q̇, q]·[k, k̇]ᵀ is the scores' derivative in one product; the halves q and k serve the scores.
    dq, dk, dv = (
        torch.zeros_like(x) if dx is None else dx for x, dx in zip(call[:3], tangents, strict=True)
    )
    queries = _side_by_side(dq, query)
    queries *= scale
    keys = _side_by_side(key, dk).transpose(1, 2)
    values = _side_by_side(value, dv, pad=True)
    q, k, v = queries[..., dim:], keys[:, :dim], values[..., : _padded(width)]
    if bias is not None:  # each may serve many maps: a copy for each would be as large as all
        bias = bias.expand(*batch, tokens, key.shape[-2])
        places = torch.unravel_index(torch.arange(len(q), device=q.device), batch)

    mixed = v.new_empty(len(q), tokens, values.shape[-1])  # P [V, V̇]
    turned = v.new_empty(len(q), tokens, v.shape[-1])  # (P ⊙ Ṡ) V
    drift = v.new_empty(len(q), tokens, 1)  # rowsum(P ⊙ Ṡ)
    for maps, rows in _blocks(len(q), tokens, key.shape[-2], q.device.type):
        scores = torch.bmm(q[maps, rows], k[maps])
        if bias is not None:
            scores += bias[tuple(place[maps] for place in places)][:, rows]
        attention = torch.softmax(scores, -1)
        # The scores are no longer needed: reuse their buffer for the derivative.
        change = torch.bmm(queries[maps, rows], keys[maps], out=scores).mul_(attention)
        torch.bmm(attention, values[maps], out=mixed[maps, rows])
        torch.bmm(change, v[maps], out=turned[maps, rows])
        torch.sum(change, -1, keepdim=True, out=drift[maps, rows])

    out, moved = mixed[..., :width], mixed[..., width : 2 * width]
    tangent = (moved + turned[..., :width]).addcmul_(drift, out, value=-1)
    return out.unflatten(0, batch), tangent.unflatten(0, batch)


def attention_maps(call: AttentionCall) -> Tensor:
    """The maps ``softmax(s QKᵀ + B)``, ``[..., N, M]``."""
    scores = call.query @ call.key.transpose(-1, -2) * call.scale
    return (scores if call.bias is None else scores + call.bias).softmax(-1)


def _explicit_attention(*args: Any, **kwargs: Any) -> Tensor:
    """Attention in operations that any transform can differentiate, also twice."""
    call = normalize_arguments(*args, **kwargs)
    return attention_maps(call) @ call.value


def normalize_arguments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    """Reduce the arguments of fused attention; a ValueError if there is dropout."""
    if dropout_p:
        raise ValueError(f"attention dropout {dropout_p} is random; a measure needs 0")
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(groups, -3) for x in (key, value))
    if is_causal:
        attn_mask = query.new_ones(query.shape[-2], key.shape[-2]).tril().bool()
    if attn_mask is not None and not attn_mask.is_floating_point():
        attn_mask = query.new_zeros(attn_mask.shape).masked_fill(~attn_mask, float("-inf"))
    if scale is None:
        scale = query.shape[-1] ** -0.5
    return AttentionCall(query, key, value, attn_mask, scale)


def _side_by_side(left: Tensor, right: Tensor, *, pad: bool = False) -> Tensor:
    """Two ``[..., n, d]`` as one contiguous ``[maps, n, 2d]``: one copy, whatever the strides."""
    parts = [left, right]
    if pad and (missing := _padded(2 * left.shape[-1]) - 2 * left.shape[-1]):
        parts.append(left.new_zeros(1).expand(*left.shape[:-1], missing))
    return torch.cat(parts, -1).flatten(0, -3)


def _padded(columns: int) -> int:
    return -(-columns // _REGISTER_COLUMNS) * _REGISTER_COLUMNS


def _blocks(maps: int, rows: int, columns: int, device: str) -> Iterator[tuple[slice, slice]]:
    """Split ``maps`` matrices of ``rows × columns`` into blocks of matrices, or of rows of one."""
    size = _BLOCK_SCORES.get(device, _BLOCK_SCORES_ELSEWHERE)
    together = max(1, size // (rows * columns))
    pieces = -(-rows * columns // size) if together == 1 else 1
    height = -(-rows // pieces)
    for first in range(0, maps, together):
        for row in range(0, rows, height):
            yield slice(first, first + together), slice(row, row + height)


@cache
def load_rules() -> None:
    """Have torch load its own rules, which it does at its first dual number, with a warning."""
    with warnings.catch_warnings(), torch.inference_mode(False), dual_level():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
        zero = torch.zeros(1, device="cpu")
        make_dual(zero, zero.clone())


def explicit_multi_head(*args: Any, **kwargs: Any) -> Any:
    """Multi-head attention that returns its map, which keeps it off the fused kernel."""
    return F.multi_head_attention_forward(*args, **(kwargs | {"need_weights": True}))


def _spelt_out(formula: Callable[[Tensor], Tensor]) -> Operation:
    """An activation by its formula, with the argument of PyTorch's."""

    def activation(x: Tensor, inplace: bool = False) -> Tensor:
        return x.copy_(formula(x)) if inplace else formula(x)

    return activation


def _no_second_derivative(*_: Any, **__: Any) -> Tensor:
    raise NotImplementedError("a norm as a function has no second derivative in forward mode")


def _explicit_glu(x: Tensor, dim: int = -1) -> Tensor:
    values, gates = x.chunk(2, dim)
    return values * torch.sigmoid(gates)


# A curve goes on where gradients stop.
_DETACHING: Mapping[Operation, Operation] = dict.fromkeys(
    (*forms_of("detach"), cast("Any", Tensor.data).__get__), lambda x, *_: x.view_as(x)
)


class DualOperations(InterceptOperations):
    """Inside, dual numbers (``torch.autograd.forward_ad``) pass fused attention and detaching.

    Linear maps get a leaner rule: PyTorch's also multiplies by the weight's tangent, of zeros.
    """

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the rule of ``func``, if it has one."""
        if func is F.scaled_dot_product_attention:
            return _dual_attention(normalize_arguments(*args, **kwargs))
        if func in (F.linear, F.conv2d) and not kwargs:
            return _dual_map(func, *args)
        if func is F.multi_head_attention_forward:
            return explicit_multi_head(*args, **kwargs)
        return _DETACHING.get(func, func)(*args, **kwargs)


def _dual_attention(call: AttentionCall) -> Tensor:
    if call.bias is not None:
        bias, tangent = unpack_dual(call.bias)
        if tangent is not None:
            return attention_maps(call) @ call.value
        call = call._replace(bias=bias)
    (q, dq), (k, dk), (v, dv) = (unpack_dual(x) for x in call[:3])
    primal = call._replace(query=q, key=k, value=v)
    return cast("Tensor", make_dual(*attention_with_tangent(primal, (dq, dk, dv))))


def _dual_map(
    operation: Operation, input: Tensor, weight: Tensor, bias: Tensor | None = None, *options: Any
) -> Tensor:
    """A map that is linear in its input but for a bias, which a tangent has none of."""
    primal, tangent = unpack_dual(input)
    others = [x for x in (weight, bias) if x is not None]
    # PyTorch's rule serves maps whose weight or bias depends on the image.
    if tangent is None or any(unpack_dual(x).tangent is not None for x in others):
        return cast("Tensor", operation(input, weight, bias, *options))
    out = operation(primal, weight, bias, *options)
    return cast("Tensor", make_dual(out, operation(tangent, weight, None, *options)))


class ExplicitAttention(InterceptOperations):
    """Inside, fused attention is written out, for nested or vectorised transforms."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        F.scaled_dot_product_attention: _explicit_attention,
        F.multi_head_attention_forward: explicit_multi_head,
    }


class TwiceDifferentiable(ExplicitAttention):
    """Inside, nested dual numbers also pass what PyTorch has no second rule for, or a wrong one.

    Of SiLU and Mish it has one only where gradients are recorded; those of two norms are wrong.
    """

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        **ExplicitAttention.replacements,
        **_DETACHING,
        F.silu: _spelt_out(lambda x: x * torch.sigmoid(x)),
        F.mish: _spelt_out(lambda x: x * torch.tanh(F.softplus(x))),
        F.hardsigmoid: _spelt_out(lambda x: F.relu6(x + 3) / 6),
        F.glu: _explicit_glu,
        **dict.fromkeys((F.layer_norm, F.instance_norm), _no_second_derivative),
    }
