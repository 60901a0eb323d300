"""Networks of one architecture side by side, so that one call runs all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap

from proxies.substitution import call_with, places, stand_ins

_OF_ANY_MODULE = {*vars(nn.Module()), "training", "forward"}
_PLAIN = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, type(None))


class Stack:
    """Networks that differ in nothing but their parameters and buffers, as one.

    Args:
        models: The networks; what runs are the first one's modules, in whatever state these are.

    Attributes:
        models: The networks.
        tensors: Place of a parameter or buffer -> the networks' tensors, ``[networks, ...]``.

    Raises:
        ValueError: If the networks differ in more than their tensors.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = models
        for other in models[1:]:
            _check_alike(models[0], other)
        held = [[tensor.detach() for _, tensor in places(model)] for model in models]
        stacked: dict[int, Tensor] = {}
        for (_, first), *tensors in zip(places(models[0]), *held, strict=True):
            # A tensor in two places is stacked once: they stay tied.
            if id(first) not in stacked:
                stacked[id(first)] = torch.stack(tensors)
        self._stacked = stacked
        self.tensors: Mapping[str, Tensor] = stand_ins(
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
        see: Callable[[Mapping[str, Tensor]], Any] | None = None,
    ) -> Tensor:
        """``function(network, images)`` for every network, vectorised; ``[networks, ...]``.

        Args:
            function: What to do with a network and its images.
            images: ``[n, C, H, W]`` for all networks if ``shared``, else ``[networks, n, ...]``.
            shared: Which of these.
            see: Shown the tensors that stand in for a network's, by place, before the call.

        Raises:
            RuntimeError: If the function does what cannot be vectorised, such as looking at values
                or drawing numbers.
        """
        whole = _Whole(self.models[0], function)
        tensors = {f"model.{place}": tensor for place, tensor in self.tensors.items()}

        def one(tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
            if see is not None:
                see({place.removeprefix("model."): x for place, x in tensors.items()})
            return cast("Tensor", call_with(whole, tensors, images))

        out: Tensor = vmap(one, in_dims=(0, None if shared else 0))(tensors, images)
        return out


def lifted(rule: Callable[..., Tensor], *values: Any) -> Tensor:
    """Inside :meth:`Stack.run`, do something with the tensors of all networks at once.

    What is not known to vmap can be done there: gradient hooks, dual numbers, own kernels.

    Args:
        rule: Called with the number of networks and the values; gives ``[networks, ...]``.
        values: Handed on, tensors as ``[networks, ...]``.
    """
    out: Tensor = _Lifted.apply(rule, *values)
    return out


class _Lifted(torch.autograd.Function):
    """Runs only its rule for vmap, which torch hands the tensors behind the vectorised ones."""

    @staticmethod
    def forward(rule: Callable[..., Tensor], *values: Any) -> Tensor:
        raise RuntimeError("no tensor differs between the networks")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        raise RuntimeError("what is lifted has no derivative of its own")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], rule: Callable[..., Tensor], *values: Any
    ) -> tuple[Tensor, int]:
        networks: int = info.batch_size
        found = [
            _in_front(value, dim, networks) if isinstance(value, Tensor) else value
            for value, dim in zip(values, in_dims[1:], strict=True)
        ]
        return rule(networks, *found), 0


class _Whole(nn.Module):
    """A function of a network, as a module."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, images: Tensor) -> Tensor:
        return self._function(self.model, images)


def _in_front(tensor: Tensor, dim: int | None, networks: int) -> Tensor:
    return tensor.expand(networks, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _check_alike(first: nn.Module, other: nn.Module) -> None:
    """Tensors are compared by their places and shapes, and whatever else modules hold by value."""
    pairs = zip(first.named_modules(), other.named_modules(), strict=True)
    for (path, module), (other_path, other_module) in pairs:
        same = path == other_path and type(module) is type(other_module)
        if not same or _settings(module) != _settings(other_module):
            raise ValueError(f"the networks differ at {path or type(first).__name__!r}")
    if _layout(first) != _layout(other):
        raise ValueError("the networks' tensors differ in place, shape, dtype or ties")


def _layout(model: nn.Module) -> dict[str, tuple[object, ...]]:
    """Place of a tensor -> its shape, its dtype, and the first place that it is in."""
    found: dict[int, str] = {}
    return {
        place: (tensor.shape, tensor.dtype, found.setdefault(id(tensor), place))
        for place, tensor in places(model)
    }


def _settings(module: nn.Module) -> dict[str, object]:
    """What a module holds besides parameters, buffers and modules, where it can be compared.

    A tensor that is no buffer is compared by identity: each network may have another one.
    """
    return {
        name: id(value) if isinstance(value, Tensor) else value
        for name, value in vars(module).items()
        if name not in _OF_ANY_MODULE and isinstance(value, (*_PLAIN, Tensor))
    }
