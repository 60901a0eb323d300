"""RandAugment on a device: workers draw the operations, which change whole batches there.

The pixels are those that Pillow would give, but for a few of a rotation, shear or translation
that are rounded otherwise.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from asvit.training.device_queue import to_device

_RAMP = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(1, 256))
_GREY = (19595, 38470, 7471)  # weights of the colours over 2**16, as Pillow has them
_ROUNDING = 2**-10  # more than the errors of float32 in an average of pixels
_PASSED, _CENTRE = 1, 5  # weights of neighbours and of the pixel itself in Pillow's smoothing


@dataclass(frozen=True)  # no tuple, which torch would look into for tensors
class Operation:
    """An operation on one image of a batch."""

    image: int  # its place in the batch
    layer: int  # how many were drawn for this image before
    kind: str
    values: Sequence[float]  # what it needs, as many for all of a kind


@dataclass(eq=False)
class Recorder:
    """Stands for timm's operations: it keeps what was drawn, and changes no image."""

    operations: list[Operation] = field(default_factory=list)
    _image: int = 0
    _layer: int = 0

    def begin(self, image: int) -> None:
        """Further draws are for the image at this place of its batch."""
        self._image, self._layer = image, 0

    def take(self) -> list[Operation]:
        """All that was drawn since the last call."""
        operations, self.operations = self.operations, []
        return operations

    def add(self, kind: str, values: Sequence[float]) -> None:
        """Keep an operation."""
        self.operations.append(Operation(self._image, self._layer, kind, values))
        self._layer += 1

    def standing_for(
        self, operations: Mapping[str, Callable[..., Any]]
    ) -> dict[str, Callable[..., Any]]:
        """What records each of timm's operations, by name; those without a kind here are left."""
        standing = dict(operations)
        for name, function in operations.items():
            own = name.removesuffix("Increasing")
            if own in _TABLES:
                standing[name] = _Recorded(self, "table", _Table(function))
            elif own in _KINDS:
                standing[name] = _Recorded(self, *_KINDS[own])
        return standing

    def serves(self, step: object) -> bool:
        """Whether a step of a transform is a RandAugment all of which is recorded."""
        from timm.data.auto_augment import RandAugment

        return isinstance(step, RandAugment) and all(
            isinstance(operation.aug_fn, _Recorded) for operation in step.ops
        )


@dataclass(frozen=True)
class _Recorded:
    """Takes the place of an operation on an image."""

    recorder: Recorder
    kind: str
    values: Callable[..., Sequence[float]]  # of the size of an image and timm's argument

    def __call__(
        self, image: Image.Image, *level: float, fillcolor: Sequence[int], resample: Any
    ) -> Image.Image:
        kind, values = self.kind, self.values(image.size, *level)
        if kind == "affine":  # timm draws how to interpolate, too
            method = random.choice(resample) if isinstance(resample, (list, tuple)) else resample
            kind, values = Image.Resampling(method).name.lower(), [*values, *fillcolor]
        self.recorder.add(kind, values)
        return image


@dataclass(frozen=True)
class _Table:
    """The new value of each of 256, by the operation itself."""

    function: Callable[..., Image.Image]

    def __call__(self, _size: tuple[int, int], *level: float) -> Sequence[float]:
        return self.function(_RAMP, *level).tobytes()


# Of a move: the matrix that maps a place in the result to one in the image.


def _rotation(size: tuple[int, int], degrees: float) -> Sequence[float]:
    angle = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = size[0] / 2, size[1] / 2
    return cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y


def _shear_x(_size: tuple[int, int], factor: float) -> Sequence[float]:
    return 1, factor, 0, 0, 1, 0


def _shear_y(_size: tuple[int, int], factor: float) -> Sequence[float]:
    return 1, 0, 0, factor, 1, 0


def _translation_x(size: tuple[int, int], share: float) -> Sequence[float]:
    return 1, 0, share * size[0], 0, 1, 0


def _translation_y(size: tuple[int, int], share: float) -> Sequence[float]:
    return 1, 0, 0, 0, 1, share * size[1]


def _factor(_size: tuple[int, int], factor: float = 0.0) -> Sequence[float]:
    return [factor]


# What changes each value alone.
_TABLES = ("Invert", "Posterize", "PosterizeOriginal", "Solarize", "SolarizeAdd", "Brightness")
_KINDS: Mapping[str, tuple[str, Callable[..., Sequence[float]]]] = {
    "AutoContrast": ("autocontrast", _factor),
    "Equalize": ("equalize", _factor),
    "Contrast": ("contrast", _factor),
    "Color": ("colour", _factor),
    "Sharpness": ("sharpness", _factor),
    "Rotate": ("affine", _rotation),
    "ShearX": ("affine", _shear_x),
    "ShearY": ("affine", _shear_y),
    "TranslateXRel": ("affine", _translation_x),
    "TranslateYRel": ("affine", _translation_y),
}


def apply(images: Tensor, operations: Sequence[Operation]) -> None:
    """Change ``[b, 3, S, S]`` uint8 images in place, each by its operations in order."""
    groups: dict[tuple[int, str], list[Operation]] = {}
    for operation in operations:
        groups.setdefault((operation.layer, operation.kind), []).append(operation)
    for (_, kind), group in sorted(groups.items()):
        places = to_device(torch.tensor([own.image for own in group]), images.device)
        values = to_device(
            torch.tensor([[*own.values] for own in group], dtype=torch.float64), images.device
        )
        images[places] = _CHANGES[kind](images[places], values)


def _looked_up(images: Tensor, tables: Tensor) -> Tensor:
    """New values from tables ``[n, 1 or 3, 256]``."""
    tables = tables.to(torch.uint8).expand(-1, images.shape[1], -1)
    return tables.gather(2, images.flatten(2).long()).view_as(images)


def _histograms(images: Tensor) -> Tensor:
    """How often each value is there, ``[n, 3, 256]``."""
    values = images.flatten(2).long()
    counts = values.new_zeros(*values.shape[:2], 256)
    return counts.scatter_add_(2, values, torch.ones_like(values))


def _first_and_last(there: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last value of those that are there, ``[n, 3, 1]`` each."""
    there = there.to(torch.uint8)
    return there.argmax(2, keepdim=True), 255 - there.flip(2).argmax(2, keepdim=True)


def _autocontrasted(images: Tensor, _values: Tensor) -> Tensor:
    low, high = _first_and_last(_histograms(images) > 0)
    values = torch.arange(256, device=images.device, dtype=torch.float64)
    span = (high - low).clamp(min=1).double()
    scale = torch.full_like(span, 255.0) / span  # a number over a tensor would be rounded twice
    tables = (values * scale - low * scale).trunc().clamp(0, 255)
    return _looked_up(images, torch.where(high > low, tables, values))


def _equalised(images: Tensor, _values: Tensor) -> Tensor:
    counts = _histograms(images)
    _, last = _first_and_last(counts > 0)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, last)) // 255
    before = counts.cumsum(2) - counts
    tables = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    unchanged = torch.arange(256, device=images.device)
    return _looked_up(images, torch.where(step > 0, tables, unchanged))


def _grey(images: Tensor) -> Tensor:
    """The brightness of each pixel, ``[n, 1, S, S]`` int32."""
    red, green, blue = images.int().split(1, dim=1)
    return cast("Tensor", (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue + 2**15) >> 16)


def _blended(base: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """A part of the way from the base to the images, or beyond them."""
    whole, shares = base.float(), factors.float().view(-1, 1, 1, 1)
    return (whole + shares * (images - whole)).clamp(0, 255).to(torch.uint8)


def _contrasted(images: Tensor, factors: Tensor) -> Tensor:
    means = _grey(images).double().mean((1, 2, 3), keepdim=True)
    return _blended((means + 0.5).floor(), images, factors)


def _coloured(images: Tensor, factors: Tensor) -> Tensor:
    return _blended(_grey(images), images, factors)


def _sharpened(images: Tensor, factors: Tensor) -> Tensor:
    weights = images.new_full((1, 1, 3, 3), _PASSED, dtype=torch.float32)
    weights[..., 1, 1] = _CENTRE
    smooth = images.float()
    inner = functional.conv2d(smooth.flatten(0, 1).unsqueeze(1), weights) / weights.sum()
    smooth[..., 1:-1, 1:-1].copy_((inner + 0.5).floor().view_as(smooth[..., 1:-1, 1:-1]))
    return _blended(smooth, images, factors)


def _bilinear_weights(at: Tensor) -> Sequence[Tensor]:
    return 1 - at, at


def _bicubic_weights(at: Tensor) -> Sequence[Tensor]:
    """As Pillow has them where it transforms: the slope at a pixel is that of its neighbours."""
    square = at * at
    cube = square * at
    return (
        2 * square - at - cube,
        1 - 2 * square + cube,
        at + square - cube,
        cube - square,
    )


@dataclass(frozen=True)
class _Affine:
    """Takes each pixel from a place of the image, between its pixels."""

    weights: Callable[[Tensor], Sequence[Tensor]]  # of the neighbours, by the place between two

    def __call__(self, images: Tensor, values: Tensor) -> Tensor:
        height, width = images.shape[2:]
        a, b, c, d, e, f = values[:, :6].view(-1, 6, 1, 1).unbind(1)
        y, x = torch.meshgrid(
            *(torch.arange(n, device=images.device).double() + 0.5 for n in (height, width)),
            indexing="ij",
        )
        x, y = a * x + b * y + c, d * x + e * y + f
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        left, top = (x - 0.5).floor(), (y - 0.5).floor()
        columns, rows = (
            [share.float().unsqueeze(1) for share in self.weights(at)]
            for at in (x - 0.5 - left, y - 0.5 - top)
        )
        pixels, first = images.flatten(2).float(), 1 - len(rows) // 2
        result = torch.zeros_like(images, dtype=torch.float32)
        for row, share_of_row in enumerate(rows, first):
            begin = (top + row).clamp(0, height - 1).long() * width
            for column, share in enumerate(columns, first):
                at = begin + (left + column).clamp(0, width - 1).long()
                near = pixels.gather(2, at.flatten(1).unsqueeze(1).expand_as(pixels))
                result += share_of_row * share * near.view_as(result)
        fill = values[:, 6:].float().view(len(images), -1, 1, 1)
        whole = (result + _ROUNDING).clamp(0, 255)  # Pillow cuts decimals off
        return torch.where(inside.unsqueeze(1), whole, fill).to(torch.uint8)


_CHANGES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "table": lambda images, values: _looked_up(images, values.unsqueeze(1)),
    "autocontrast": _autocontrasted,
    "equalize": _equalised,
    "contrast": _contrasted,
    "colour": _coloured,
    "sharpness": _sharpened,
    "bilinear": _Affine(_bilinear_weights),
    "bicubic": _Affine(_bicubic_weights),
}
