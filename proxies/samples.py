"""Checks that a network is deterministic and treats each image of a batch independently.

Most networks do so in evaluation mode. A mean over the batch in a forward pass, or a batch norm
without running statistics, lets samples interact even there; ``F.dropout(x, training=True)`` draws
random numbers. A check returns the reason why a network cannot be measured, empty if it can. It
passes two pairs of images, and perhaps a third where there is a reason.
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
    """Why a network's rows cannot be measured, judged by that of the first image.

    It must be reproducible and, if ``independent``, equal beside itself and another image. All
    batches have two images for equal rounding, which some networks amplify by 10,000 times without
    their norms.
    """
    kind = type(model).__name__

    def beside(other: int) -> Tensor:
        # Not by a list of places, which an accelerator would be sent.
        pair = torch.stack([images[0], images[min(other, len(images) - 1)]])
        return rows(model, pair.to(reference_tensor(model)))[:1]

    with torch.no_grad():
        itself = beside(0)
        if same_rows(itself, beside(1 if independent else 0)):
            return ""
        if not (independent and same_rows(itself, beside(0))):
            return f"{kind} draws random numbers: its output for an image is not reproducible"
    return f"{kind}'s output depends on the other images of a batch: its samples interact"
