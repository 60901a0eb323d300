"""How alike the attention maps of different heads are, in any network that has some."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from proxies.attention import plain_arguments
from proxies.features import evaluating, reference_tensor
from proxies.fetching import fetch

_ATTENTION = re.compile(r"att|mhsa", re.IGNORECASE)
_SOFTMAX = {torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax}


def head_similarities(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Cosine similarity of the maps of every two heads of every attention.

    For heads i and j with maps A after the softmax it is ``(1/N) Σ_q cos(A_i[q, :], A_j[q, :])``,
    by rows because rows multiply the values; the mean over images, and over windows.

    Maps are read where they arise: fused attention, ``nn.MultiheadAttention``, and softmaxes over
    the last axis of ``[..., heads, N, M]`` in modules that are called attention, or hold such a
    module. A map that other
    layers use again counts once; attention without a softmax over keys has none.

    Args:
        model: Any network; evaluated as it is, and left as it was.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Returns:
        The name of the module to ``[heads, heads]`` float32 on the CPU, in the order of the
        forward pass; ``#2`` and so on follow the name of a module that attends more than once.
        The diagonal is 1.

    Raises:
        ValueError: If there is no map with heads.

    References:
        arXiv:2306.10875.
    """
    with evaluating(model), torch.no_grad(), _inside(model) as path:
        maps = _Maps(path)
        with maps:
            model(images.to(reference_tensor(model)))
    if not maps.similarities:
        raise ValueError(f"{type(model).__name__} has no attention maps with heads to compare")
    found = fetch(list(maps.similarities.values()))
    return dict(zip(maps.similarities, found, strict=True))


def contribution_cosine_similarity(model: nn.Module, images: Tensor) -> float:
    """Contribution cosine similarity (CCS): how much the heads of an attention repeat each other.

    The mean over all pairs of different heads of :func:`head_similarities`, then over attentions;
    one with a single head has no pair and is left out. 1 where all heads are the same; from 0. No
    units; lower is less redundant. One forward pass, with the maps of one attention in memory.

    Arguments as :func:`head_similarities`.

    Raises:
        ValueError: If no attention has two heads.

    References:
        arXiv:2306.10875.
    """
    scores = [pair_mean(similarity) for similarity in head_similarities(model, images).values()]
    paired = [score for score in scores if not math.isnan(score)]
    if not paired:
        raise ValueError(f"no attention of {type(model).__name__} has two heads to compare")
    return sum(paired) / len(paired)


def pair_mean(similarity: Tensor) -> float:
    """Mean over all pairs of different heads, ``[heads, heads]`` to a number; NaN for one head."""
    heads = len(similarity)
    if heads < 2:
        return math.nan
    return float(similarity.triu(1).sum()) * 2 / (heads * (heads - 1))


class _Maps(TorchFunctionMode):
    """Compare the heads of every map that arises inside; no map is kept.

    Args:
        path: Names of the modules being run, with themselves, the innermost last.
    """

    def __init__(self, path: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.similarities: dict[str, Tensor] = {}
        self._path = path

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            (query, key, value), bias, scale = plain_arguments(*args, **kwargs)
            scale = query.shape[-1] ** -0.5 if scale is None else scale
            scores = query @ key.transpose(-1, -2) * scale
            maps = (scores if bias is None else scores + bias).softmax(-1)
            self._compare(maps)
            return maps @ value
        if func is F.multi_head_attention_forward:
            wanted = {"need_weights": True, "average_attn_weights": False}
            out, maps = func(*args, **{**kwargs, **wanted})
            self._compare(maps if maps.ndim == 4 else maps[None])
            averaged = kwargs.get("average_attn_weights", True)
            maps = maps.mean(-3) if averaged else maps
            return out, maps if kwargs.get("need_weights", True) else None
        out = func(*args, **kwargs)
        if func in _SOFTMAX and self._over_keys(out, *args, **kwargs) and self._in_attention():
            self._compare(out)
        return out

    def _over_keys(self, out: Tensor, *args: Any, **kwargs: Any) -> bool:
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return axis in (-1, out.ndim - 1)

    def _in_attention(self) -> bool:
        held = self._path[-1][1].named_modules() if self._path else ()
        return any(_is_attention(name, module) for name, module in (*self._path, *held))

    def _compare(self, maps: Tensor) -> None:
        """Take in ``[..., heads, N, M]``."""
        if maps.ndim < 4:
            return
        rows = F.normalize(maps.float(), dim=-1).movedim(-3, 0)
        count = rows[0, ..., 0].numel()
        rows = rows.flatten(1)
        base = self._path[-1][0] if self._path else ""
        name, again = base, 1
        while name in self.similarities:
            again += 1
            name = f"{base}#{again}"
        self.similarities[name] = rows @ rows.T / count


@contextmanager
def _inside(model: nn.Module) -> Iterator[Sequence[tuple[str, nn.Module]]]:
    """Follow which modules are being run."""
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


def _is_attention(name: str, module: nn.Module) -> bool:
    return bool(_ATTENTION.search(name) or _ATTENTION.search(type(module).__name__))
