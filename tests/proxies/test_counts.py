"""Parameters and multiply-adds: exact anchors, closed forms, and nothing disturbed."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from proxies.counts import Cost, count, count_by_module

# fvcore 0.1.5 at 224 px, 1000 classes: convolutions, linear maps and matrix products; exact.
ANCHORS = {
    "deit_tiny_patch16_224": Cost(5_717_416, 1_253_683_200),
    "deit_small_patch16_224": Cost(22_050_664, 4_598_882_304),
    "pvt_v2_b0": Cost(3_666_760, 566_065_664),
    "pvt_v2_b1": Cost(14_009_000, 2_108_355_584),
    "nextvit_small": Cost(31_763_368, 5_794_420_224),
    "swin_tiny_patch4_window7_224": Cost(28_288_354, 4_490_566_656),
}


class Attention(nn.Module):
    """Fused attention among the rows of an image, one head."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x)


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.sum().item()


@pytest.mark.parametrize("name", ANCHORS)
def test_anchors(name):
    assert count(timm.create_model(name)) == ANCHORS[name]


@pytest.mark.parametrize(
    ("module", "cost"),
    [
        (nn.Identity(), Cost(0, 0)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), Cost(965, 960)),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False), Cost(54, 64 * 54)),
        (nn.Conv2d(3, 4, 4, stride=4), Cost(196, 4 * 192)),
        (Attention(), Cost(0, 2 * 3 * 8 * 8 * 8)),
        (nn.Sequential(nn.BatchNorm2d(3), nn.GELU(), nn.AvgPool2d(2)), Cost(6, 0)),
    ],
)
def test_closed_forms_at_8_pixels(module, cost):
    assert count(module, 8) == cost


def test_pytorch_fused_encoder_layer_is_counted():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(64, 16), layer).eval()  # 3 of width 16
    linear = 3 * (64 * 16 + 4 * 16 * 16 + 2 * 16 * 32)
    enabled = torch.backends.mha.get_fastpath_enabled()
    assert count(tokens, 8).macs == linear + 2 * 3 * 3 * 16
    assert torch.backends.mha.get_fastpath_enabled() is enabled


def test_shared_weights_count_once_as_parameters_and_each_time_as_work():
    linear = nn.Linear(8, 8, bias=False)
    assert count(nn.Sequential(linear, linear), 8) == Cost(64, 2 * 3 * 8 * 64)


def test_channels_and_dtype_follow():
    assert count(nn.Conv2d(1, 2, 2, stride=2).half(), 8, channels=1) == Cost(10, 2 * 64)


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    module[0].plain = torch.ones(3)
    module[1].eval()
    before = {name: (t.data_ptr(), t.clone()) for name, t in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    count(module, 8)
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in module.state_dict().items():
        pointer, value = before[name]
        assert tensor.data_ptr() == pointer
        assert torch.equal(tensor, value)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert module[0].plain.device.type == "cpu"


def test_parts_add_up():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 2, 1), nn.GELU()))
    parts = count_by_module(module, 8)
    assert parts[""] == count(module, 8) == parts["0"] + parts["1"]
    assert parts["0"] == Cost(16, 64 * 12)
    assert parts["1.0"] == parts["1"] == Cost(10, 64 * 8)
    assert parts["1.1"] == Cost(0, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(7, 7), r"cannot count Linear on \(1, 3, 8, 8\) images: "),
        (lambda: timm.create_model("deit_tiny_patch16_224"), "Input height"),
        (Failing, "cannot count Failing"),
    ],
)
def test_what_cannot_be_counted_says_why_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        count(make(), 8)
    assert len(str(refusal.value).splitlines()) == 1
