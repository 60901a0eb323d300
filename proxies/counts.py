"""Parameters and multiply-adds of a network: the trivial baselines of every measure."""

import copy
import inspect
import re
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from types import FunctionType, MethodType
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from proxies.functional import InterceptOperations, Operation
from proxies.messages import fault
from proxies.text import listed

Rules = Literal["core", "fvcore"]
"""Which operations count.

``"core"``: multiply-adds of convolutions, linear maps and matrix products, attention included.
Norms, activations, additions, pooling and interpolation count 0.

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

    Runs a copy on the meta device with PyTorch's own counter: nothing is computed, no weight is
    copied, and ``module`` is not changed. A warning names products that have no formula, such as
    users' own operations; ``torch.utils.flop_counter.register_flop_formula`` adds one.

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
    return count_by_module(module, image_size, channels, rules=rules)[""]


def count_by_module(
    module: nn.Module, image_size: int = 224, channels: int = 3, *, rules: Rules = "core"
) -> dict[str, Cost]:
    """:func:`count` for the module, under the name ``""``, and for every submodule by its name.

    What has several names counts under the first, as ``named_modules`` does, so the parts of a
    module and what it has of its own add up to it.
    """
    if rules not in get_args(Rules):
        raise ValueError(f"rules={rules!r} is not one of {', '.join(map(repr, get_args(Rules)))}")
    shape = (1, channels, image_size, image_size)
    try:
        skeleton = _on_meta(module, {})
        with suppress(NotImplementedError):  # as of exported programs, whose mode is fixed
            skeleton.eval()
        counter = _run(skeleton, shape, rules)
    except MemoryError:
        raise
    except Exception as error:  # the network may be anybody's
        raise ValueError(
            f"cannot count {type(module).__name__} on {shape} images: {fault(error)}"
        ) from error
    if counter.uncounted:
        warnings.warn(
            f"multiply-adds of {type(module).__name__} leave out "
            f"{listed(sorted(counter.uncounted))}: no formula; register one with "
            "torch.utils.flop_counter.register_flop_formula",
            stacklevel=3,
        )
    params = Counter[str]()
    for name, parameter in skeleton.named_parameters():
        params[name.rpartition(".")[0]] += parameter.numel()
    totals = [_with_outer(own) for own in (params, counter.macs)]
    names = (name for name, _ in skeleton.named_modules())
    return {name: Cost(*(total[name] for total in totals)) for name in names}


def parameters(module: nn.Module) -> int:
    """Count the parameters of ``module``; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _with_outer(own: Counter[str]) -> Counter[str]:
    """Sums of what modules have of their own over all that lies in them, by name."""
    totals = Counter[str]()
    for name, amount in own.items():
        path = name.split(".") if name else []
        for end in range(len(path) + 1):
            totals[".".join(path[:end])] += amount
    return totals


def _run(skeleton: nn.Module, shape: Sequence[int], rules: Rules) -> "_Counter":
    """What a module on the meta device does in a pass of an image."""
    first = next((p for p in skeleton.parameters() if p.is_floating_point()), None)
    dtype = torch.get_default_dtype() if first is None else first.dtype
    counter = _Counter(skeleton)
    functions = _Functions(counter, _CHARGES if rules == "fvcore" else {})
    # Within inference mode, operations would not be taken apart.
    with torch.inference_mode(False), torch.no_grad(), counter, functions:
        skeleton(torch.empty(*shape, dtype=dtype, device="meta"))
    return counter


class _Counter(TorchDispatchMode):
    """Counts by PyTorch's formulas, for tensors as they are where torch.vmap stacks them.

    An operation runs once for all arguments of one layout: the meta device takes up to
    milliseconds for it, and networks repeat theirs.
    """

    _known: ClassVar[dict[object, Any]] = {}  # operation and layouts of its arguments -> result
    _most = 10_000

    def __init__(self, skeleton: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = Counter[str]()  # by name of the innermost module
        self.uncounted = set[str]()  # names of operations
        self._formulas = FlopCounterMode(display=False, custom_mapping=_formulas()).flop_registry
        self._running = [""]
        for name, part in skeleton.named_modules():
            part.register_forward_pre_hook(partial(self._enter, name), prepend=True)
            part.register_forward_hook(self._leave, always_call=True)

    def _enter(self, name: str, *_: object) -> None:
        self._running.append(name)

    def _leave(self, *_: object) -> None:
        self._running.pop()

    def add(self, macs: int) -> None:
        """Count for the module that runs."""
        self.macs[self._running[-1]] += macs

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Result of an operation, counted."""
        kwargs = kwargs or {}
        result = self._result(func, args, kwargs)
        if (formula := self._formulas.get(func.overloadpacket)) is not None:
            self.add(formula(*args, **kwargs, out_val=result) // 2)  # 2 for a multiply-add
        elif _multiplies(func):
            self.uncounted.add(func.name())
        return result

    def _result(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            key = func, _layouts(args), _layouts([*kwargs.items()])
            known = self._known.get(key)
        except TypeError:  # an argument is more than its layout
            return func(*args, **kwargs)
        if known is not None:
            return args[0] if known is _FIRST else _fresh(known)
        result = func(*args, **kwargs)
        if len(self._known) >= self._most:
            self._known.clear()
        if _only_computes(func) and _all_meta(result):
            self._known[key] = _fresh(result)  # apart, as networks may change shapes in place
        elif args and result is args[0] and _layouts(args) == key[1]:
            self._known[key] = _FIRST
        return result


_FIRST = object()  # an operation in place


def _layouts(value: object) -> object:
    """What decides the layout of a result: those of tensors, and other values.

    Raises:
        TypeError: For a tensor that is more than its layout.
    """
    if isinstance(value, Tensor):
        if not value.is_meta or type(value) not in (Tensor, nn.Parameter):
            raise TypeError(f"{type(value).__name__} on {value.device}")
        return value.shape, value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple(map(_layouts, value))
    return type(value), value  # as 1 equals 1.0


@cache
def _only_computes(func: Any) -> bool:
    """Whether an operation neither changes its arguments nor returns views of them."""
    schema = func._schema
    return not schema.is_mutable and all(one.alias_info is None for one in schema.returns)


@cache
def _multiplies(func: Any) -> bool:
    return _PRODUCT.search(func.name()) is not None


def _all_meta(result: object) -> bool:
    if isinstance(result, list | tuple):
        return all(map(_all_meta, result))
    return isinstance(result, Tensor) and result.is_meta


def _fresh(result: Any) -> Any:
    """The same layouts in other tensors."""
    return result.detach() if isinstance(result, Tensor) else tuple(map(_fresh, result))


class _Functions(InterceptOperations):
    """What is seen only before PyTorch takes functions apart: fvcore's charges, and vecdot."""

    def __init__(self, counter: _Counter, charges: Mapping[Operation, int]) -> None:
        super().__init__()
        self._counter, self._charges = counter, charges

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func in self._charges:
            call = _SIGNATURES[func].bind(*args, **kwargs).arguments
            each = self._charges[func] + (call.get("weight") is not None)
            if call.get("training"):
                each += 3  # a batch norm computes its statistics
            self._counter.add(each * call["input"].numel())
        return _vecdot(*args, **kwargs) if func is torch.linalg.vecdot else func(*args, **kwargs)


def _vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """torch.linalg.vecdot by a matrix product, which counts, in place of a sum."""
    rows, columns = (one.movedim(dim, -1) for one in torch.broadcast_tensors(x, y))
    products: Tensor = rows.unsqueeze(-2) @ columns.unsqueeze(-1)
    return products.squeeze((-2, -1))


#: fvcore's charge per element of the first argument, without gain; a gain adds 1.
_CHARGES: Mapping[Operation, int] = {
    F.layer_norm: 4,
    F.group_norm: 4,
    F.instance_norm: 4,
    F.batch_norm: 1,  # one scale and shift
    F.adaptive_avg_pool2d: 1,
}
_SIGNATURES = {func: inspect.signature(func) for func in _CHARGES}

#: Names of users' operations, and of PyTorch's that multiply and add, with a formula or without.
_PRODUCT = re.compile(
    r"^(?!aten::|prims?::|profiler::)|(mm|mv|dot)(_|$)|conv(_|\d|ol)|matmul|(^|_|:)linear(_|$)|attention|rnn"
    r"|transformer|[cp]dist|fft|solve|cholesky|ormqr|geqrf"
    r"|linalg_(?!vector_norm|_?powsum|cross|check_errors)"
)


def _formulas() -> dict[Any, Callable[..., int]]:
    """Products that PyTorch's counter overlooks -> 2 for a multiply-add, from their shapes."""
    aten = torch.ops.aten
    sums_of_products = (aten.addmm_, aten.baddbmm_, aten.addbmm, aten.addbmm_)
    formulas: dict[Any, Callable[..., int]] = {
        **dict.fromkeys((aten.mv, aten.dot, aten.vdot), lambda left, *_, **__: 2 * prod(left)),
        **dict.fromkeys((aten.addmv, aten.addmv_), lambda _, matrix, *__, **___: 2 * prod(matrix)),
        **dict.fromkeys(
            sums_of_products, lambda _, left, right, *__, **___: 2 * prod(left) * right[-1]
        ),
        aten._int_mm: lambda left, right, *_, **__: 2 * prod(left) * right[-1],
        aten._trilinear: _bilinear,
        aten.conv_tbc: lambda _, kernel, *__, out_shape, **___: (
            2 * prod((*out_shape, *kernel[:2]))
        ),
    }
    deformable = getattr(torch.ops.torchvision, "deform_conv2d", None)
    if deformable is not None:  # torchvision has been imported
        formulas[deformable] = _deformable
    return formulas


def _bilinear(first: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Each output of a row is its first vector times a matrix, times its second vector."""
    outputs, inputs, others = weight
    return 2 * first[0] * outputs * (inputs + 1) * others


def _deformable(
    _: Sequence[int], kernel: Sequence[int], *__: Any, out_shape: Sequence[int], **___: Any
) -> int:
    """A convolution; shifting its windows counts nothing, as interpolation does not."""
    return 2 * prod((*out_shape, *kernel[1:]))


def _on_meta(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy with tensors on the meta device; what cannot be copied, as a lock, is shared.

    ``memo`` has the copies of objects by their ids, as for :func:`copy.deepcopy`.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if id(value) in memo:
        return memo[id(value)]
    copied: Any
    if isinstance(value, Tensor):
        copied = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
        if isinstance(value, nn.Parameter):
            copied = nn.Parameter(copied, requires_grad=False)
    elif hasattr(value, "_orig_mod"):  # compiled by torch
        copied = _on_meta(value._orig_mod, memo)
    elif isinstance(value, nn.Module) or _has_only_attributes(value):
        copied = memo[id(value)] = object.__new__(kind)
        state = nn.Module.__getstate__(value) if isinstance(value, nn.Module) else vars(value)
        vars(copied).update({name: _on_meta(one, memo) for name, one in state.items()})
    elif kind in (dict, OrderedDict):
        copied = memo[id(value)] = kind()
        copied.update({_on_meta(key, memo): _on_meta(one, memo) for key, one in value.items()})
    elif kind in (list, tuple, set):
        copied = kind([_on_meta(one, memo) for one in value])
    elif kind is MethodType:  # a hook
        copied = MethodType(value.__func__, _on_meta(value.__self__, memo))
    else:
        try:
            copied = copy.deepcopy(value, memo)
        except Exception:  # noqa: BLE001 - it may be anything
            copied = value
    memo[id(value)] = copied
    return copied


_ATOMS = {bool, int, float, str, bytes, type(None), type, FunctionType}


def _has_only_attributes(value: object) -> bool:
    """Whether a copy of an object is one of its attributes."""
    kind = type(value)
    return (
        kind.__new__ is object.__new__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and not hasattr(kind, "__deepcopy__")
        and hasattr(value, "__dict__")
    )
