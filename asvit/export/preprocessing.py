"""Resizing, cropping and normalisation inside an ONNX graph, which then takes decoded pictures.

Pillow resizes 8-bit pictures by integers: weights of 22 bits, and a rounding to 8 bits after each
direction. The graph does the same arithmetic in standard operators, so its pixels are those of
Pillow, bit for bit, and the network sees what it was tested on. ONNX's own ``Resize`` with
``antialias`` differs by a level in up to 0.1 % of the pixels.

Other arrays are resized in float32, as torchvision does it.

References:
    Pillow's ``src/libImaging/Resample.c``; torchvision's ``resize`` and ``center_crop``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from asvit.core.running import IMAGE, INPUT, OUTPUT, PROBABILITIES
from asvit.data.preparation import BORDER, CENTER, SQUASH, Preparation
from proxies.messages import unknown

_BITS: Final = 22  # of Pillow's weights
_BLOCK: Final = 16  # pixels that are computed together, from the range that they depend on
_PREFIX: Final = "prepare_"  # of the names in the graph

Value = str | NDArray[Any] | int | float | Sequence[int] | None


def with_preprocessing(network: onnx.ModelProto, how: Preparation) -> onnx.ModelProto:
    """A graph that takes one picture, ``[height, width, channels]`` of any size.

    Its outputs are the network's, and the probabilities of the classes, ``[1, classes]`` each.

    Args:
        network: Takes one image, ``[1, channels, side, side]``.
        how: How pictures are prepared for it.

    Raises:
        ValueError: If they are resized by a filter that the graph does not have.
    """
    if how.interpolation not in _FILTERS:
        raise ValueError(unknown("interpolation", how.interpolation, _FILTERS))
    ops = _Operators()
    pixels = _resized_crop(ops, IMAGE, how)
    shape = (how.kind.channels, 1, 1)
    mean, std = (np.array(of, np.float32).reshape(shape) for of in (how.mean, how.std))
    shares = ops.Div(ops.Cast(pixels, to=TensorProto.FLOAT), np.float32(how.kind.scale))
    normal = ops.Div(ops.Sub(shares, mean), std)
    ops.Unsqueeze(normal, [0], output=INPUT)
    whole = onnx.ModelProto()
    whole.CopyFrom(network)
    graph = whole.graph
    own = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*ops.nodes, *own])
    graph.initializer.extend(ops.constants)
    sides: list[str | int | None] = ["height", "width", how.kind.channels]
    numbers = helper.np_dtype_to_tensor_dtype(np.dtype(how.kind.dtype))
    graph.input.append(helper.make_tensor_value_info(IMAGE, numbers, sides))
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    graph.node.append(helper.make_node("Softmax", [OUTPUT], [PROBABILITIES], axis=1))
    shares_info = (PROBABILITIES, TensorProto.FLOAT, [1, classes])
    graph.output.append(helper.make_tensor_value_info(*shares_info))
    return whole


class _Operators:
    """Nodes of a graph, added by calling an operator's name, and their constants.

    An input is the name of a value or a constant: int and float are int64 and float64.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __getattr__(self, operator: str) -> Callable[..., str]:
        return partial(self._add, operator)

    def _add(self, operator: str, *inputs: Value, output: str = "", **attributes: Any) -> str:
        names = [self._name(value) for value in inputs]
        name = output or f"{_PREFIX}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [name], **attributes))
        return name

    def _name(self, value: Value) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        name = f"{_PREFIX}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _resized_crop(ops: _Operators, image: str, how: Preparation) -> str:
    """Pixels ``[channels, side, side]``, uint8 or float32, of ``[height, width, channels]``."""
    shape = ops.Shape(image)
    height, width = ops.Gather(shape, 0), ops.Gather(shape, 1)
    if not how.kind.picture:
        image = ops.Cast(image, to=TensorProto.FLOAT)
    resampled = _resampled_by_integers if how.kind.picture else _resampled
    pixels = ops.Transpose(image, perm=[1, 2, 0])  # the direction to resample is the first one
    inside = []
    for length in (width, height):
        resized = _resized(ops, length, (height, width), how)
        first = _first(ops, resized, how)
        blocks = resampled(ops, pixels, *_band(ops, length, resized, first, how))
        cropped = ops.Slice(blocks, [0], [how.image_size], [0])
        pixels = ops.Transpose(cropped, perm=[2, 1, 0])
        places = ops.Add(first, np.arange(how.image_size))
        inside.append(ops.And(ops.GreaterOrEqual(places, 0), ops.Less(places, resized)))
    pixels = ops.Transpose(pixels, perm=[1, 2, 0])
    if how.crop_mode != BORDER:
        return pixels
    columns, rows = inside
    fill = how.kind.scale * np.array(how.mean).reshape(-1, 1, 1)
    colour = np.rint(fill).astype(np.uint8) if how.kind.picture else fill.astype(np.float32)
    within = ops.And(ops.Unsqueeze(rows, [1]), ops.Unsqueeze(columns, [0]))
    return ops.Where(within, pixels, colour)


