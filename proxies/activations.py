"""Measures of how images and units differ, in features, gradients and signs."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from proxies.features import evaluating, independent_images, input_for, pooled_feature
from proxies.functional import (
    InterceptOperations,
    Operation,
    forms_of,
    in_chunks,
    network_output,
    to_host,
)
from proxies.ntk import condition_number
from proxies.registry import register_measure

# Keeps the logarithm and the inverse finite; the paper's value.
_OFFSET = 1e-5
# Up to which a gradient is rounding, in relative errors of a number: 3 were seen of it, and 10⁷ of
# a network's own gradients.
_ROUNDING = 8
# Signs processed at a time: 16 MB in float32, which also adds up this many exactly.
_BLOCK_SIGNS = 1 << 22


@register_measure(
    "condition number of the Gram matrix of the features that the head reads",
    better="lower",
    undefined="the features of the images are linearly dependent",
    check=independent_images,
)
def feature_condition_number(model: nn.Module, images: Tensor) -> float:
    """How close the features of different images are to linear dependence.

    The condition number λmax/λmin of the Gram matrix ``F Fᵀ`` of the pooled features that the head
    reads, ``[n, F]``, behind the final normalisation. Dimensionless, at least 1. NaN if λmin is
    rounding error, as it is of more images than features. One forward pass of the images
    ``[n, C, H, W]``; compare values of equal n only. A ValueError if a feature is not finite.
    """
    with torch.no_grad(), evaluating(model):
        feature = pooled_feature(model, input_for(model, images))
    gram = (feature.double() @ feature.double().T).cpu()
    if not gram.isfinite().all():
        raise ValueError("the features are not finite")
    return condition_number(torch.linalg.eigvalsh(gram), feature.dtype)


@register_measure(
    "how little the input gradients of different images correlate",
    name="jacob_cov",
    paper="Mellor et al. 2020, arXiv:2006.04647",
    check=independent_images,
)
def jacobian_covariance(model: nn.Module, images: Tensor) -> float:
    """How little the input gradients of different images correlate.

    With ``J`` the gradients ``[n, C·H·W]`` of the summed outputs with respect to each image and
    ``σ`` the eigenvalues of the correlation matrix of its rows: ``−Σ [ln(σ + k) + 1/(σ + k)]``,
    k = 1e-5; at most about ``−n``. One forward and one backward pass of the images
    ``[n, C, H, W]``. A ValueError if there are fewer than two, or one has a constant gradient.
    """
    key = ("the input gradients", tuple(images.shape), str(images.device))
    with evaluating(model):
        pixels = input_for(model, _at_least_two(images))
        gradients = in_chunks(
            lambda rows: _input_gradients(model, pixels[rows]), len(pixels), key=key
        )
    rows = gradients.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    correlation = (rows @ rows.T).cpu()
    if not correlation.isfinite().all():
        raise ValueError(
            f"{type(model).__name__} gives an image a constant gradient, or one that is not finite"
        )
    shifted = torch.linalg.eigvalsh(correlation) + _OFFSET
    return -float((shifted.log() + 1 / shifted).sum())


@register_measure(
    "number of units that are on for one image and off for another: ln det of a kernel",
    paper="Mellor et al. 2020, arXiv:2006.04647",
    undefined="two images have the same code, or there are too few units",
    check=independent_images,
)
def naswot(model: nn.Module, images: Tensor) -> float:
    """NASWOT: in how many units different images differ, ``ln det K``.

    The code of an image has one bit for each input of a rectifier: whether it is positive. ``K``
    ``[n, n]`` counts the bits in which two codes agree. Rectifiers are ReLU, GELU, SiLU and the
    like, as modules or functions, and clamping at 0, but not products such as ``x·σ(x)``; every
    channel of every token or position is a unit. One forward pass of the images ``[n, C, H, W]``,
    and one of a single image. NaN if ``K`` is singular. A ValueError if there are fewer than two
    images, no rectifier's input depends on the image, or the output is not finite.
    """
    with torch.no_grad(), evaluating(model):
        images = input_for(model, _at_least_two(images))
        signs = _RectifierSigns(images)
        with signs:
            network_output(model, images[:1])
        signs.single = deque(signs.shapes)
        with signs:
            out = network_output(model, images)
    if not signs.units:
        raise ValueError(f"{type(model).__name__} has no rectifier that depends on the image")
    # Agreements are half of all units and of the inner products of signs.
    kernel, finite = to_host([(signs.products + signs.units) / 2, out.isfinite().all()])
    if not finite:
        raise ValueError(f"{type(model).__name__} gives outputs that are not finite")
    spectrum = torch.linalg.eigvalsh(kernel)
    if not spectrum[0] > len(spectrum) * torch.finfo(torch.float64).eps * spectrum[-1]:
        return torch.nan
    return float(spectrum.log().sum())


class _RectifierSigns(InterceptOperations):
    """Inner products of the images' signs over all inputs of rectifiers, without keeping them."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        size = len(images), len(images)
        self.products = torch.zeros(size, dtype=torch.float64, device=images.device)
        self.units = 0
        # Those of a single image show the sample axis, and which rectifiers see the images.
        self.shapes: list[torch.Size] = []
        self.single: deque[torch.Size] = deque()

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if is_rectifier(func, args, kwargs):
            # Before the call, which may be in place.
            units = args[0] if args else kwargs["input"]
            self.shapes.append(units.shape)
            if self.single:
                self._add(units, self.single.popleft())
        return func(*args, **kwargs)

    def _add(self, units: Tensor, single: torch.Size) -> None:
        axis = next((i for i, size in enumerate(single) if size != units.shape[i]), None)
        if axis is None:
            return
        rows = units.movedim(axis, 0).reshape(len(self.products), -1)
        self.units += rows.shape[1]
        for piece in rows.split(max(1, _BLOCK_SIGNS // len(rows)), dim=1):
            signs = (piece > 0).float().mul_(2).sub_(1)
            self.products += signs @ signs.T


def _input_gradients(model: nn.Module, images: Tensor) -> Tensor:
    """Gradients of the summed outputs; 0 where they are no more than rounding of these outputs.

    So they are of the features of a layer norm, whose sum is constant.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        outputs = network_output(model, leaf)
        total = outputs.sum()
    if not total.requires_grad:
        raise ValueError(f"the output of {type(model).__name__} ignores its input")
    gradients = torch.autograd.grad(total, leaf)[0]
    # What pixels of about 1, as normalised ones are, change in the sum.
    effects = math.sqrt(leaf[0].numel()) * gradients.flatten(1).norm(dim=1)
    summands = outputs.detach().flatten(1).abs().sum(1)
    rounding = effects < _ROUNDING * torch.finfo(gradients.dtype).eps * summands
    return gradients.masked_fill(rounding.view(-1, *[1] * (gradients.dim() - 1)), 0.0)


def _at_least_two(images: Tensor) -> Tensor:
    if len(images) < 2:
        raise ValueError(f"{len(images)} images cannot be compared; use at least 2")
    return images


_RECTIFIERS = forms_of(
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu"),
    *("gelu", "silu", "mish", "hardswish", "softplus"),
)
# Operations that are rectifiers where an argument, by its name and place, is 0.
_RECTIFIERS_AT_ZERO: dict[Operation, tuple[str, int]] = {
    **dict.fromkeys(forms_of("hardtanh"), ("min_val", 1)),
    **dict.fromkeys(forms_of("clamp", "clip", "clamp_min"), ("min", 1)),
    **dict.fromkeys(forms_of("threshold"), ("threshold", 1)),
}


def is_rectifier(func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is of an activation that has an off state, such as ReLU and GELU."""
    if func not in _RECTIFIERS_AT_ZERO:
        return func in _RECTIFIERS
    name, place = _RECTIFIERS_AT_ZERO[func]
    bound = args[place] if len(args) > place else kwargs.get(name)
    return isinstance(bound, int | float) and bound == 0
