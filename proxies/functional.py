"""Calls of models, of torch operations and of rows in pieces, for all measures."""

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from proxies.messages import first_line, out_of_memory

log = logging.getLogger(__name__)

Operation = Callable[..., Any]


def call_with_tensors(
    model: nn.Module,
    substitute: Callable[[Tensor], Tensor | None],
    images: Tensor,
    function: Callable[[nn.Module, Tensor], object] | None = None,
) -> object:
    """Call a model, or a function of it, with other parameters and buffers; then restore it.

    ``substitute`` maps a tensor to the one that takes its place in every slot, or to None.
    """
    caller = model if function is None else _FunctionOf(model, function)
    slots = {
        f"{path}.{name}".lstrip("."): other
        for path, module in caller.named_modules()
        for name, tensor in chain(module._parameters.items(), module._buffers.items())
        if tensor is not None and (other := substitute(tensor)) is not None
    }
    # With tie_weights a slot with two names would be filled twice, and not restored.
    return cast("object", functional_call(caller, slots, (images,), tie_weights=False))


class _FunctionOf(nn.Module):
    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.model, self._function = model, function

    def forward(self, images: Tensor) -> object:
        return self._function(self.model, images)


def network_output(model: nn.Module, images: Tensor) -> Tensor:
    """Output ``[n, ...]`` of a network with its parameters detached, with a row for each image."""
    with model_errors(model):
        # A copy: the network may change its input in place.
        out = call_with_tensors(model, Tensor.detach, images.clone())
    return checked_rows(model, out, images)


@contextmanager
def model_errors(model: nn.Module) -> Iterator[None]:
    """Turn errors of the model's own code into a ValueError that names its class."""
    try:
        yield
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{type(model).__name__}: {first_line(error)}") from error


def checked_rows(model: nn.Module, out: object, images: Tensor) -> Tensor:
    """``out``; a ValueError unless it is a tensor with a row for each image."""
    if not isinstance(out, Tensor) or out.shape[:1] != images.shape[:1]:
        raise ValueError(
            f"{type(model).__name__} gives {shape_or_type(out)} for {len(images)} images; "
            "a measure needs one tensor with a row for each image"
        )
    return out


def shape_or_type(out: object) -> str:
    """The shape of a tensor, or the type of anything else, for a message."""
    return str(tuple(out.shape)) if isinstance(out, Tensor) else type(out).__name__


@contextmanager
def running_modules(model: nn.Module) -> Iterator[list[str]]:
    """Inside, the names of the modules of ``model`` whose calls run, the innermost last."""
    running: list[str] = []

    def enter(name: str, *_: object) -> None:
        running.append(name)

    def leave(*_: object) -> None:
        running.pop()

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(partial(enter, name), prepend=True)
            hooks.enter_context(before)
            hooks.enter_context(module.register_forward_hook(leave, always_call=True))
        yield running


def forms_of(*names: str) -> set[Operation]:
    """All functions and methods of torch with these names, also those that work in place."""
    spelt = [name + end for name in names for end in ("", "_")]
    owners = F, torch, torch.special, Tensor
    return {getattr(owner, name) for owner in owners for name in spelt if hasattr(owner, name)}


class InterceptOperations(TorchFunctionMode):
    """Inside, every torch operation is a call of :meth:`intercept`."""

    #: What to call in place of some operations, with the same arguments.
    replacements: ClassVar[Mapping[Operation, Operation]] = {}

    def __torch_function__(
        self,
        func: Operation,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self.intercept(func, args, kwargs or {})

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Result of a call to ``func``; operations called in here are not intercepted."""
        return self.replacements.get(func, func)(*args, **kwargs)


# Key of a computation -> how often its rows must be halved to fit.
_halvings: dict[Hashable, int] = {}


def in_chunks(
    function: Callable[[slice], Tensor], size: int, *, key: tuple[Hashable, ...]
) -> Tensor:
    """Concatenate ``function(rows)`` over ``size`` rows; halve the chunks when memory runs out.

    Chunks that did not fit are skipped the next time, for the same ``key``, which begins with the
    name of what is computed.
    """
    while True:
        chunk = -(-size >> _halvings.get(key, 0))
        try:
            parts = [function(slice(start, start + chunk)) for start in range(0, size, chunk)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        except (RuntimeError, MemoryError) as error:
            if chunk == 1 or not out_of_memory(error):
                raise
        _halvings[key] = _halvings.get(key, 0) + 1
        log.warning("out of memory: from now on %s in smaller pieces", key[0])
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()  # a smaller attempt finds unfragmented memory


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors of any shapes to the CPU with a single device synchronisation.

    A measure runs ahead of its device until it reads a value; it should do so once, at its end.
    The tensors travel in the widest dtype among them, which represents each exactly.
    """
    if not tensors:
        return []
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
    parts = flat.split([tensor.numel() for tensor in tensors])
    pairs = zip(parts, tensors, strict=True)
    return [part.to(tensor.dtype).reshape(tensor.shape) for part, tensor in pairs]