def _resized(ops: _Operators, length: str, sides: tuple[str, str], how: Preparation) -> str:
    """One of the sides of a picture after it is resized, as ``resized_sides`` gives them."""
    side = math.floor(how.image_size / how.crop_pct)
    if how.crop_mode == SQUASH:
        return ops.Add(ops.Mul(length, 0), side)
    if how.crop_mode == CENTER:
        return ops.Div(ops.Mul(side, length), ops.Min(*sides))
    longer, own = (ops.Cast(value, to=TensorProto.DOUBLE) for value in (ops.Max(*sides), length))
    rounded = ops.Round(ops.Div(own, ops.Div(longer, float(side))))  # halves to even numbers
    return ops.Max(ops.Cast(rounded, to=TensorProto.INT64), 1)


def _first(ops: _Operators, resized: str, how: Preparation) -> str:
    """Place of the first pixel of the crop in the resized picture; negative in a border."""
    half = ops.Div(ops.Cast(ops.Sub(resized, how.image_size), to=TensorProto.DOUBLE), 2.0)
    # Python's round, which torchvision crops by, rounds halves to even numbers, too.
    first = ops.Cast(ops.Round(half), to=TensorProto.INT64)
    if how.crop_mode != BORDER:
        return first
    return ops.Where(ops.Less(half, 0.0), ops.Cast(half, to=TensorProto.INT64), first)


