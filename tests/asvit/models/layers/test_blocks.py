"""The feed-forward part."""

import torch
from torch.nn import functional as F

from asvit.models.layers import Mlp


def test_two_maps_with_gelu_between():
    mlp = Mlp(4, 10).double()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    hidden = F.gelu(x @ mlp.fc1.weight.T + mlp.fc1.bias)
    torch.testing.assert_close(mlp(x), hidden @ mlp.fc2.weight.T + mlp.fc2.bias)
    assert hidden.shape[-1] == 10
