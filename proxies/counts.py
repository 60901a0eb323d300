"""Parameters and multiply-adds of a network: what every measure has to beat."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        params: Number of parameters, each counted once however often it is used.
        macs: Multiply-adds of one forward pass of one image: convolutions, linear maps and matrix
            products, attention included. Norms, activations, additions and pooling count 0.
    """

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


def count(module: nn.Module, image_size: int = 224, channels: int = 3) -> Cost:
    """Count the parameters and multiply-adds of ``module`` in evaluation mode.

    Runs a copy on the meta device: no data is computed, no weight is copied, and ``module`` is
    left as it was, wherever it lies.

    Args:
        module: Takes ``[1, channels, image_size, image_size]``.
        image_size: Side of the image in pixels.
        channels: Channels of the image.

    Raises:
        ValueError: If the module cannot run on such an image, or not without its data.
    """
    return count_by_module(module, image_size, channels)[""]


def count_by_module(
    module: nn.Module, image_size: int = 224, channels: int = 3
) -> dict[str, Cost]:
    """:func:`count` for the module, under the name ``""``, and for every submodule by its name.

    Raises:
        ValueError: As :func:`count`.
    """
    skeleton = _on_meta(module).eval()
    first = next((p for p in skeleton.parameters() if p.is_floating_point()), None)
    dtype = torch.get_default_dtype() if first is None else first.dtype
    image = torch.empty(1, channels, image_size, image_size, dtype=dtype, device="meta")
    with torch.no_grad(), _no_fused_encoder(), FlopCounterMode(display=False) as counter:
        try:
            with _ProductsOnly():
                skeleton(image)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"cannot count {type(module).__name__} on {tuple(image.shape)} images: {reason}"
            ) from error
    # PyTorch counts 2 for a multiply-add, and prefixes names with the class of the whole.
    flops = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    root = type(skeleton).__name__
    costs = {"": Cost(_parameters(skeleton), counter.get_total_flops() // 2)}
    for name, part in skeleton.named_modules():
        if name:
            costs[name] = Cost(_parameters(part), flops.get(f"{root}.{name}", 0) // 2)
    return costs


class _ProductsOnly(TorchFunctionMode):
    """Leaves out what counts as nothing and keeps the shape: most of the work on that device."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _COUNT_NOTHING and args:
            return args[0]
        if func is F.scaled_dot_product_attention and not (kwargs or {}).get("enable_gqa"):
            query, key, value = args[:3]
            return query @ key.transpose(-1, -2) @ value
        return func(*args, **(kwargs or {}))


_COUNT_NOTHING = {F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm, F.gelu, F.dropout}


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
