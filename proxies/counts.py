"""Parameters and multiply-adds of a network: the trivial baselines of every measure."""

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

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
    return count_by_module(module, image_size, channels, rules=rules)[""]


def count_by_module(
    module: nn.Module, image_size: int = 224, channels: int = 3, *, rules: Rules = "core"
) -> dict[str, Cost]:
    """:func:`count` for the module, under the name ``""``, and for every submodule by its name."""
    if rules not in get_args(Rules):
        raise ValueError(f"rules={rules!r} is not one of {', '.join(map(repr, get_args(Rules)))}")
    skeleton = _on_meta(module).eval()
    first = next((p for p in skeleton.parameters() if p.is_floating_point()), None)
    dtype = torch.get_default_dtype() if first is None else first.dtype
    image = torch.empty(1, channels, image_size, image_size, dtype=dtype, device="meta")
    with ExitStack() as stack, torch.no_grad(), FlopCounterMode(display=False) as counter:
        # Keep nn.TransformerEncoderLayer off its fused operator, which counts as 0.
        mha = torch.backends.mha
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        mha.set_fastpath_enabled(False)
        try:
            _name_containers(skeleton, counter.mod_tracker.parents)
            with _ProductsOnly(counter) as products:
                skeleton(image)
        except MemoryError:
            raise
        except Exception as error:  # the network may be anybody's
            raise ValueError(
                f"cannot count {type(module).__name__} on {tuple(image.shape)} images: "
                f"{fault(error)}"
            ) from error
    # PyTorch counts 2 for a multiply-add, and prefixes names with the class of the whole.
    macs = Counter({n: sum(ops.values()) // 2 for n, ops in counter.get_flop_counts().items()})
    if rules == "fvcore":
        macs.update(products.charges)
    whole = type(skeleton).__name__
    macs[whole] = macs["Global"]
    return {
        name: Cost(parameters(part), macs[f"{whole}.{name}".rstrip(".")])
        for name, part in skeleton.named_modules()
    }


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
    """Skip operations that keep the shape and are not products; they take most of the time."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.charges = Counter[str]()  # what fvcore charges for operations, by module name
        self._counter = counter

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func in _CHARGES and args:
            call = _SIGNATURES[func].bind(*args, **kwargs).arguments
            each = _CHARGES[func] + (call.get("weight") is not None)
            if call.get("training"):
                each += 3  # a batch norm computes its statistics
            charge = each * int(call["input"].numel())
            self.charges.update(dict.fromkeys(self._counter.mod_tracker.parents, charge))
        if func in _FREE and args:
            return args[0]
        if func is F.scaled_dot_product_attention and not kwargs.get("enable_gqa"):
            return _attention_products(*args, **kwargs)
        return func(*args, **kwargs)


def _attention_products(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """The two products of attention, whose map costs nothing."""
    return query @ key.transpose(-1, -2) @ value


_FREE = {F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm, F.gelu, F.dropout}


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


def _on_meta(module: nn.Module) -> nn.Module:
    """A copy of the module with tensors on the meta device."""
    memo: dict[int, object] = {}
    for part in module.modules():
        tensors = [*part._parameters.values(), *part._buffers.values(), *vars(part).values()]
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                empty = torch.empty_like(tensor, device="meta", requires_grad=False)
                is_parameter = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(empty, False) if is_parameter else empty
    # A deep copy uses the objects in its memo instead of copying.
    return copy.deepcopy(module, memo)
