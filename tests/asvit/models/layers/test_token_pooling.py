"""Token pooling against loops, PyTorch's own operations and values by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asvit.models.layers.psvit import TokenPooling1d, TokenPooling2d


def pooled_by_loops(layer: TokenPooling1d, x: torch.Tensor) -> torch.Tensor:
    """One list ``[prefix + N, dim]``, one token at a time."""
    reach = layer.kernel // 2
    rows = []
    for i in range(len(x)):
        near = [
            x[j] if 0 <= j < len(x) else torch.zeros_like(x[0])
            for j in range(i - reach, i + reach + 1)
        ]
        rows.append(layer.widen(torch.cat(near)))
    leading, patches = rows[: layer.prefix], rows[layer.prefix :]
    windows = []
    for start in range(0, len(patches) - layer.pool + 1, layer.stride):
        windows.append(torch.stack(patches[start : start + layer.pool]).max(dim=0).values)
    return torch.stack(leading + windows)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("pool", "stride"), [(2, 2), (3, 2), (2, 1)])
@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("tokens", [8, 9])
def test_a_list_is_pooled_as_by_loops(kernel, pool, stride, prefix, tokens):
    layer = TokenPooling1d(4, 6, kernel=kernel, pool=pool, stride=stride, prefix=prefix).double()
    x = torch.randn(2, prefix + tokens, 4, dtype=torch.float64)
    expected = torch.stack([pooled_by_loops(layer, one) for one in x])
    out = layer(x)
    torch.testing.assert_close(out, expected)
    assert out.shape == (2, prefix + layer.pooled(tokens), 6)


def test_the_linear_map_is_a_convolution():
    layer = TokenPooling1d(4, 6, kernel=3)
    convolution = nn.Conv1d(4, 6, 3, padding=1)
    with torch.no_grad():
        convolution.weight.copy_(layer.widen.weight.unflatten(1, (3, 4)).transpose(1, 2))
        convolution.bias.copy_(layer.widen.bias)
    x = torch.randn(2, 9, 4)
    wide = convolution(x.transpose(1, 2))
    expected = torch.cat([wide[..., :1], F.max_pool1d(wide[..., 1:], 2)], dim=2).transpose(1, 2)
    torch.testing.assert_close(layer(x), expected)


def test_the_largest_of_two_neighbours_by_hand():
    layer = TokenPooling1d(1, 1)
    nn.init.constant_(layer.widen.weight, -1.0)
    nn.init.constant_(layer.widen.bias, 10.0)
    x = torch.tensor([9.0, 1, 5, 3, 2, 7]).view(1, 6, 1)  # a class token, then five patches
    assert layer(x).flatten().tolist() == [1, 9, 8]
    whole = TokenPooling1d(1, 1, prefix=0)
    whole.load_state_dict(layer.state_dict())
    assert whole(x).flatten().tolist() == [9, 7, 8]


def test_tokens_of_the_tiny_preset():
    layer = TokenPooling1d(2, 2)
    assert layer(torch.randn(1, 197, 2)).shape[1] == 99
    assert layer(torch.randn(1, 99, 2)).shape[1] == 50
    assert TokenPooling1d(2, 2, prefix=0)(torch.randn(1, 197, 2)).shape[1] == 98


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3), (1, 1)])
def test_a_grid_is_pooled_by_one_convolution(kernel, height, width):
    layer = TokenPooling2d(4, 6, kernel=kernel).double()
    x = torch.randn(2, height, width, 4, dtype=torch.float64)
    out = layer(x)
    assert out.shape == (2, -(-height // 2), -(-width // 2), 6)
    assert out.is_contiguous()
    reach = kernel // 2
    padded = F.pad(x, (0, 0, reach, reach, reach, reach))
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            patch = padded[:, 2 * row : 2 * row + kernel, 2 * column : 2 * column + kernel]
            value = torch.einsum("byxc,ocyx->bo", patch, layer.widen.weight) + layer.widen.bias
            torch.testing.assert_close(out[:, row, column], value)


def test_parameters_by_hand():
    assert sum(p.numel() for p in TokenPooling1d(192, 256).parameters()) == 192 * 256 + 256
    assert sum(p.numel() for p in TokenPooling1d(4, 6, kernel=3).parameters()) == 3 * 4 * 6 + 6
    assert sum(p.numel() for p in TokenPooling2d(4, 6).parameters()) == 9 * 4 * 6 + 6


@pytest.mark.parametrize("kernel", [0, 2, -1])
@pytest.mark.parametrize("kind", [TokenPooling1d, TokenPooling2d])
def test_kernels_without_a_middle_are_refused(kind, kernel):
    with pytest.raises(
        ValueError, match=f"kernel={kernel} has no token in its middle; use an odd"
    ):
        kind(4, 6, kernel=kernel)
