"""Parameters and multiply-adds of a network: the trivial baselines of every measure."""

import copy
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from proxies.functional import running_modules
from proxies.messages import fault
from proxies.text import listed


@dataclass(frozen=True)
class Cost:
    """Size of a network."""

    params: int  #: number of parameters; shared ones count once
    #: Multiply-adds of one forward pass of one image, in convolutions, linear maps and matrix
    #: products, attention included; norms, activations, additions and pooling count 0.
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


@dataclass(frozen=True)
class TimedCost(Cost):
    """Size of a network, and its latency."""

    latency: float  #: milliseconds of a forward pass


def count(module: nn.Module, image_size: int = 224, channels: int = 3) -> Cost:
    """Count the parameters and multiply-adds of ``module`` in evaluation mode.

    Runs a copy on the meta device, for an image ``[1, channels, image_size, image_size]``, by
    PyTorch's own formulas: nothing is computed or changed. A warning names products that have no
    formula, such as users' own operations; ``torch.utils.flop_counter.register_flop_formula`` adds
    one. A ValueError if the module cannot run on such an image or needs values to run.

    Example:
        >>> proxies.count(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), image_size=32)
        Cost(params=216, macs=221184)
    """
    return count_by_module(module, image_size, channels)[""]


def count_by_module(
    module: nn.Module, image_size: int = 224, channels: int = 3
) -> dict[str, Cost]:
    """:func:`count` for the module, under the name ``""``, and for every submodule by its name.

    What has several names counts under the first, as ``named_modules`` does, so the parts of a
    module and what it has of its own add up to it.
    """
    kind, shape = type(module).__name__, (1, channels, image_size, image_size)
    try:
        # Within inference mode, operations would not be taken apart.
        with torch.inference_mode(False), torch.no_grad():
            skeleton = _on_meta(module)
            dtypes = (p.dtype for p in skeleton.parameters() if p.is_floating_point())
            image = torch.empty(shape, dtype=next(dtypes, torch.float32), device="meta")
            with running_modules(skeleton) as running, _Counter(running) as counter:
                skeleton(image)
    except MemoryError:
        raise
    except Exception as error:  # the network may be anybody's
        raise ValueError(f"cannot count {kind} on {shape} images: {fault(error)}") from error
    if counter.uncounted:
        warnings.warn(
            f"multiply-adds of {kind} leave out {listed(sorted(counter.uncounted))}: no formula; "
            "register one with torch.utils.flop_counter.register_flop_formula",
            stacklevel=2,
        )
    params = Counter[str]()
    for name, parameter in skeleton.named_parameters():
        params[name.rpartition(".")[0]] += parameter.numel()
    totals = [_with_outer(own) for own in (params, counter.macs)]
    names = (name for name, _ in skeleton.named_modules())
    return {name: Cost(*(total[name] for total in totals)) for name in names}


def _with_outer(own: Counter[str]) -> Counter[str]:
    """Sums of what modules have of their own over all that lies in them, by name."""
    totals = Counter[str]()
    for name, amount in own.items():
        path = name.split(".") if name else []
        for end in range(len(path) + 1):
            totals[".".join(path[:end])] += amount
    return totals


def _on_meta(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose tensors are on the meta device."""
    module = getattr(module, "_orig_mod", module)  # of what torch.compile has compiled
    copies: dict[int, Any] = {}
    for part in module.modules():
        for tensor in _tensors_in(list(vars(part).values())):
            empty = torch.empty_like(tensor, device="meta", requires_grad=False)
            is_parameter = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(empty, False) if is_parameter else empty
    skeleton = copy.deepcopy(module, copies)
    with suppress(NotImplementedError):  # as of exported programs, whose mode is fixed
        skeleton.eval()
    return skeleton


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item)


class _Counter(TorchDispatchMode):
    """Counts by PyTorch's formulas."""

    def __init__(self, running: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = Counter[str]()  # by name of the innermost module, or under ""
        self.uncounted = set[str]()  # names of operations
        self._formulas = FlopCounterMode(display=False, custom_mapping=_FORMULAS).flop_registry
        self._running = running

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Result of an operation, counted."""
        result = func(*args, **(kwargs or {})) if kwargs else _run(func, args)
        if (formula := self._formulas.get(func.overloadpacket)) is not None:
            # 2 for a multiply-add
            macs = formula(*args, **(kwargs or {}), out_val=result) // 2
            self.macs[self._running[-1] if self._running else ""] += macs
        elif _PRODUCT.search(func.name()):
            self.uncounted.add(func.name())
        return result


class _Layout(NamedTuple):
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def empty(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


def _run(func: Any, args: tuple[Any, ...]) -> Any:
    """The result of an operation; once for equal shapes, as PyTorch infers some in Python."""
    if func in _IN_PLACE:
        return args[0]
    if func not in _SLOW or any(isinstance(x, Tensor) and not x.is_meta for x in args):
        return func(*args)
    outputs = _outputs(func, *map(_described, args))
    tensors = tuple(layout.empty() for layout in outputs)
    return tensors if len(tensors) > 1 else tensors[0]


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Layout(tuple(value.shape), value.stride(), value.dtype)
    return tuple(value) if isinstance(value, list) else value


@lru_cache(maxsize=4096)
def _outputs(func: Any, *args: Any) -> tuple[_Layout, ...]:
    out = func(*(arg.empty() if isinstance(arg, _Layout) else arg for arg in args))
    return tuple(map(_described, out if isinstance(out, tuple) else (out,)))


_aten = torch.ops.aten
# That neither change nor alias an argument, and are most of the time of a pass.
_SLOW = {
    *(_aten.native_layer_norm.default, _aten.native_batch_norm.default),
    *(_aten.native_group_norm.default, _aten.addmm.default, _aten._safe_softmax.default),
    *(_aten.gelu.default, _aten.hardswish.default, _aten.silu.default, _aten.clamp.default),
    *(_aten.add.Tensor, _aten.mul.Tensor, _aten.mul.Scalar, _aten.roll.default),
}
_IN_PLACE = {  # activations
    *(_aten.hardtanh_.default, _aten.hardswish_.default, _aten.silu_.default),
}
#: Products that PyTorch's counter overlooks -> 2 for a multiply-add, from their shapes.
_FORMULAS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys((_aten.mv, _aten.dot, _aten.vdot), lambda left, *_, **__: 2 * prod(left)),
    **dict.fromkeys((_aten.addmv, _aten.addmv_), lambda _, matrix, *__, **___: 2 * prod(matrix)),
    **dict.fromkeys(
        (_aten.addmm_, _aten.baddbmm_, _aten.addbmm, _aten.addbmm_),
        lambda _, left, right, *__, **___: 2 * prod(left) * right[-1],
    ),
}

#: Names of users' operations, and of PyTorch's that multiply and add, with a formula or without.
_PRODUCT = re.compile(
    r"^(?!aten::|prims?::|profiler::)|(mm|mv|dot)(_|$)|conv(_|\d|ol)|matmul|linear(_|$)|attention|rnn"
    r"|transformer|[cp]dist|fft|solve|cholesky|ormqr|geqrf"
    r"|linalg_(?!vector_norm|_?powsum|cross|check_errors)"
)
