"""Parameters and multiply-adds: exact anchors, closed forms, and nothing disturbed."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from proxies.counts import Cost, count, count_by_module
from tests.proxies.networks import Lambda

# fvcore 0.1.5 at 224 px, 1000 classes, attention written out: parameters, and multiply-adds of
# convolutions, linear maps and matrix products; exact.
ANCHORS = {
    "deit_tiny_patch16_224": (5_717_416, 1_253_683_200),
    "pvt_v2_b1": (14_009_000, 2_108_355_584),
    "nextvit_small": (31_763_368, 5_794_420_224),
    "swin_tiny_patch4_window7_224": (28_288_354, 4_490_566_656),
    "asvit_small": (28_775_328, 5_132_134_656),
    "asvit_large": (87_580_820, 22_357_813_760),
}


def attention(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Fused attention among the rows of an image, one head."""
    return F.scaled_dot_product_attention(x, x, x)


def named_attention(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The same with its arguments by their names."""
    return F.scaled_dot_product_attention(query=x, key=x, value=x, scale=1.0)


@pytest.mark.parametrize("name", ANCHORS)
def test_anchors(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert count(model) == Cost(*ANCHORS[name])


@pytest.mark.parametrize(
    "name",
    [
        *(
            "cait_xxs24_224",
            "coat_lite_tiny",
            "convnext_atto",
            "edgenext_xx_small",
            "ghostnet_050",
        ),
        *("levit_128s", "mixer_s32_224", "mobilenetv3_small_050", "poolformer_s12", "regnetx_002"),
        *("resnet10t", "twins_svt_small", "xcit_nano_12_p16_224"),
    ],
)
def test_networks_of_timm_count_as_pytorch_counts_them(name):
    with torch.device("meta"):
        model = timm.create_model(name).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    parameters = {id(parameter): parameter.numel() for parameter in model.parameters()}
    assert count(model) == Cost(sum(parameters.values()), counter.get_total_flops() // 2)


SHARED = nn.Linear(8, 8, bias=False)


@pytest.mark.parametrize(
    ("module", "cost"),
    [
        # Once as parameters, and each time as work.
        (nn.Sequential(SHARED, SHARED), Cost(64, 2 * 3 * 8 * 64)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), Cost(965, 960)),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False), Cost(54, 64 * 54)),
        (Lambda(attention), Cost(0, 2 * 3 * 8 * 8 * 8)),
        (Lambda(named_attention), Cost(0, 2 * 3 * 8 * 8 * 8)),
        (nn.Sequential(nn.BatchNorm2d(3), nn.GELU(), nn.AvgPool2d(2)), Cost(6, 0)),
        (Lambda(lambda _, x: x @ x[0, 0, 0]), Cost(0, 3 * 8 * 8)),
        (Lambda(lambda _, x: x[0, 0, 0] @ x[0, 0, 1]), Cost(0, 8)),
        (Lambda(lambda _, x: torch.addmv(x[0, 0, 0], x[0, 0], x[0, 0, 1])), Cost(0, 8 * 8)),
        (Lambda(lambda _, x: torch.addbmm(x[0, 0], x[0], x[0])), Cost(0, 3 * 8 * 8 * 8)),
        (Lambda(lambda _, x: x[0, 0].addmm_(x[0, 1], x[0, 2])), Cost(0, 8 * 8 * 8)),
        (Lambda(lambda _, x: x[0].baddbmm_(x[0], x[0])), Cost(0, 3 * 8 * 8 * 8)),
        (Lambda(lambda _, x: x[0, 0, 0].addmv_(x[0, 0], x[0, 0, 1])), Cost(0, 8 * 8)),
    ],
)
def test_closed_forms_at_8_pixels(module, cost):
    assert count(module, 8) == cost


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
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in module.state_dict().items():
        pointer, value = before[name]
        assert tensor.data_ptr() == pointer
        assert torch.equal(tensor, value)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert module[0].plain.device.type == "cpu"


KEEPING = {
    "computed weights": lambda: nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3))),
    "parametrized": lambda: nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3))),
    "compiled": lambda: torch.compile(nn.Sequential(nn.Conv2d(3, 4, 3)), backend="eager"),
    "exported": lambda: torch.export.export(
        nn.Conv2d(3, 4, 3), (torch.ones(1, 3, 8, 8),)
    ).module(),
}


@pytest.mark.parametrize("name", KEEPING)
def test_what_a_module_keeps_is_neither_in_the_way_nor_changed(name):
    module = KEEPING[name]()
    module(torch.ones(1, 3, 8, 8))
    assert count(module, 8).macs - 36 * 4 * 27 in (0, 112)  # with those of a spectral norm


def test_parts_add_up():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 2, 1), nn.GELU()))
    parts = count_by_module(module, 8)
    assert parts[""] == count(module, 8) == parts["0"] + parts["1"]
    assert parts["0"] == Cost(16, 64 * 12)
    assert parts["1.0"] == parts["1"] == Cost(10, 64 * 8)
    assert parts["1.1"] == Cost(0, 0)


def tied() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    module[1].weight = module[0].weight
    return module


def twice() -> nn.Module:
    layer = nn.Conv2d(3, 3, 1)
    return nn.Sequential(layer, nn.Sequential(nn.Conv2d(3, 3, 1), layer), layer)


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        (tied, Cost(12, 576), Cost(3, 576)),
        (twice, Cost(12, 3 * 576), Cost(12, 576)),
        (lambda: nn.Sequential(twice(), nn.Conv2d(3, 3, 1)), Cost(24, 4 * 576), Cost(12, 576)),
    ],
)
def test_what_has_two_names_counts_under_the_first(make, first, second):
    parts = count_by_module(make(), 8)
    assert (parts["0"], parts["1"]) == (first, second)
    assert parts[""] == first + second


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(7, 7), r"cannot count Linear on \(1, 3, 8, 8\) images: "),
        (lambda: timm.create_model("deit_tiny_patch16_224"), "Input height"),
        (lambda: Lambda(lambda _, x: x * x.sum().item()), "cannot count Lambda"),
        (lambda: nn.Conv2d(3, 2, 9), "cannot count Conv2d"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(16)), "8 elements not 16"),
        (lambda: Lambda(lambda _, x: x.transpose(2, 3).view(-1)), "cannot count Lambda"),
        (lambda: nn.LazyConv2d(4, 3), "cannot count LazyConv2d"),
        (lambda: torch.jit.script(nn.LayerNorm(8)), "cannot count RecursiveScriptModule"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 1).double(), nn.Conv2d(4, 4, 1)), "cannot count"),
    ],
)
def test_what_cannot_be_counted_says_why_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        count(make(), 8)
    assert len(str(refusal.value).splitlines()) == 1


@torch.library.custom_op("tests::product", mutates_args=())
def product(x: torch.Tensor) -> torch.Tensor:
    """An operation of a user's, which PyTorch cannot take apart."""
    return x @ x


product.register_fake(torch.empty_like)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (product, "tests::product"),
        (torch.linalg.inv, "aten::linalg_inv_ex"),
        (lambda x: F.bilinear(x, x, x.new_ones(5, 8, 8)), "aten::_trilinear"),
        (lambda x: torchvision.ops.roi_align(x, x.new_ones(1, 5), 2), "torchvision::roi_align"),
    ],
)
def test_products_without_a_formula_are_named(function, name):
    module = Lambda(lambda own, x: function(own.layer(x)), layer=nn.Conv2d(3, 3, 1))
    with pytest.warns(UserWarning, match=f"multiply-adds of Lambda leave out {name}: no formula"):
        assert count(module, 8) == Cost(12, 576)


def test_a_formula_of_a_user_counts():
    @torch.library.custom_op("tests::counted", mutates_args=())
    def counted(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    counted.register_fake(torch.empty_like)
    register_flop_formula(torch.ops.tests.counted)(lambda x, **_: 2 * 5)
    assert count(Lambda(lambda _, x: counted(x)), 8) == Cost(0, 5)
