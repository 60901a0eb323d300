"""Rules for operations that PyTorch has no derivative, or a slow one, for.

Forward-mode rules come twice: for one network, and for all networks of a
:class:`proxies.functional.Stack`, whose dual numbers are hidden behind vmap's tensors.

PyTorch's fused attention has no forward-mode rule. Here a block of scores, its softmax and their
derivatives never leave the processor's cache, and the rest are matrix products padded to the width
of a vector register.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import vmap

from proxies.functional import Operation, ReplaceOperations, forms_of, with_stacked_tensors

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
    bias: Tensor | None = None  # added to the scores, broadcastable to ``[..., N, M]``
    scale: float | None = None  # ``d^-0.5`` unless given

    @property
    def factor(self) -> float:
        """The scale, given or not."""
        return self.query.shape[-1] ** -0.5 if self.scale is None else self.scale


def attention_with_tangent(
    call: AttentionCall, tangents: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> tuple[Tensor, Tensor]:
    """Attention and its derivative along tangents of query, key and value; None for zero.

    With ``P`` the attention map and ``Ṡ = s (Q̇Kᵀ + QK̇ᵀ)``, the derivative is
    ``Ȯ = (P ⊙ Ṡ) V − rowsum(P ⊙ Ṡ) ⊙ O + P V̇``: the bias is constant along the tangent.
    """
    query, key, value, bias, _ = call
    batch, tokens, dim, width = query.shape[:-2], query.shape[-2], query.shape[-1], value.shape[-1]
    # [q̇, q]·[k, k̇]ᵀ is the scores' derivative in one product; the halves q and k serve the scores.
    queries = _side_by_side(_or_zeros(query, tangents[0]), query)
    queries *= call.factor
    keys = _side_by_side(key, _or_zeros(key, tangents[1])).transpose(1, 2)
    values = _side_by_side(value, _or_zeros(value, tangents[2]), pad=True)
    q, k, v = queries[..., dim:], keys[:, :dim], values[..., : _padded(width)]
    biases = _Biases.of(bias, (*batch, tokens, key.shape[-2]))

    mixed = v.new_empty(len(q), tokens, values.shape[-1])  # P [V, V̇]
    turned = v.new_empty(len(q), tokens, v.shape[-1])  # (P ⊙ Ṡ) V
    drift = v.new_empty(len(q), tokens, 1)  # rowsum(P ⊙ Ṡ)
    for maps, rows in _blocks(len(q), tokens, key.shape[-2], q.device.type):
        scores, attention = _attend(q, k, biases, maps, rows)
        # The scores are no longer needed: reuse their buffer for the derivative.
        change = torch.bmm(queries[maps, rows], keys[maps], out=scores).mul_(attention)
        torch.bmm(attention, values[maps], out=mixed[maps, rows])
        torch.bmm(change, v[maps], out=turned[maps, rows])
        torch.sum(change, -1, keepdim=True, out=drift[maps, rows])

    out, moved = mixed[..., :width], mixed[..., width : 2 * width]
    tangent = (moved + turned[..., :width]).addcmul_(drift, out, value=-1)
    return out.unflatten(0, batch), tangent.unflatten(0, batch)


def attention(call: AttentionCall) -> Tensor:
    """PyTorch's fused attention, for a backward pass."""
    query, key, value, bias, scale = call
    return F.scaled_dot_product_attention(query, key, value, bias, scale=scale)


