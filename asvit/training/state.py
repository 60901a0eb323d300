"""What a training depends on between two epochs, as tensors by name and a few plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asvit._records import MALFORMED
from asvit.networks import load_state
from proxies.messages import first_line, one_line

_GROUP = "group "
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class EngineState:
    """The state of a training.

    Attributes:
        weights: State dict of the network.
        average: State dict of its moving average; empty where there is none.
        moments: Tensors of the optimiser, and
        numbers: what of it is not in tensors, as :func:`optimizer_state` has them.
    """

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    numbers: Mapping[str, Any]

    def load(self, network: nn.Module, average: nn.Module | None) -> None:
        """Put the weights back.

        Raises:
            ValueError: If they are another network's, or infinite or NaN.
        """
        check_finite(self.weights, what="the weights of the checkpoint")
        check_finite(self.average, what="the averages of the checkpoint")
        load_state(network, self.weights, what="the weights of the checkpoint")
        if average is not None:
            load_state(average, self.average, what="the averages of the checkpoint")


def check_finite(tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Check that every number is one, as a training that goes on from others cannot recover.

    Cost: one pass over the tensors.

    Args:
        tensors: Tensors by name.
        what: What they are, for the message.

    Raises:
        ValueError: If one holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{what} are infinite or NaN, as in {one_line(name)!r}")


def optimizer_state(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of an optimiser as tensors by name and the rest in the types of JSON.

    Returns:
        Tensors by ``PARAMETER/NAME``, or ``group N/NAME`` where they belong to a group; and the
        other values of every group (``groups``) and parameter (``state``).
    """
    whole = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    groups: list[dict[str, Any]] = []
    for parameter, state in whole["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}/{name}"] = value
            else:
                numbers.setdefault(str(parameter), {})[name] = value
    for number, group in enumerate(whole["param_groups"]):
        kept = {name: value for name, value in group.items() if name != "params"}
        groups.append({name: value for name, value in kept.items() if _is_plain(value)})
        for name, value in kept.items():
            if isinstance(value, Tensor):
                tensors[f"{_GROUP}{number}/{name}"] = value
    return tensors, {"groups": groups, "state": numbers}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Undo :func:`optimizer_state` on an optimiser of the same parameters.

    Raises:
        ValueError: If it was of other parameters, or is no such state.
    """
    try:
        optimizer.load_state_dict(_whole(optimizer.state_dict(), tensors, numbers))
    except MALFORMED as error:
        raise ValueError(
            f"the optimiser's state is of another network, or none: {first_line(error)}"
        ) from error


def _whole(
    fresh: Mapping[str, Any], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """The state dict of an optimiser: a fresh one's, with what is kept of another in its place."""
    groups = [
        {**group, **{name: _as_before(value) for name, value in stored.items()}}
        for group, stored in zip(fresh["param_groups"], numbers["groups"], strict=True)
    ]
    state = {int(parameter): dict(values) for parameter, values in numbers["state"].items()}
    for path, tensor in tensors.items():
        owner, _, name = path.partition("/")
        if owner.startswith(_GROUP):
            groups[int(owner.removeprefix(_GROUP))][name] = tensor
        else:
            state.setdefault(int(owner), {})[name] = tensor
    return {"state": state, "param_groups": groups}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _as_before(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples
