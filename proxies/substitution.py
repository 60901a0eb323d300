"""Other tensors in the places of a model's parameters, where modules or weights are shared."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def places(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every place that holds a parameter or a buffer, under one name, and the tensor in it.

    A module that is part of two others is one place with two names; a weight that two modules hold
    is in two places.
    """
    own: dict[str, Any] = {"recurse": False, "remove_duplicate": False}
    for path, module in model.named_modules():
        yield from module.named_parameters(path, **own)
        yield from module.named_buffers(path, **own)


def stand_ins(
    model: nn.Module, substitute: Callable[[Tensor], Tensor | None]
) -> Mapping[str, Tensor]:
    """What to put in which place: what ``substitute`` gives for the tensor there, unless None."""
    pairs = ((name, substitute(tensor)) for name, tensor in places(model))
    return {name: tensor for name, tensor in pairs if tensor is not None}


def call_with(model: nn.Module, tensors: Mapping[str, Tensor], *inputs: Tensor) -> object:
    """Call a model with ``tensors``, of :func:`stand_ins`, in its places; then all is as it was.

    torch follows ties of its own by default; by those, a place with two names would be filled
    twice and not be put back.
    """
    out: object = functional_call(model, dict(tensors), inputs, tie_weights=False)
    return out
