"""The shift op against its definition, and the blocks around it."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.gradcheck import gradcheck, gradgradcheck

from asvit.models.shiftvit import Shift, ShiftBlock, shift

MAP = torch.arange(1.0, 10).view(1, 1, 3, 3)
FORMATS = (torch.contiguous_format, torch.channels_last)


def by_definition(x: Tensor, n_div: int, step: int) -> Tensor:
    """Number by number: where each one comes from, and zero where that is outside."""
    _, channels, height, width = x.shape
    group = channels // n_div
    moves = [(0, step), (0, -step), (step, 0), (-step, 0)]  # read from: right, left, below, above
    out = torch.zeros_like(x)
    for c in range(channels):
        down, right = moves[c // group] if group and c < 4 * group else (0, 0)
        for i in range(height):
            for j in range(width):
                if 0 <= i + down < height and 0 <= j + right < width:
                    out[:, c, i, j] = x[:, c, i + down, j + right]
    return out


def test_by_hand():
    left, right, up, down, stays = shift(MAP.expand(1, 5, 3, 3), n_div=5)[0].tolist()
    assert left == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    assert right == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]
    assert up == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert down == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert stays == MAP[0, 0].tolist()


@given(
    batch=st.integers(0, 2),
    channels=st.integers(1, 26),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    n_div=st.integers(4, 20),
    step=st.integers(0, 7),
    memory=st.sampled_from(FORMATS),
)
@settings(deadline=None, max_examples=60)
def test_every_way_equals_the_definition(batch, channels, height, width, n_div, step, memory):
    x = torch.randn(batch, channels, height, width).to(memory_format=memory)
    before = x.clone()
    expected = by_definition(x, n_div, step)
    plain = shift(x, n_div=n_div, step=step)
    assert torch.equal(plain, expected)
    assert torch.equal(shift(x.requires_grad_(), n_div=n_div, step=step), expected)
    with patch("torch.compiler.is_compiling", return_value=True):
        assert torch.equal(shift(x.detach(), n_div=n_div, step=step), expected)
    assert torch.equal(x, before)
    assert plain.data_ptr() != x.data_ptr() or x.numel() == 0
    assert plain.is_contiguous(memory_format=memory)


@pytest.mark.parametrize(("step", "memory"), [(1, FORMATS[0]), (2, FORMATS[1]), (5, FORMATS[0])])
def test_derivatives_of_either_mode_and_order(step, memory):
    x = torch.randn(1, 6, 2, 3, dtype=torch.float64).to(memory_format=memory).requires_grad_()

    def cubed(x: Tensor) -> Tensor:
        return shift(x**3, n_div=5, step=step)

    assert gradcheck(cubed, x, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(cubed, x, check_fwd_over_rev=True, check_rev_over_rev=True)


def test_transforms_of_functions():
    x, v = torch.randn(2, 3, 24, 4, 4)

    def squared(x: Tensor) -> Tensor:
        return shift(x * x)

    def velocity(x: Tensor) -> Tensor:
        return torch.func.jvp(squared, (x,), (v,))[1]

    torch.testing.assert_close(velocity(x), 2 * shift(x * v))
    torch.testing.assert_close(torch.func.jvp(velocity, (x,), (v,))[1], 2 * shift(v * v))
    each = torch.func.vmap(torch.func.grad(lambda image: squared(image[None]).sum()))(x)
    whole = torch.func.grad(lambda images: squared(images).sum())(x)
    torch.testing.assert_close(each, whole)


def test_exports_for_any_image_as_pads_and_one_concatenation():
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    x = torch.randn(2, 24, 5, 6)
    exported = torch.export.export(Shift(), (x,), dynamic_shapes=(sizes,))
    for shape in ((2, 24, 5, 6), (3, 24, 9, 2)):
        x = torch.randn(shape)
        assert torch.equal(exported.module()(x), shift(x))
    used = {str(n.target) for n in exported.graph.nodes if n.op == "call_function"}
    assert not any("copy" in name or "scatter" in name for name in used)


def test_the_sum_is_of_the_shifted_map():
    block = ShiftBlock(24, 48).eval()
    x = torch.randn(2, 24, 4, 4)
    moved = by_definition(x, 12, 1)
    hidden = nn.functional.gelu(block.mlp.fc1(nn.functional.group_norm(moved, 1)))
    torch.testing.assert_close(block(x), moved + block.mlp.fc2(hidden))
