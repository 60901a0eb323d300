"""Whether a network treats every image by itself, and one image always alike.

Evaluation mode makes most networks do so. A mean over the batch in a forward pass, or a batch norm
without running statistics, lets samples interact even there; ``F.dropout(x, training=True)`` draws
random numbers. Checks give the reason why a network cannot be measured, empty if it can. They take
four images, six where there is one.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from proxies.features import evaluating, measured, pooled_feature, reference_tensor
from proxies.functional import network_output
from proxies.registry import Inputs


def independent_curve(model: nn.Module, inputs: Inputs) -> str:
    """Points of the circle must not interact in the pooled feature, norms bypassed."""
    images = inputs.circle.at(inputs.circle.angles[:2])
    with measured(model, norms="bypassed", images=images):
        return _fault(model, images, pooled_feature)


def independent_images(model: nn.Module, inputs: Inputs) -> str:
    """Images must not interact, in the pooled feature nor in the output."""
    with evaluating(model):
        return _fault(model, inputs.images, _feature_and_output)


def repeatable_images(model: nn.Module, inputs: Inputs) -> str:
    """An image must be treated alike each time; it may interact, as in the loss of a batch."""
    with evaluating(model):
        return _fault(model, inputs.images, _feature_and_output, independent=False)


def same_rows(one: Tensor, other: Tensor) -> Tensor:
    """Whether rows ``[..., n, F]`` are the same, all of them; a bool on their device.

    Up to rounding, which grows with depth. Rows that are not finite pass: the value tells.
    """
    difference = (one - other).abs().amax(-1)
    tolerance = math.sqrt(torch.finfo(one.dtype).eps)
    same: Tensor = ~(difference > tolerance * one.abs().amax(-1)).any()
    return same


def _feature_and_output(model: nn.Module, images: Tensor) -> Tensor:
    """Both, as a head may start at zero."""
    found = pooled_feature(model, images), network_output(model, images)
    return torch.cat([rows.flatten(1) for rows in found], 1)


def _fault(
    model: nn.Module,
    images: Tensor,
    rows: Callable[[nn.Module, Tensor], Tensor],
    *,
    independent: bool = True,
) -> str:
    """Why the rows of images are not what a measure needs, from that of the first.

    It has to be the same each time and, if ``independent``, beside itself as beside another image.
    All batches are of two, so that rounding, which some networks amplify by 10,000 times without
    their norms, is the same.
    """
    kind = type(model).__name__

    def beside(other: int) -> Tensor:
        pair = images[[0, min(other, len(images) - 1)]]
        return rows(model, pair.to(reference_tensor(model)))[:1]

    with torch.no_grad():
        itself = beside(0)
        if same_rows(itself, beside(1 if independent else 0)):
            return ""
        if not (independent and same_rows(itself, beside(0))):
            return f"{kind} draws random numbers: it does not treat an image alike each time"
    return f"{kind} makes something else of an image beside another one: its samples interact"
