"""Learned positions of one grid of tokens, resampled to another."""

import math
import warnings
from collections.abc import Mapping

from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, nn
from torch.nn import functional as F

_BIAS_TABLE = "relative_position_bias_table"
_POS_EMBED = "pos_embed"
_MAX_PREFIX_TOKENS = 2  # before the grid: class token, distillation token


def resampled(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for ``model``, with positions of another grid resampled to its own (bicubic)."""
    own = model.state_dict()
    return {
        name: _resized(name, tensor, own[name], model) if name in own else tensor
        for name, tensor in weights.items()
    }


def _resized(name: str, tensor: Tensor, own: Tensor, model: nn.Module) -> Tensor:
    """Resample a position tensor to the shape of ``own``; other tensors are unchanged."""
    if tensor.shape == own.shape or not tensor.is_floating_point():
        return tensor  # load_state will refuse integers
    place, _, kind = name.rpartition(".")
    if kind == _BIAS_TABLE and tensor.shape[1:] == own.shape[1:]:
        window = getattr(model.get_submodule(place), "window_size", None)
        if window is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch warns about timm's interpolation
                table: Tensor = resize_rel_pos_bias_table(tensor, tuple(window), own.shape)
            return table
    if _POS_EMBED in kind and tensor.ndim == own.ndim:
        if tensor.ndim == 4 and tensor.shape[:2] == own.shape[:2]:
            side = own.shape[-2:]
            return F.interpolate(tensor.float(), side, mode="bicubic", antialias=True)
        if tensor.ndim == 3 and tensor.shape[2] == own.shape[2]:
            return _resampled_tokens(tensor, own)
    return tensor  # load_state will refuse it


def _resampled_tokens(tensor: Tensor, own: Tensor) -> Tensor:
    """Resample ``[1, n, C]`` to ``[1, m, C]``: a square grid after some prefix tokens."""
    for prefix in range(_MAX_PREFIX_TOKENS + 1):
        sides = [math.isqrt(max(t.shape[1] - prefix, 0)) for t in (tensor, own)]
        squares = [side**2 + prefix for side in sides]
        if squares == [tensor.shape[1], own.shape[1]] and all(sides):
            resampled: Tensor = resample_abs_pos_embed(
                tensor, new_size=[sides[1], sides[1]], num_prefix_tokens=prefix
            )
            return resampled
    return tensor