def explicit_attention(call: AttentionCall) -> Tensor:
    """Attention in operations that any transform can differentiate, also twice.

    Rows are processed in blocks to bound the memory.
    """
    query, key, value, bias, _ = call
    maps = query[..., 0, 0].numel()
    step = max(1, _BLOCK_SCORES_ELSEWHERE // 8 // (maps * key.shape[-2]))
    blocks = []
    for start in range(0, query.shape[-2], step):
        scores = query[..., start : start + step, :] @ key.transpose(-1, -2) * call.factor
        if bias is not None:
            rows = slice(None) if bias.shape[-2] == 1 else slice(start, start + step)
            scores = scores + bias[..., rows, :]
        blocks.append(torch.softmax(scores, -1) @ value)
    return torch.cat(blocks, -2)


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
    return AttentionCall(query, key, value, attn_mask, scale)


def align_stacked_bias(bias: Tensor, axes: int) -> Tensor:
    """Reshape a bias ``[networks, ...]`` to broadcast with scores of ``axes`` dimensions."""
    return bias.reshape(len(bias), *[1] * (axes - bias.ndim), *bias.shape[1:])


class _Biases(NamedTuple):
    """Biases of maps, each of which may serve many: a copy for each would be as large as all."""

    matrices: Tensor  # ``[B, N, M]``
    of_map: Tensor  # ``[maps]``: the bias of each

    @classmethod
    def of(cls, bias: Tensor | None, shape: tuple[int, ...]) -> "_Biases | None":
        """Those of scores of a shape ``[..., N, M]``; None without a bias."""
        if bias is None:
            return None
        matrices = bias.expand(*bias.shape[:-2], *shape[-2:])
        own = matrices.shape[:-2]
        places = torch.arange(math.prod(own), device=bias.device).view(own).expand(shape[:-2])
        return cls(matrices.reshape(-1, *shape[-2:]), places.flatten())


def _attend(
    q: Tensor, k: Tensor, biases: _Biases | None, maps: slice, rows: slice
) -> tuple[Tensor, Tensor]:
    """A block of scores, whose buffer may be reused, and its softmax."""
    scores = torch.bmm(q[maps, rows], k[maps])
    if biases is not None:
        scores += biases.matrices[:, rows][biases.of_map[maps]]
    return scores, torch.softmax(scores, -1)


def _or_zeros(primal: Tensor, tangent: Tensor | None) -> Tensor:
    return torch.zeros_like(primal) if tangent is None else tangent


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
    """Have torch load its own rules, which it does at its first dual number.

    It then warns of its own use of ``torch.jit``, which a caller cannot change.
    """
    with warnings.catch_warnings(), torch.inference_mode(False), forward_ad.dual_level():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
        zero = torch.zeros(1, device="cpu")
        forward_ad.make_dual(zero, zero.clone())


def pack(primal: Tensor, tangent: Tensor) -> Tensor:
    """A dual number of the current level."""
    return cast("Tensor", forward_ad.make_dual(primal, tangent))


def unpack(dual: Tensor) -> tuple[Tensor, Tensor | None]:
    """Value and tangent of a dual number; no tangent if it does not depend on the input."""
    primal, tangent = forward_ad.unpack_dual(dual)
    return primal, tangent


def explicit_multi_head(*args: Any, **kwargs: Any) -> Any:
    """Multi-head attention that returns its map, which keeps it off the fused kernel."""
    return F.multi_head_attention_forward(*args, **(kwargs | {"need_weights": True}))


def _spelt_out(formula: Callable[[Tensor], Tensor]) -> Operation:
    """An activation by its formula, with the argument of PyTorch's."""

    def activation(x: Tensor, inplace: bool = False) -> Tensor:
        return x.copy_(formula(x)) if inplace else formula(x)

    return activation


def _explicit_layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return _normalized(x, tuple(range(-len(normalized_shape), 0)), eps, weight, bias)


def _explicit_instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, x.ndim))
    affine = (one if one is None else one.view(-1, *[1] * len(axes)) for one in (weight, bias))
    return _normalized(x, axes, eps, *affine)


