"""The state of a training between two epochs: tensors by name, and a few plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asvit.core.records import MALFORMED
from asvit.networks import load_state
from proxies.messages import first_line, one_line

_GROUP = "group "
_JSON_TYPES = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class EngineState:
    """The state of a training.

    Attributes:
        weights: State dict of the network.
        average: State dict of its moving average; empty without one.
        moments: Tensors of the optimiser, from :func:`optimizer_state`.
        numbers: Its other values, from the same function.
    """

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    numbers: Mapping[str, Any]

    def load(self, network: nn.Module, average: nn.Module | None) -> None:
        """Load the weights.

        Raises:
            ValueError: If they belong to another network, or hold NaN or infinity.
        """
        check_finite(self.weights, what="the weights of the checkpoint")
        check_finite(self.average, what="the averages of the checkpoint")
        load_state(network, self.weights, what="the weights of the checkpoint")
        if average is not None:
            load_state(average, self.average, what="the averages of the checkpoint")


def check_finite(tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Reject NaN and infinity: training cannot recover from them.

    Cost: one pass over the tensors.

    Args:
        tensors: Tensors by name.
        what: Their name in the message.

    Raises:
        ValueError: If one holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{what} are infinite or NaN, as in {one_line(name)!r}")


def optimizer_state(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the state of an optimiser into tensors and JSON values.

    Returns:
        Tensors by ``PARAMETER/NAME``, or ``group N/NAME`` for those of a parameter group; and the
        other values by group (``groups``) and by parameter (``state``).
    """
    full = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    groups: list[dict[str, Any]] = []
    for parameter, state in full["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}/{name}"] = value
            else:
                numbers.setdefault(str(parameter), {})[name] = value
    for number, group in enumerate(full["param_groups"]):
        kept = {name: value for name, value in group.items() if name != "params"}
        groups.append({name: value for name, value in kept.items() if _is_json(value)})
        for name, value in kept.items():
            if isinstance(value, Tensor):
                tensors[f"{_GROUP}{number}/{name}"] = value
    return tensors, {"groups": groups, "state": numbers}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Load what :func:`optimizer_state` returned into an optimiser of the same parameters.

    Raises:
        ValueError: If the state belongs to other parameters or is malformed.
    """
    try:
        optimizer.load_state_dict(_state_dict(optimizer.state_dict(), tensors, numbers))
    except MALFORMED as error:
        raise ValueError(
            f"the optimiser's state is of another network, or none: {first_line(error)}"
        ) from error


def _state_dict(
    fresh: Mapping[str, Any], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge stored tensors and values into the state dict of a fresh optimiser."""
    groups = [
        {**group, **{name: _restore_tuple(value) for name, value in stored.items()}}
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


def _is_json(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_json, value))
    return isinstance(value, _JSON_TYPES)


def _restore_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples
