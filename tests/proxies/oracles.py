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
    return torch.stack(columns, 1).norm(dim=1)


def ntk_by_images(model: nn.Module, images: Tensor) -> Tensor:
    """The kernel, ``[n, n]``: one forward and one backward pass for each image."""
    rows = []
    with measured(model, norms="kept"):
        weights = [p for name, p in model.named_parameters() if "weight" in name]
        for image in images:
            total = pooled_feature(model, image[None]).sum()
            grads = torch.autograd.grad(total, weights, allow_unused=True)
            rows.append(torch.cat([g.flatten() for g in grads if g is not None]))
    jacobian = torch.stack(rows).double()
    return jacobian @ jacobian.T