def _band(
    ops: _Operators, length: str, resized: str, first: str, how: Preparation
) -> tuple[str, str]:
    """Of what the pixels of the crop are made in one direction, in blocks of 16 pixels.

    Those beyond the picture repeat the ones at its edge.

    Returns:
        Places ``[blocks, taps]`` in the picture, and weights ``[blocks, 16, taps]`` float64, whose
        sum is 1 for each pixel.
    """
    filtered, reach = _FILTERS[how.interpolation]
    blocks = -(-how.image_size // _BLOCK)
    grid = [blocks, _BLOCK]
    # The last block may be longer than the crop; what is outside the picture is cut off later.
    wanted = ops.Add(first, np.arange(blocks * _BLOCK))
    places = ops.Max(ops.Min(wanted, ops.Sub(resized, 1)), 0)
    exact = partial(ops.Cast, to=TensorProto.DOUBLE)
    scale = ops.Div(exact(length), exact(resized))
    wide = ops.Max(scale, 1.0)
    support = ops.Mul(wide, reach)
    centre = ops.Reshape(ops.Mul(ops.Add(exact(places), 0.5), scale), grid)
    ends = [
        ops.Cast(ops.Floor(ops.Add(end, 0.5)), to=TensorProto.INT64)
        for end in (ops.Sub(centre, support), ops.Add(centre, support))
    ]
    begin, end = ops.Max(ends[0], 0), ops.Min(ends[1], length)
    start = ops.Slice(begin, [0], [1], [1])  # of each block, [blocks, 1]
    stop = ops.Slice(end, [_BLOCK - 1], [_BLOCK], [1])
    taps = ops.ReduceMax(ops.Sub(stop, start), keepdims=0)
    taken = ops.Add(start, ops.Range(0, taps, 1))  # [blocks, taps]
    at = ops.Unsqueeze(taken, [1])
    begin, end, centre = (ops.Unsqueeze(value, [2]) for value in (begin, end, centre))
    within = ops.And(ops.GreaterOrEqual(at, begin), ops.Less(at, end))
    away = ops.Mul(ops.Add(ops.Sub(exact(at), centre), 0.5), ops.Div(1.0, wide))
    values = ops.Where(within, filtered(ops, away), 0.0)
    weights = ops.Div(values, ops.ReduceSum(values, [2]))
    return ops.Min(taken, ops.Sub(length, 1)), weights


def _resampled(ops: _Operators, pixels: str, places: str, weights: str) -> str:
    """Pixels ``[length, a, b]`` float32 to ``[blocks * 16, a, b]``."""
    product = ops.MatMul(ops.Cast(weights, to=TensorProto.FLOAT), _taken(ops, pixels, places))
    return _as_before(ops, product, pixels)


def _resampled_by_integers(ops: _Operators, pixels: str, places: str, weights: str) -> str:
    """The same for uint8, as Pillow does it.

    Integer products exist for 8 bits alone, so the weights are taken apart into three digits, each
    128 above its value.
    """
    integer, bits = np.int32, 1 << _BITS
    shares = ops.Mul(weights, float(bits))
    nearest = ops.Add(shares, ops.Where(ops.Less(shares, 0.0), -0.5, 0.5))
    whole = ops.Cast(nearest, to=TensorProto.INT32)  # cuts decimals off
    moved = ops.Add(whole, integer(0x808080))
    digits = [ops.Mod(ops.Div(moved, integer(1 << place)), integer(256)) for place in (16, 8, 0)]
    zero, taken = np.uint8(128), _taken(ops, pixels, places)
    high, middle, low = (
        ops.MatMulInteger(ops.Cast(digit, to=TensorProto.UINT8), taken, zero) for digit in digits
    )
    upper = ops.Add(ops.Mul(high, integer(256)), middle)
    total = ops.Add(ops.Mul(upper, integer(256)), low)
    rounded = ops.Div(ops.Add(total, integer(bits // 2)), integer(bits))
    clipped = ops.Clip(rounded, integer(0), integer(255))
    return _as_before(ops, ops.Cast(clipped, to=TensorProto.UINT8), pixels)


def _taken(ops: _Operators, pixels: str, places: str) -> str:
    """What the blocks are made of, ``[blocks, taps, a * b]``."""
    return ops.Reshape(ops.Gather(pixels, places, axis=0), [0, 0, -1])


def _as_before(ops: _Operators, blocks: str, pixels: str) -> str:
    """Blocks ``[blocks, 16, a * b]`` as ``[blocks * 16, a, b]``."""
    rest = ops.Slice(ops.Shape(pixels), [1], [3])
    return ops.Reshape(blocks, ops.Concat([-1], rest, axis=0))


# Pillow's filters: the weight at a distance in pixels of the smaller side, and how far they reach.


def _bilinear(ops: _Operators, distance: str) -> str:
    return ops.Max(ops.Sub(1.0, ops.Abs(distance)), 0.0)


def _bicubic(ops: _Operators, distance: str) -> str:
    """Keys' kernel with a = -1/2."""
    x = ops.Abs(distance)
    cubic = ops.Mul(ops.Sub(ops.Mul(x, 1.5), 2.5), x)
    inner = ops.Add(ops.Mul(cubic, x), 1.0)
    cubic = ops.Mul(ops.Add(ops.Mul(ops.Sub(x, 5.0), x), 8.0), x)
    outer = ops.Mul(ops.Sub(cubic, 4.0), -0.5)
    beyond = ops.Where(ops.Less(x, 2.0), outer, 0.0)
    return ops.Where(ops.Less(x, 1.0), inner, beyond)


_Filter = Callable[[_Operators, str], str]
_FILTERS: Final[Mapping[str, tuple[_Filter, float]]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
}
