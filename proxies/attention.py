"""Softmax attention together with its directional derivative.

PyTorch's fused attention has no forward-mode rule, and the derivative of the materialised form
moves every N×N map through memory many times. Here both the output and its derivative are formed
over blocks that stay in the processor's cache: each score is written once and read where it was
written, so what is left is arithmetic.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Scores in one block, by kind of device: two float32 buffers of 2 MB on a CPU, and blocks large
# enough to keep an accelerator busy.
_BLOCK_SCORES = {"cpu": 1 << 19}
_BLOCK_SCORES_ELSEWHERE = 1 << 28


def attention_with_tangent(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    tangents: tuple[Tensor | None, Tensor | None, Tensor | None],
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention ``O = softmax(s QKᵀ + B) V`` and its derivative along the tangents.

    With ``P`` the attention map and ``Ṡ = s (Q̇Kᵀ + QK̇ᵀ)``, the derivative is
    ``Ȯ = (P ⊙ Ṡ) V − rowsum(P ⊙ Ṡ) ⊙ O + P V̇``.

    Args:
        query: ``[..., N, d]``.
        key: ``[..., M, d]``.
        value: ``[..., M, e]``.
        tangents: Of query, key and value; ``None`` where there is none.
        bias: Added to the scores, broadcastable to ``[..., N, M]``; constant along the tangent.
        scale: ``d^-0.5`` unless given.

    Returns:
        Output and derivative, each ``[..., N, e]``.
    """
    batch = query.shape[:-2]
    tokens, sources, dim = query.shape[-2], key.shape[-2], query.shape[-1]
    # [q̇, q]·[k, k̇]ᵀ is the scores' derivative in one product; the halves q and k serve the scores.
    queries = _side_by_side(_tangent(query, tangents[0]), query)
    queries *= dim**-0.5 if scale is None else scale
    keys = _side_by_side(key, _tangent(key, tangents[1])).transpose(1, 2)
    values = _side_by_side(value, _tangent(value, tangents[2]))
    q, k, v = queries[..., dim:], keys[:, :dim], values[..., : value.shape[-1]]
    if bias is not None:
        bias = bias.expand(*batch, tokens, sources).reshape(-1, tokens, sources)

    mixed = values.new_empty(len(q), tokens, values.shape[-1])  # P [V, V̇]
    turned = v.new_empty(len(q), tokens, v.shape[-1])  # (P ⊙ Ṡ) V
    drift = v.new_empty(len(q), tokens, 1)  # rowsum(P ⊙ Ṡ)
    for maps, rows in _blocks(len(q), tokens, sources, q.device.type):
        scores = torch.bmm(q[maps, rows], k[maps])
        if bias is not None:
            scores += bias[maps, rows]
        attention = torch.softmax(scores, -1)
        # The scores are spent: their buffer takes the derivative.
        change = torch.bmm(queries[maps, rows], keys[maps], out=scores).mul_(attention)
        torch.bmm(attention, values[maps], out=mixed[maps, rows])
        torch.bmm(change, v[maps], out=turned[maps, rows])
        torch.sum(change, -1, keepdim=True, out=drift[maps, rows])

    out, moved = mixed.split(v.shape[-1], -1)
    tangent = turned.add_(moved).addcmul_(drift, out, value=-1)
    return out.unflatten(0, batch), tangent.unflatten(0, batch)


def explicit_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention in operations that any transform can differentiate, and differentiate again.

    Rows are taken in blocks to bound the memory; shapes as in :func:`attention_with_tangent`.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    maps = query[..., 0, 0].numel()
    step = max(1, _BLOCK_SCORES_ELSEWHERE // 8 // (maps * key.shape[-2]))
    blocks = []
    for start in range(0, query.shape[-2], step):
        scores = query[..., start : start + step, :] @ key.transpose(-1, -2) * scale
        if bias is not None:
            rows = slice(None) if bias.shape[-2] == 1 else slice(start, start + step)
            scores = scores + bias[..., rows, :]
        blocks.append(torch.softmax(scores, -1) @ value)
    return torch.cat(blocks, -2)


def _tangent(primal: Tensor, tangent: Tensor | None) -> Tensor:
    return torch.zeros_like(primal) if tangent is None else tangent


def _side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Two ``[..., n, d]`` as one contiguous ``[maps, n, 2d]``: one copy, whatever the strides."""
    return torch.cat((left, right), -1).flatten(0, -3)


def _blocks(maps: int, rows: int, columns: int, device: str) -> Iterator[tuple[slice, slice]]:
    """Cut ``maps`` matrices of ``rows × columns`` into blocks: whole matrices, or rows of one."""
    size = _BLOCK_SCORES.get(device, _BLOCK_SCORES_ELSEWHERE)
    together = max(1, size // (rows * columns))
    pieces = -(-rows * columns // size) if together == 1 else 1
    height = -(-rows // pieces)
    for first in range(0, maps, together):
        for row in range(0, rows, height):
            yield slice(first, first + together), slice(row, row + height)
