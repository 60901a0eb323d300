import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import proxies
from asvit.models.layers.map_convolution import convolve_maps


class Maps(nn.Module):
    """Takes images for maps: ``[B, heads * lists, h, w]``; its feature is a weighted mean."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 1)
        self.intra = nn.Conv2d(2, 2, 3, groups=2)

    def forward(self, images: Tensor) -> Tensor:
        grids = self.mix(images).tanh().unflatten(1, (2, 4))
        maps = convolve_maps(grids, self.intra.weight, self.intra.bias)
        return maps.square().flatten(1, 2).mean((2, 3))


@pytest.mark.parametrize("side", [1, 3])
def test_each_head_has_its_kernel_for_all_lists(side: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, side, side, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    found = convolve_maps(x, weight, bias)
    each = [F.conv2d(x[:, :, i], weight, bias, padding="same", groups=3) for i in range(5)]
    expected = torch.stack(each, dim=2)
    torch.testing.assert_close(found, expected)
    back = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight, bias), back),
        torch.autograd.grad(expected, (x, weight, bias), back),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_kernel_of_a_network_takes_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, images = Maps().double(), torch.randn(4, 3, 5, 5, dtype=torch.float64)
    rows = []
    for image in images:
        total = model(image[None]).sum()
        weights = [p for n, p in model.named_parameters() if "weight" in n]
        grads = torch.autograd.grad(total, weights)
        rows.append(torch.cat([g.flatten() for g in grads]))
    jacobian = torch.stack(rows)
    # The way for operations without a rule costs a pass of its own for every weight.
    monkeypatch.setattr("proxies.ntk._gram_by_vmap", None)
    torch.testing.assert_close(proxies.ntk_matrix(model, images), jacobian @ jacobian.T)
