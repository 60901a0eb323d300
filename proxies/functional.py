"""Calls of models, of several as one :class:`Stack`, and of torch operations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from itertools import chain
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from proxies.messages import first_line


def named_slots(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Slots of parameters and buffers, each under one of its names; of a tied weight, all."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, tensor in chain(module._parameters.items(), module._buffers.items()):
            if tensor is not None:
                yield prefix + name, tensor


def substitutes(
    model: nn.Module, substitute: Callable[[Tensor], Tensor | None]
) -> Mapping[str, Tensor]:
    """Map slots to what ``substitute`` returns for their tensors, without those that are None."""
    pairs = ((name, substitute(tensor)) for name, tensor in named_slots(model))
    return {name: tensor for name, tensor in pairs if tensor is not None}


def call_with_tensors(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    images: Tensor,
    function: Callable[[nn.Module, Tensor], object] | None = None,
) -> object:
    """Call a model, or a function of it, with ``tensors`` in its slots; then restore it."""
    if function is not None:
        tensors = {f"model.{slot}": tensor for slot, tensor in tensors.items()}
        model = _FunctionOf(model, function)
    # With tie_weights a slot with two names would be filled twice, and not restored.
    return cast("object", functional_call(model, dict(tensors), (images,), tie_weights=False))


class _FunctionOf(nn.Module):
    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, images: Tensor) -> object:
        return self._function(self.model, images)


def network_output(model: nn.Module, images: Tensor) -> Tensor:
    """Output ``[n, ...]`` of a network with its parameters detached, with a row for each image."""
    with model_errors(model):
        # A copy: the network may change its input in place.
        out = call_with_tensors(model, substitutes(model, Tensor.detach), images.clone())
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


# Dtypes that keep too few digits to measure in.
NARROW = frozenset({torch.bfloat16, torch.float16})


def widened(tensor: Tensor) -> Tensor:
    """``tensor``, in float32 if its dtype keeps fewer digits."""
    return tensor.float() if tensor.dtype in NARROW else tensor


Operation = Callable[..., Any]


def forms_of(*names: str) -> set[Operation]:
    """All functions and methods of torch with these names, also those that work in place."""
    owners = F, torch, torch.special, Tensor
    forms = [
        getattr(owner, f"{name}{end}", None)
        for owner in owners
        for name in names
        for end in ("", "_")
    ]
    return {form for form in forms if form is not None}


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


class Stack:
    """Networks that differ only in their parameters and buffers, and run as one.

    A single network runs as it is. Several run in one vectorised pass through the first one's
    modules, in the state that these are in. Their tensors are compared and stacked once.
    """

    def __init__(self, models: Iterable[nn.Module]) -> None:
        self.models = tuple(models)
        self.first = self.models[0] if self.models else nn.Identity()  # whose modules run

    @classmethod
    def of(cls, models: "Stack | Iterable[nn.Module]") -> "Stack":
        """A stack of these networks; themselves if they are one."""
        return models if isinstance(models, Stack) else cls(models)

    def __len__(self) -> int:
        return len(self.models)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """By slot, those of a single network, or ``[networks, ...]`` in float32 or better.

        A ValueError if the networks differ in more than their tensors' values.
        """
        first, *others = by_model = [dict(named_slots(model)) for model in self.models]
        if not others:
            return first
        for other, slots in zip(self.models[1:], others, strict=True):
            if _structure(other, slots) != _structure(self.first, first):
                raise ValueError("the networks differ in more than the values of their tensors")
        stacked: dict[int, Tensor] = {}
        for slot, tensor in first.items():
            # A tensor in two slots is stacked once, so the slots stay tied.
            if id(tensor) not in stacked:
                parts = [slots[slot].detach() for slots in by_model]
                stacked[id(tensor)] = widened(torch.stack(parts))
        return {slot: stacked[id(tensor)] for slot, tensor in first.items()}

    def run(
        self,
        function: Callable[[nn.Module, Tensor], Tensor],
        images: Tensor,
        *,
        shared: bool,
        on_tensors: Callable[[Mapping[str, Tensor]], Any] | None = None,
    ) -> Tensor:
        """``function(network, images)`` of every network, ``[networks, ...]``.

        Images are ``[n, C, H, W]`` for all networks if ``shared``, else ``[networks, n, ...]``.
        ``on_tensors`` is called before ``function`` with the tensors that run, by slot. A
        RuntimeError if several networks cannot be vectorised, for instance because they read
        values or draw random numbers.
        """
        if len(self) == 1:
            if on_tensors is not None:
                on_tensors(self.tensors)
            return function(self.first, images if shared else images[0])[None]

        def run_network(tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
            if on_tensors is not None:
                on_tensors(tensors)
            return cast("Tensor", call_with_tensors(self.first, tensors, images, function))

        axes = 0, None if shared else 0
        out: Tensor = vmap(run_network, in_dims=axes)(self.tensors, images)
        return out


def across(networks: int, rule: Callable[..., Tensor], *values: Any) -> Tensor:
    """Inside :meth:`Stack.run`, ``rule(networks, *values)``.

    The tensors are those of a single network, or ``[networks, ...]`` of several: a rule may use
    what vmap does not support, such as gradient hooks, dual numbers and custom kernels.
    """
    if networks == 1:
        return rule(1, *values)
    return cast("Tensor", _RuleOfAll.apply(rule, *values))


class _RuleOfAll(torch.autograd.Function):
    """Has only a vmap rule; torch calls it with the tensors behind the vectorised ones."""

    @staticmethod
    def forward(rule: Callable[..., Tensor], *values: Any) -> Tensor:
        raise RuntimeError("no tensor differs between the networks")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        raise RuntimeError("a rule of all networks has no derivative of its own")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], rule: Callable[..., Tensor], *values: Any
    ) -> tuple[Tensor, int]:
        def networks_first(value: Any, dim: int | None) -> Any:
            if not isinstance(value, Tensor):
                return value
            return value.expand(networks, *value.shape) if dim is None else value.movedim(dim, 0)

        networks: int = info.batch_size
        return rule(networks, *map(networks_first, values, in_dims[1:])), 0


_STATE = {*vars(nn.Module()), "training", "forward"}  # of the measured network


def _structure(model: nn.Module, slots: Mapping[str, Tensor]) -> object:
    """What networks of a stack have in common; tensors that are no buffers count by identity."""
    modules = [
        (path, type(module), {n: _plain(v) for n, v in vars(module).items() if n not in _STATE})
        for path, module in model.named_modules()
    ]
    first_slot: dict[int, str] = {}
    layout = {
        slot: (tensor.shape, tensor.dtype, first_slot.setdefault(id(tensor), slot))
        for slot, tensor in slots.items()
    }
    return modules, layout


def _plain(value: object) -> object:
    if isinstance(value, Tensor):
        return id(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else type(value)
