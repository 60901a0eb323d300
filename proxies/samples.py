"""Checks that a network is deterministic and treats each image of a batch independently.

Most networks do so in evaluation mode. A mean over the batch in a forward pass, or a batch norm
without running statistics, lets samples interact even there; ``F.dropout(x, training=True)`` draws
random numbers. A check returns the reason why a network cannot be measured, empty if it can.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from proxies.features import evaluating, measured, pooled_feature, reference_tensor
from proxies.functional import network_output
from proxies.registry import Inputs


def independent_curve(model: nn.Module, inputs: Inputs) -> str:
    """Points of the circle must not interact in the pooled feature, norms bypassed."""
    images = inputs.circle.at(inputs.circle.angles[:2])
    with measured(model, norms="bypassed"):
        return _fault(model, images, pooled_feature)


def independent_images(model: nn.Module, inputs: Inputs) -> str:
    """Images must not interact, in the pooled feature nor in the output."""
    with evaluating(model):
        return _fault(model, inputs.images, _feature_and_output)


def repeatable_images(model: nn.Module, inputs: Inputs) -> str:
    """The output must be reproducible; images may interact, as in the loss of a batch."""
    with evaluating(model):
        return _fault(model, inputs.images, _feature_and_output, independent=False)


def same_rows(rows: Tensor, other: Tensor) -> Tensor:
    """Whether all rows ``[..., n, F]`` are equal; a bool on their device.

    Up to rounding, which grows with depth. Rows that are not finite pass: the value shows them.
    """
    difference = (rows - other).abs().amax(-1)
    tolerance = math.sqrt(torch.finfo(rows.dtype).eps)
    same: Tensor = ~(difference > tolerance * rows.abs().amax(-1)).any()
    return same


def _feature_and_output(model: nn.Module, images: Tensor) -> Tensor:
    """Both, as the head may start at zero."""
    outputs = pooled_feature(model, images), network_output(model, images)
    return torch.cat([rows.flatten(1) for rows in outputs], 1)


def _fault(
    model: nn.Module,
    images: Tensor,
    rows: Callable[[nn.Module, Tensor], Tensor],
    *,
    independent: bool = True,
) -> str:
    """Why a network's rows cannot be measured, from two passes, or three if ``independent``.

    A pass must draw nothing, and all rows must be reproducible. If ``independent``, the row of the
    first image must also be the same between other images. All batches have three images for equal
    rounding, which some networks amplify by 10,000 times without their norms.
    """
    like, kind = reference_tensor(model), type(model).__name__
    first, other = images[0], images[min(1, len(images) - 1)]

    def passed(outer: Tensor) -> Tensor:
        # Not by a list of places, which an accelerator would be sent.
        return rows(model, torch.stack([outer, first, outer]).to(like))

    beside = first if independent else other
    with torch.no_grad():
        once = passed(beside)
        # Only now, as a network may draw its weights in its first pass.
        states = generator_states(like.device)
        again = passed(beside)
        if generator_states(like.device) != states or not same_rows(once, again):
            return draws_numbers(model)
        if independent and not same_rows(once[1:2], passed(other)[1:2]):
            return f"{kind}'s output depends on the other images of a batch: its samples interact"
    return ""


def draws_numbers(model: nn.Module) -> str:
    """The reason why a network that draws random numbers cannot be measured."""
    kind = type(model).__name__
    return f"{kind} draws random numbers: its output for an image is not reproducible"


def generator_states(device: torch.device) -> list[object]:
    """What the generators of torch, Python and NumPy draw from; reads nothing from the device.

    A small probability may change no row of a batch, but a draw always changes the state.
    """
    of_numpy: Any = np.random.get_state()  # noqa: NPY002
    states = [random.getstate(), of_numpy[1].tobytes(), of_numpy[2:]]
    tensors = [torch.default_generator.get_state()]
    if device.type not in ("cpu", "meta"):
        tensors.append(torch.get_device_module(device).get_rng_state(device))
    return [*states, *(tensor.numpy().tobytes() for tensor in tensors)]
