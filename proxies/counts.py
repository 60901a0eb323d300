"""Parameters and multiply-adds of a network: what every measure has to beat."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

Rules = Literal["core", "fvcore"]
"""What counts as work.

``"core"``: multiply-adds of convolutions, linear maps and matrix products, attention included.
Norms, activations, additions and pooling count 0.

``"fvcore"``: the same and what fvcore 0.1.5 adds: 5 for each element of a layer, group or instance
norm (4 without gain), 2 of a batch norm in evaluation mode (1 without gain), 1 for each element
that adaptive average pooling of images reads. Attention counts as its two products, for which
fvcore needs it written out: it takes the fused function for nothing.
"""


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        params: Number of parameters, each counted once however often it is used.
        macs: Multiply-adds of one forward pass of one image, by the rules asked for; see
            :data:`Rules`.
    """

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


def count(
    module: nn.Module, image_size: int = 224, channels: int = 3, *, rules: Rules = "core"
) -> Cost:
    """Count the parameters and multiply-adds of ``module`` in evaluation mode.

    Runs a copy on the meta device: no data is computed, no weight is copied, and ``module`` is
    left as it was, wherever it lies.

    Args:
        module: Takes ``[1, channels, image_size, image_size]``.
        image_size: Side of the image in pixels.
        channels: Channels of the image.
        rules: What counts as work; see :data:`Rules`.

    Raises:
        ValueError: If the module cannot run on such an image, or not without its data; or there
            are no such rules.
    """
    return count_by_module(module, image_size, channels, rules=rules)[""]


def count_by_module(
    module: nn.Module, image_size: int = 224, channels: int = 3, *, rules: Rules = "core"
) -> dict[str, Cost]:
    """:func:`count` for the module, under the name ``""``, and for every submodule by its name.

    Raises:
        ValueError: As :func:`count`.
    """
    if rules not in get_args(Rules):
        raise ValueError(f"rules={rules!r} is not one of {', '.join(map(repr, get_args(Rules)))}")
    skeleton = _on_meta(module).eval()
    first = next((p for p in skeleton.parameters() if p.is_floating_point()), None)
    dtype = torch.get_default_dtype() if first is None else first.dtype
    image = torch.empty(1, channels, image_size, image_size, dtype=dtype, device="meta")
    with torch.no_grad(), _no_fused_encoder(), FlopCounterMode(display=False) as counter:
        try:
            with _ProductsOnly(counter) as aside:
                skeleton(image)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"cannot count {type(module).__name__} on {tuple(image.shape)} images: {reason}"
            ) from error
    # PyTorch counts 2 for a multiply-add, and prefixes names with the class of the whole.
    macs = Counter({n: sum(ops.values()) // 2 for n, ops in counter.get_flop_counts().items()})
    if rules == "fvcore":
        macs.update(aside.charges)
    root = type(skeleton).__name__
    costs = {"": Cost(_parameters(skeleton), macs["Global"])}
    for name, part in skeleton.named_modules():
        if name:
            costs[name] = Cost(_parameters(part), macs[f"{root}.{name}"])
    return costs


class _ProductsOnly(TorchFunctionMode):
    """Leaves out what is no product and keeps the shape: most of the work on that device.

    Attributes:
        charges: What fvcore charges for it, by the names of the modules that it happened in.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.charges = Counter[str]()
        self._counter = counter

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _CHARGES and args:
            charge = _CHARGES[func](*args, **(kwargs or {})) * args[0].numel()
            self.charges.update(dict.fromkeys(self._counter.mod_tracker.parents, charge))
        if func in _COUNT_NOTHING and args:
            return args[0]
        if func is F.scaled_dot_product_attention and not (kwargs or {}).get("enable_gqa"):
            query, key, value = args[:3]
            return query @ key.transpose(-1, -2) @ value
        return func(*args, **(kwargs or {}))


_COUNT_NOTHING = {F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm, F.gelu, F.dropout}


def _of_norm(x: Tensor, shape: Any, weight: Tensor | None = None, *_: Any, **__: Any) -> int:
    """Charge for each element of a layer or group norm."""
    return 4 if weight is None else 5


def _of_channel_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    *_: Any,
    **__: Any,
) -> int:
    """Charge for each element of a batch norm, which folds once its statistics are known."""
    return (4 if training else 1) + (weight is not None)


def _of_instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> int:
    """Charge for each element of an instance norm."""
    return 4 if weight is None else 5


def _of_pooling(x: Tensor, output_size: Any) -> int:
    """Charge for each element that is pooled."""
    return 1


#: What fvcore charges for an element of the first argument, given the arguments of a call.
_CHARGES: Mapping[Callable[..., Any], Callable[..., int]] = {
    F.layer_norm: _of_norm,
    F.group_norm: _of_norm,
    F.instance_norm: _of_instance_norm,
    F.batch_norm: _of_channel_norm,
    F.adaptive_avg_pool2d: _of_pooling,
}


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _on_meta(module: nn.Module) -> nn.Module:
    """A copy of the module whose tensors have shapes and no data."""
    memo: dict[int, object] = {}
    for part in module.modules():
        tensors = [*part._parameters.values(), *part._buffers.values(), *vars(part).values()]
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                empty = torch.empty_like(tensor, device="meta", requires_grad=False)
                is_parameter = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(empty, False) if is_parameter else empty
    # A deep copy takes what its memo holds instead of copying it.
    return copy.deepcopy(module, memo)


@contextmanager
def _no_fused_encoder() -> Iterator[None]:
    """Keep ``nn.TransformerEncoderLayer`` off its fused operator, which counts as nothing."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