def _normalized(
    x: Tensor, axes: tuple[int, ...], eps: float, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Values less their mean, over their deviation along some axes, scaled and shifted."""
    centred = x - x.mean(axes, keepdim=True)
    normal = centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)
    scaled = normal if weight is None else normal * weight
    return scaled if bias is None else scaled + bias


def _explicit_glu(x: Tensor, dim: int = -1) -> Tensor:
    values, gates = x.chunk(2, dim)
    return values * torch.sigmoid(gates)


def _explicit_attention(*args: Any, **kwargs: Any) -> Tensor:
    return explicit_attention(normalize_arguments(*args, **kwargs))


def _dual_attention(*args: Any, **kwargs: Any) -> Tensor:
    call = normalize_arguments(*args, **kwargs)
    if call.bias is not None and unpack(call.bias)[1] is not None:
        return explicit_attention(call)
    return _attend_to_dual_tokens(call)


def _attend_to_dual_tokens(call: AttentionCall) -> Tensor:
    (q, dq), (k, dk), (v, dv) = (unpack(x) for x in call[:3])
    primal = call._replace(query=q, key=k, value=v)
    return pack(*attention_with_tangent(primal, (dq, dk, dv)))


def _linear_rule(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule for a map that is linear in its input but for a bias, which a tangent has none of.

    PyTorch's rule serves maps whose weight or bias depends on the image.
    """

    def rule(input: Tensor, weight: Tensor, bias: Any = None, *args: Any, **more: Any) -> Tensor:
        primal, tangent = unpack(input)
        constant = all(x is None or unpack(x)[1] is None for x in (weight, bias))
        if tangent is None or not constant:
            return operation(input, weight, bias, *args, **more)
        out = operation(primal, weight, bias, *args, **more)
        return pack(out, operation(tangent, weight, None, *args, **more))

    return rule


def _attached(x: Tensor, *_: Any) -> Tensor:
    return x.view_as(x)


# A curve goes on where gradients stop.
_DETACHING: Mapping[Operation, Operation] = dict.fromkeys(
    (*forms_of("detach"), cast("Any", Tensor.data).__get__), _attached
)


class DualOperations(ReplaceOperations):
    """Inside, dual numbers (``torch.autograd.forward_ad``) pass fused attention and detaching.

    Linear maps get a leaner rule too: PyTorch's also multiplies by the weight's tangent, which is
    zero for a parameter.
    """

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        **_DETACHING,
        F.scaled_dot_product_attention: _dual_attention,
        F.multi_head_attention_forward: explicit_multi_head,
        F.linear: _linear_rule(F.linear),
        F.conv2d: _linear_rule(F.conv2d),
    }


class ExplicitAttention(ReplaceOperations):
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
        F.layer_norm: _explicit_layer_norm,
        F.instance_norm: _explicit_instance_norm,
    }


def _stacked_attention(*args: Any, **kwargs: Any) -> Tensor:
    def attend(networks: int, *values: Any) -> Tensor:
        call = AttentionCall(*values)
        if call.bias is not None:
            bias, tangent = unpack(align_stacked_bias(call.bias, call.query.ndim))
            if tangent is not None:
                raise ValueError("an attention bias that depends on the image cannot be stacked")
            call = call._replace(bias=bias)
        return _attend_to_dual_tokens(call)

    return with_stacked_tensors(attend, *normalize_arguments(*args, **kwargs))


def _stacked_rule(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """:func:`_linear_rule` for an operation on the tensors of all networks of a stack."""
    rule = _linear_rule(operation)

    def stacked(
        input: Tensor, weight: Tensor, bias: Any = None, *args: Any, **more: Any
    ) -> Tensor:
        def apply(networks: int, *tensors: Any) -> Tensor:
            return rule(*tensors, *args, **more)

        return with_stacked_tensors(apply, input, weight, bias)

    return stacked


def _batched_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x Wᵀ + b`` with ``x`` of ``[networks, ..., i]``, W ``[networks, o, i]``."""
    rows, turned = x.flatten(1, -2), weight.transpose(1, 2)
    out = rows.bmm(turned) if bias is None else torch.baddbmm(bias[:, None], rows, turned)
    return cast("Tensor", out.unflatten(1, x.shape[1:-1]))


def _batched_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any, **more: Any
) -> Tensor:
    axes = (0, 0, None if bias is None else 0, *[None] * len(args))
    out: Tensor = vmap(partial(F.conv2d, **more), in_dims=axes)(x, weight, bias, *args)
    return out


class StackedDualOperations(ReplaceOperations):
    """:class:`DualOperations` for :meth:`proxies.functional.Stack.run`."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        **_DETACHING,
        F.scaled_dot_product_attention: _stacked_attention,
        F.multi_head_attention_forward: explicit_multi_head,
        F.linear: _stacked_rule(_batched_linear),
        F.conv2d: _stacked_rule(_batched_convolution),
    }
