"""Parameters and multiply-adds of a network: the trivial baselines of every measure."""

import copy
import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from proxies.functional import InterceptOperations, Operation
from proxies.messages import fault

Rules = Literal["core", "fvcore"]
"""Which operations count.

``"core"``: multiply-adds of convolutions, linear maps and matrix products, attention included.
Norms, activations, additions and pooling count 0.

``"fvcore"``: the same, and what fvcore 0.1.5 adds: 5 per element of a layer, group or instance
norm (4 without gain), 2 per element of a batch norm in evaluation mode (1 without gain), 1 per
input element of adaptive average pooling. Attention counts as its two products; fvcore itself does
so only for attention that is written out, and counts the fused function as 0.
"""


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Example:
        >>> cost = proxies.count(torch.nn.Conv2d(3, 8, 3, padding=1), image_size=32)
        >>> cost.params, cost.macs
        (224, 221184)
    """

    params: int  #: number of parameters; shared ones count once
    #: Multiply-adds of one forward pass of one image, by the chosen rules; see :data:`Rules`.
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


@dataclass(frozen=True)
class TimedCost(Cost):
    """Size of a network, and its latency."""

    latency: float  #: milliseconds of a forward pass


def count(
    module: nn.Module, image_size: int = 224, channels: int = 3, *, rules: Rules = "core"
) -> Cost:
    """Count the parameters and multiply-adds of ``module`` in evaluation mode.

    Runs a copy on the meta device: nothing is computed, no weight is copied, and ``module`` is not
    changed.

    Args:
        module: Takes ``[1, channels, image_size, image_size]``.
        image_size: Side of the image in pixels.
        channels: Channels of the image.
        rules: Which operations count; see :data:`Rules`.

    Raises:
        ValueError: If the module cannot run on such an image or needs values to run, or the rules
            are unknown.

    Example:
        >>> proxies.count(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), image_size=32)
        Cost(params=216, macs=221184)
    """
    return _whole(_on_meta(module), image_size, channels, rules)


def count_in_place(module: nn.Module, image_size: int, channels: int) -> Cost:
    """:func:`count` for a module that nothing else uses: on the meta device it is not copied."""
    there = all(tensor.is_meta for tensor in _tensors(module))
    return _whole(module if there else _on_meta(module), image_size, channels, "core")


def _whole(skeleton: nn.Module, image_size: int, channels: int, rules: Rules) -> Cost:
    macs = _macs(skeleton, image_size, channels, rules, _Whole())
    return Cost(parameters(skeleton), macs[_WHOLE])


def count_by_module(
    module: nn.Module, image_size: int = 224, channels: int = 3, *, rules: Rules = "core"
) -> dict[str, Cost]:
    """:func:`count` for the module, under the name ``""``, and for every submodule by its name."""
    skeleton, tracker = _on_meta(module), ModuleTracker()
    _name_containers(skeleton, tracker.parents)
    macs = _macs(skeleton, image_size, channels, rules, tracker)
    whole = type(skeleton).__name__  # with which PyTorch prefixes names
    macs[whole] = macs[_WHOLE]
    return {
        name: Cost(parameters(part), macs[f"{whole}.{name}".rstrip(".")])
        for name, part in skeleton.named_modules()
    }


_WHOLE = "Global"  # what PyTorch calls all that runs


class _Whole(ModuleTracker):
    """Leaves modules alone, as all that they do counts together."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _macs(
    skeleton: nn.Module, image_size: int, channels: int, rules: Rules, tracker: ModuleTracker
) -> Counter[str]:
    """Multiply-adds of all that the tracker names, of a module on the meta device."""
    if rules not in get_args(Rules):
        raise ValueError(f"rules={rules!r} is not one of {', '.join(map(repr, get_args(Rules)))}")
    skeleton.eval()
    first = next((p for p in skeleton.parameters() if p.is_floating_point()), None)
    dtype = torch.get_default_dtype() if first is None else first.dtype
    image = torch.empty(1, channels, image_size, image_size, dtype=dtype, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=_MISSING)
    products = _ProductsOnly(tracker.parents)
    counter.mod_tracker = tracker
    with ExitStack() as stack, torch.no_grad(), counter:
        # Keep nn.TransformerEncoderLayer off its fused operator, which counts as 0.
        mha = torch.backends.mha
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        mha.set_fastpath_enabled(False)
        try:
            with products:
                skeleton(image)
        except MemoryError:
            raise
        except Exception as error:  # the network may be anybody's
            raise ValueError(
                f"cannot count {type(skeleton).__name__} on {tuple(image.shape)} images: "
                f"{fault(error)}"
            ) from error
    # PyTorch counts 2 for a multiply-add.
    counts = counter.get_flop_counts()
    macs = products.macs + Counter({n: sum(ops.values()) // 2 for n, ops in counts.items()})
    return macs + products.charges if rules == "fvcore" else macs


def _name_containers(skeleton: nn.Module, running: set[str]) -> None:
    """Have calls of a module count for all that it lies in: lists of layers are never called.

    ``running`` has the names of the modules that are being called.
    """

    def watch(part: nn.Module, names: Sequence[str]) -> None:
        added: list[list[str]] = []

        def enter(*_: object) -> None:
            added.append([name for name in names if name not in running])
            running.update(added[-1])

        def leave(*_: object) -> None:
            running.difference_update(added.pop())

        part.register_forward_pre_hook(enter)
        part.register_forward_hook(leave)

    for name, part in skeleton.named_modules():
        path = [type(skeleton).__name__, *name.split(".")]
        watch(part, [".".join(path[:end]) for end in range(2, len(path))])


class _ProductsOnly(InterceptOperations):
    """Run products, and skip what keeps the shape.

    The meta device takes up to milliseconds for an operation, so the usual products are counted
    here; only others, and those that cannot be run, are left to PyTorch.
    """

    def __init__(self, running: set[str]) -> None:
        super().__init__()
        self.macs = Counter[str]()  # of products that are counted here, by module name
        self.charges = Counter[str]()  # what fvcore charges for operations, likewise
        self._running = running  # names of the modules that are being called

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func in _CHARGES:
            call = _SIGNATURES[func].bind(*args, **kwargs).arguments
            each = _CHARGES[func] + (call.get("weight") is not None)
            if call.get("training"):
                each += 3  # a batch norm computes its statistics
            charge = each * int(call["input"].numel())
            self.charges.update(dict.fromkeys(self._running, charge))
        if args and (
            func in _FREE or (func in _ELEMENTWISE and _keeps_the_first(*args, **kwargs))
        ):
            return args[0].detach()  # another tensor, whose shape may be changed in place
        if func in _PRODUCTS and not kwargs and (product := _PRODUCTS[func](*args)):
            shape, macs = product
            self.macs.update(dict.fromkeys(self._running, macs))
            return torch.empty(shape, dtype=args[0].dtype, device="meta")
        if func is F.scaled_dot_product_attention and not kwargs.get("enable_gqa"):
            return _attention_products(*args, **kwargs)
        return func(*args, **kwargs)


def _attention_products(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """The two products of attention, whose map costs nothing."""
    return query @ key.transpose(-1, -2) @ value


def _keeps_the_first(first: object, *others: object, **options: object) -> bool:
    """Whether the result of an elementwise operation is laid out as its first argument is."""

    def alike(other: object) -> bool:
        if isinstance(other, Tensor):
            return (other.shape, other.dtype, other.device) == like and other.is_contiguous()
        return isinstance(other, (int, float))

    if options or not isinstance(first, Tensor) or not first.is_floating_point():
        return False
    like = first.shape, first.dtype, first.device
    return first.is_contiguous() and all(map(alike, others))


Product = tuple[tuple[int, ...], int]  # shape of the result, and multiply-adds


def _linear(images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Product | None:
    """A linear map; None if it is not as usual, or an error."""
    if not _fit(images, weight, bias) or weight.dim() != 2 or not images.dim():
        return None
    rows, columns = weight.shape
    if images.shape[-1] != columns:
        return None
    return (*images.shape[:-1], rows), images.numel() * rows


def _convolution(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Product | None:
    """A convolution; None if it is not as usual, or an error."""
    if not _fit(images, weight, bias) or images.dim() != weight.dim() or isinstance(padding, str):
        return None
    (count, channels, *sides), (kernels, depth, *windows) = images.shape, weight.shape
    if channels != depth * groups or kernels % groups:
        return None

    def each(value: Any) -> Sequence[int]:
        return (value,) * len(sides) if isinstance(value, int) else value

    steps = zip(sides, windows, each(stride), each(padding), each(dilation), strict=True)
    left = [
        (side + 2 * pad - dilated * (window - 1) - 1) // step + 1
        for side, window, step, pad, dilated in steps
    ]
    if min(left) < 1:
        return None
    return (count, kernels, *left), count * math.prod(left) * weight.numel()


def _fit(images: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether these are on the meta device with one dtype, and there is a bias for each row."""
    parts = (images, weight) if bias is None else (images, weight, bias)
    if any(part.dtype != images.dtype or not part.is_meta for part in parts):
        return False
    return bias is None or bias.shape == weight.shape[:1]


_FREE = {
    *(F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm),
    *(F.gelu, F.silu, F.hardswish, F.hardsigmoid, F.dropout),
}
_ELEMENTWISE = {
    *(torch.relu, torch.sigmoid, torch.tanh, F.relu, Tensor.relu, Tensor.sigmoid, Tensor.tanh),
    *(torch.add, torch.sub, torch.mul, torch.div),
    *(Tensor.add, Tensor.sub, Tensor.mul, Tensor.div),
    *(Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.div_),
}
_PRODUCTS: Mapping[Callable[..., Any], Callable[..., Product | None]] = {
    F.linear: _linear,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _convolution),
}


def _bilinear(first: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Each output of a row is its first vector times a matrix, times its second vector."""
    outputs, inputs, others = weight
    return 2 * first[0] * outputs * (inputs + 1) * others


_aten = torch.ops.aten
#: Products that PyTorch counts as 0 -> its count, of 2 for a multiply-add, from their shapes.
_MISSING: dict[Any, Callable[..., int]] = {
    **dict.fromkeys((_aten.mv, _aten.dot, _aten.vdot), lambda left, *_, **__: 2 * math.prod(left)),
    _aten.addmv: lambda _, matrix, *__, **___: 2 * math.prod(matrix),
    _aten.addbmm: lambda _, left, right, **__: 2 * math.prod(left) * right[-1],
    _aten._trilinear: _bilinear,
}


#: fvcore's charge per element of the first argument, without gain; a gain adds 1.
_CHARGES: Mapping[Callable[..., Any], int] = {
    F.layer_norm: 4,
    F.group_norm: 4,
    F.instance_norm: 4,
    F.batch_norm: 1,  # one scale and shift
    F.adaptive_avg_pool2d: 1,
}
_SIGNATURES = {func: inspect.signature(func) for func in _CHARGES}


def parameters(module: nn.Module) -> int:
    """Count the parameters of ``module``; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers and plain tensors that its parts have."""
    for part in module.modules():
        values = (*part._parameters.values(), *part._buffers.values(), *vars(part).values())
        yield from (value for value in values if isinstance(value, Tensor))


def _on_meta(module: nn.Module) -> nn.Module:
    """A copy of the module with tensors on the meta device."""
    memo: dict[int, object] = {}
    for tensor in _tensors(module):
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, False) if is_parameter else empty
    # A deep copy uses the objects in its memo instead of copying.
    return copy.deepcopy(module, memo)
