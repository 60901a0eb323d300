"""Stack networks of one architecture, so that one vectorised call runs all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap

from proxies.functional import call_with_tensors, named_slots, substitutes

_MODULE_ATTRIBUTES = {*vars(nn.Module()), "training", "forward"}
_COMPARABLE = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, type(None))


class Stack:
    """Networks that differ only in their parameters and buffers.

    Args:
        models: The networks. The first one's modules run, in the state they are in.

    Attributes:
        models: The networks.
        tensors: The networks' tensors, ``[networks, ...]``, by slot of parameter or buffer.

    Raises:
        ValueError: If the networks differ in more than their tensors.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = models
        for other in models[1:]:
            _check_same_architecture(models[0], other)
        held = [[tensor.detach() for _, tensor in named_slots(model)] for model in models]
        stacked: dict[int, Tensor] = {}
        for (_, first), *tensors in zip(named_slots(models[0]), *held, strict=True):
            # A tensor in two slots is stacked once, so the slots stay tied.
            if id(first) not in stacked:
                stacked[id(first)] = torch.stack(tensors)
        self._stacked = stacked
        self.tensors: Mapping[str, Tensor] = substitutes(
            models[0], lambda tensor: stacked[id(tensor)]
        )

    def of(self, tensor: Tensor) -> Tensor:
        """The stack of a parameter or buffer of the first network, ``[networks, ...]``."""
        return self._stacked[id(tensor)]

    def run(
        self,
        function: Callable[[nn.Module, Tensor], Tensor],
        images: Tensor,
        *,
        shared: bool,
        on_tensors: Callable[[Mapping[str, Tensor]], Any] | None = None,
    ) -> Tensor:
        """``function(network, images)`` for every network, vectorised; ``[networks, ...]``.

        Args:
            function: Maps a network and its images to a tensor.
            images: ``[n, C, H, W]`` for all networks if ``shared``, else ``[networks, n, ...]``.
            shared: Whether all networks receive the same images.
            on_tensors: Called with the vectorised tensors, by slot, before ``function``.

        Raises:
            RuntimeError: If the function cannot be vectorised, for instance because it reads
                values or draws random numbers.
        """
        module = FunctionOfModel(self.models[0], function)
        tensors = {f"model.{slot}": tensor for slot, tensor in self.tensors.items()}

        def run_one(tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
            if on_tensors is not None:
                on_tensors({slot.removeprefix("model."): x for slot, x in tensors.items()})
            return cast("Tensor", call_with_tensors(module, tensors, images))

        out: Tensor = vmap(run_one, in_dims=(0, None if shared else 0))(tensors, images)
        return out


def with_stacked_tensors(rule: Callable[..., Tensor], *values: Any) -> Tensor:
    """Inside :meth:`Stack.run`, apply a rule to the tensors of all networks at once.

    A rule may use what vmap does not support: gradient hooks, dual numbers, custom kernels.

    Args:
        rule: Maps the number of networks and the values to ``[networks, ...]``.
        values: Passed on to the rule, tensors as ``[networks, ...]``.
    """
    out: Tensor = _StackedRule.apply(rule, *values)
    return out


class _StackedRule(torch.autograd.Function):
    """Has only a vmap rule; torch calls it with the tensors behind the vectorised ones."""

    @staticmethod
    def forward(rule: Callable[..., Tensor], *values: Any) -> Tensor:
        raise RuntimeError("no tensor differs between the networks")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        raise RuntimeError("a stacked rule has no derivative of its own")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], rule: Callable[..., Tensor], *values: Any
    ) -> tuple[Tensor, int]:
        networks: int = info.batch_size
        found = [
            _networks_first(value, dim, networks) if isinstance(value, Tensor) else value
            for value, dim in zip(values, in_dims[1:], strict=True)
        ]
        return rule(networks, *found), 0


class FunctionOfModel(nn.Module):
    """A function of a network and its images, as a module."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, images: Tensor) -> Tensor:
        """The function's value for some images."""
        return self._function(self.model, images)


def _networks_first(tensor: Tensor, dim: int | None, networks: int) -> Tensor:
    return tensor.expand(networks, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _check_same_architecture(first: nn.Module, other: nn.Module) -> None:
    """Compare tensors by slot and shape, and the other attributes of modules by value."""
    pairs = zip(first.named_modules(), other.named_modules(), strict=True)
    for (path, module), (other_path, other_module) in pairs:
        same = path == other_path and type(module) is type(other_module)
        if not same or _attributes(module) != _attributes(other_module):
            raise ValueError(f"the networks differ at {path or type(first).__name__!r}")
    if _layout(first) != _layout(other):
        raise ValueError("the networks' tensors differ in slot, shape, dtype or ties")


def _layout(model: nn.Module) -> dict[str, tuple[object, ...]]:
    """Shape, dtype and first slot of the tensor in each slot."""
    found: dict[int, str] = {}
    return {
        slot: (tensor.shape, tensor.dtype, found.setdefault(id(tensor), slot))
        for slot, tensor in named_slots(model)
    }


def _attributes(module: nn.Module) -> dict[str, object]:
    """Comparable attributes of a module, other than parameters, buffers and submodules.

    Tensors that are not buffers are compared by identity: they may differ between networks.
    """
    return {
        name: id(value) if isinstance(value, Tensor) else value
        for name, value in vars(module).items()
        if name not in _MODULE_ATTRIBUTES and isinstance(value, (*_COMPARABLE, Tensor))
    }
