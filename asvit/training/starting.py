"""Weights to start a training from: of another image size, or for other classes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, nn
from torch.nn import functional as F

from asvit._files import expanded
from asvit._run_files import MODEL
from asvit.networks import load_state, read_state

_TABLE = "relative_position_bias_table"
_POSITIONS = "pos_embed"
_MOST_PREFIXES = 2  # tokens in front of the grid: one for the class, one for a teacher


def weights_path(text: str) -> Path:
    """The file of weights that a path names: itself, or that of a run folder."""
    path = expanded(text)
    return path / MODEL if path.is_dir() else path


def start_from(model: nn.Module, text: str, *, new_head: bool) -> tuple[str, ...]:
    """Put the weights of a file into ``model``, as far as they are not about other classes.

    Position embeddings of another grid are resampled (bicubic), and so are the tables of relative
    positions.

    Args:
        model: The network.
        text: File of weights, or run folder with one.
        new_head: Leave the classifier as it is.

    Returns:
        Names of the weights that stayed as they were.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or its weights are another network's or for another
            number of classes.
    """
    path = weights_path(text)
    own = model.state_dict()
    weights = {
        name: _fitted(name, tensor, own[name], model) if name in own else tensor
        for name, tensor in read_state(path).items()
    }
    head = _head_names(model)
    if not new_head:
        _check_classes(weights, own, head, path)
    return load_state(
        model, weights, what=f"the weights of {path}", may_lack=head if new_head else ()
    )


def _check_classes(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], head: tuple[str, ...], path: Path
) -> None:
    for name in head:
        if name not in own or name not in weights:
            continue
        if not own[name].ndim or not weights[name].ndim:
            continue  # for load_state to refuse
        there, here = len(weights[name]), len(own[name])
        if there != here:
            raise ValueError(
                f"the weights of {path} are for {there} classes, the images have {here}; "
                "give --new-head to start with a fresh classifier"
            )


def _head_names(model: Any) -> tuple[str, ...]:
    """Names of the weights of the classifier, of both where there are two."""
    found = model.get_classifier() if hasattr(model, "get_classifier") else ()
    heads = found if isinstance(found, tuple) else (found,)
    return tuple(
        f"{name}.{weight}"
        for name, module in model.named_modules()
        if any(module is head for head in heads)
        for weight, _ in module.named_parameters()
    )


def _fitted(name: str, tensor: Tensor, own: Tensor, model: nn.Module) -> Tensor:
    """``tensor`` in the shape of ``own``, where the two are positions on grids."""
    if tensor.shape == own.shape:
        return tensor
    place, _, kind = name.rpartition(".")
    if kind == _TABLE and tensor.shape[1:] == own.shape[1:]:
        window = getattr(model.get_submodule(place), "window_size", None)
        if window is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of PyTorch, about how timm interpolates
                table: Tensor = resize_rel_pos_bias_table(tensor, tuple(window), own.shape)
            return table
    if kind.startswith(_POSITIONS) and tensor.ndim == own.ndim:
        if tensor.ndim == 4 and tensor.shape[:2] == own.shape[:2]:
            side = own.shape[-2:]
            return F.interpolate(tensor.float(), side, mode="bicubic", antialias=True)
        if tensor.ndim == 3 and tensor.shape[2] == own.shape[2]:
            return _resampled(tensor, own)
    return tensor  # for load_state to refuse


def _resampled(tensor: Tensor, own: Tensor) -> Tensor:
    """``[1, n, C]`` as ``[1, m, C]``, where both are square grids behind the same few tokens."""
    for prefix in range(_MOST_PREFIXES + 1):
        sides = [math.isqrt(max(t.shape[1] - prefix, 0)) for t in (tensor, own)]
        squares = [side**2 + prefix for side in sides]
        if squares == [tensor.shape[1], own.shape[1]] and all(sides):
            resampled: Tensor = resample_abs_pos_embed(
                tensor, new_size=[sides[1], sides[1]], num_prefix_tokens=prefix
            )
            return resampled
    return tensor
