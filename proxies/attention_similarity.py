"""How similar the attention maps of different heads are, in any network with attention."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.attention import normalize_arguments
from proxies.features import evaluating, reference_tensor
from proxies.memory import to_host
from proxies.operations import InterceptOperations, Operation
from proxies.structure import is_attention

_SOFTMAX = {torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax}


def head_similarities(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Cosine similarity between the maps of every two heads of each attention.

    For heads i and j with softmax maps A it is ``(1/N) Σ_q cos(A_i[q, :], A_j[q, :])``, by rows
    because rows multiply the values, averaged over images and windows.

    Maps are those of fused attention, of ``nn.MultiheadAttention``, and of softmaxes over the last
    axis of ``[..., heads, N, M]`` in modules that are named attention or contain one. A map that
    several layers share counts once; attention without a softmax over keys has no map.

    Args:
        model: Any network; not changed.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Returns:
        ``[heads, heads]`` float32 on the CPU for each module name, in the order of the forward
        pass; ``#2`` and so on are appended to the name of a module that attends more than once.
        The diagonal is 1.

    Raises:
        ValueError: If there is no map with heads.

    References:
        arXiv:2306.10875.
    """
    with evaluating(model), torch.no_grad(), _module_path(model) as path:
        maps = _MapComparison(path)
        with maps:
            model(images.to(reference_tensor(model)))
    if not maps.similarities:
        raise ValueError(f"{type(model).__name__} has no attention maps with heads to compare")
    found = to_host(list(maps.similarities.values()))
    return dict(zip(maps.similarities, found, strict=True))


def contribution_cosine_similarity(model: nn.Module, images: Tensor) -> float:
    """Contribution cosine similarity (CCS): how redundant the heads of an attention are.

    The mean of :func:`head_similarities` over all pairs of different heads, then over attentions;
    single heads are left out. From 0 to 1, where all heads are equal. Dimensionless; lower is less
    redundant. One forward pass, with the maps of one attention in memory at a time.

    Arguments as :func:`head_similarities`.

    Raises:
        ValueError: If no attention has two heads or more.

    References:
        arXiv:2306.10875.
    """
    scores = [pair_mean(similarity) for similarity in head_similarities(model, images).values()]
    paired = [score for score in scores if not math.isnan(score)]
    if not paired:
        raise ValueError(f"no attention of {type(model).__name__} has two heads to compare")
    return sum(paired) / len(paired)


def pair_mean(similarity: Tensor) -> float:
    """Mean of ``[heads, heads]`` over all pairs of different heads; NaN for one head."""
    heads = len(similarity)
    if heads < 2:
        return math.nan
    return float(similarity.triu(1).sum()) * 2 / (heads * (heads - 1))


class _MapComparison(InterceptOperations):
    """Compare the heads of every attention map computed inside; no map is kept.

    Args:
        path: Names and modules of the running calls, the innermost last.
    """

    def __init__(self, path: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.similarities: dict[str, Tensor] = {}
        self._path = path

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func is F.scaled_dot_product_attention:
            call = normalize_arguments(*args, **kwargs)
            scores = call.query @ call.key.transpose(-1, -2) * call.factor
            maps = (scores if call.bias is None else scores + call.bias).softmax(-1)
            self._compare(maps)
            return maps @ call.value
        if func is F.multi_head_attention_forward:
            per_head = {"need_weights": True, "average_attn_weights": False}
            out, maps = func(*args, **{**kwargs, **per_head})
            self._compare(maps if maps.ndim == 4 else maps[None])
            averaged = kwargs.get("average_attn_weights", True)
            maps = maps.mean(-3) if averaged else maps
            return out, maps if kwargs.get("need_weights", True) else None
        out = func(*args, **kwargs)
        if func in _SOFTMAX and self._is_over_keys(out, *args, **kwargs) and self._in_attention():
            self._compare(out)
        return out

    def _is_over_keys(self, out: Tensor, *args: Any, **kwargs: Any) -> bool:
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return axis in (-1, out.ndim - 1)

    def _in_attention(self) -> bool:
        inner = self._path[-1][1].named_modules() if self._path else ()
        return any(is_attention(name, module) for name, module in (*self._path, *inner))

    def _compare(self, maps: Tensor) -> None:
        """Add the similarities of maps ``[..., heads, N, M]``."""
        if maps.ndim < 4:
            return
        rows = F.normalize(maps.float(), dim=-1).movedim(-3, 0)
        count = rows[0, ..., 0].numel()
        rows = rows.flatten(1)
        base = self._path[-1][0] if self._path else ""
        name, call = base, 1
        while name in self.similarities:
            call += 1
            name = f"{base}#{call}"
        self.similarities[name] = rows @ rows.T / count


@contextmanager
def _module_path(model: nn.Module) -> Iterator[Sequence[tuple[str, nn.Module]]]:
    """Path of the running modules, kept up to date by hooks."""
    path: list[tuple[str, nn.Module]] = []
    handles = []

    def enter(name: str, module: nn.Module) -> Callable[..., None]:
        return lambda *_: path.append((name, module))

    def leave(*_: Any) -> None:
        path.pop()

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name, module), prepend=True))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield path
    finally:
        for handle in handles:
            handle.remove()
