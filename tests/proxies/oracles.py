"""The measures by their definitions, written to be read: slow, and right by inspection."""

import torch
from torch import Tensor, nn

from proxies import Circle
from proxies.features import measured, pooled_feature


def curve_speed_by_rows(model: nn.Module, circle: Circle) -> Tensor:
    """Speed of the feature curve, ``[points]``: one backward pass for each feature."""
    like = next(model.parameters())
    angles = circle.angles.to(torch.float64).requires_grad_()
    with measured(model, norms="bypassed"):
        feature = pooled_feature(model, circle.at(angles).to(like))
        columns = [
            torch.autograd.grad(feature[:, f].sum(), angles, retain_graph=True)[0]
            for f in range(feature.shape[1])
        ]
    speed: Tensor = torch.stack(columns, 1).norm(dim=1)
    return speed


def ntk_by_images(model: nn.Module, images: Tensor) -> Tensor:
    """The kernel, ``[n, n]``: one forward pass, then a backward pass of the batch for each image.

    This is the definition as the released code computes it.
    """
    with measured(model, norms="kept"):
        totals = pooled_feature(model, images).sum(dim=1)
        return gram([weight_gradients(model, total) for total in totals])


def ntk_by_single_images(model: nn.Module, images: Tensor) -> Tensor:
    """The kernel, ``[n, n]``: one forward and one backward pass for each image by itself."""
    with measured(model, norms="kept"):
        return gram(
            [weight_gradients(model, pooled_feature(model, image[None]).sum()) for image in images]
        )


def weight_gradients(model: nn.Module, total: Tensor) -> Tensor:
    """Gradients of a number with respect to all weights that it depends on, ``[elements]``."""
    weights = [p for name, p in model.named_parameters() if "weight" in name]
    grads = torch.autograd.grad(total, weights, allow_unused=True, retain_graph=True)
    return torch.cat([g.flatten() for g in grads if g is not None])


def gram(rows: list[Tensor]) -> Tensor:
    """Inner products of the rows, in float64."""
    jacobian = torch.stack(rows).double()
    return jacobian @ jacobian.T
