"""Networks and costs of architectures and their texts, also by stage."""

import pytest
import torch
from torch import nn

import asvit
from asvit.architectures.genotype import Genotype
from asvit.spaces import SPACES, load_space, stage_table
from asvit.spaces.architectures import _cost, build_on_meta, parse
from proxies.counts import Cost

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
LARGE = "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"
# At 224 px; multiply-adds of convolutions, linear maps and matrix products. The released code has
# the same parameters for the seed, Small and Large, and the same multiply-adds for Large. Exact.
COSTS = {
    SEED: Cost(2_319_624, 491_469_312),
    "8,2,3,3|4,1,2,1|4,1,4,4|4,1,6,2|32,88": Cost(28_775_328, 5_132_134_656),
    "8,2,3,3|4,1,2,1|4,1,4,5|4,1,6,2|32,116": Cost(52_258_652, 8_753_694_080),
    LARGE: Cost(87_580_820, 22_357_813_760),
}

TEXTS = (
    *(SEED, "shift:1,1,1,1|2|12|1|16", "psvit1d:b-----|b-----|b-----|48", "timm:resnet10t"),
    *("psvit2d:b-----|b-----|b-----|24", "pit:8,2|1,1,1|1,2,4", "autoformer:16|2|2"),
)


def fresh(arch):
    """The network of one seed."""
    torch.manual_seed(5)
    return asvit.build(arch, image_size=32, num_classes=2)


@pytest.mark.parametrize("text", COSTS)
def test_exact_costs(text):
    assert asvit.cost(text) == COSTS[text]
    assert asvit.cost(Genotype.parse(text)) == COSTS[text]


@pytest.mark.parametrize("text", TEXTS)
def test_an_architecture_does_what_its_text_does_and_is_never_parsed_again(text, monkeypatch):
    arch = parse(text)
    assert (str(arch), parse(arch)) == (text, arch)
    weights = [fresh(given).state_dict() for given in (text, arch)]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    cost = asvit.cost(text, 32)
    _cost.cache_clear()
    for kind in type(arch).__mro__[:-1]:
        monkeypatch.setattr(kind, "parse", None, raising=False)
    for space in SPACES.values():
        monkeypatch.setattr(type(space), "parse", None)
    assert asvit.cost(arch, 32) == cost
    assert fresh(arch) is not None
    assert build_on_meta(arch, image_size=32) is not None


def test_build_takes_text_or_genotype_and_grows_it():
    image = torch.randn(1, 3, 32, 32)
    for arch in (SEED, Genotype.parse(SEED)):
        model = asvit.build(arch, image_size=32, num_classes=4, depths=(1, 2, 1, 1), width=8)
        assert model(image).shape == (1, 4)
        assert str(model.genotype) == "8,2,3,1|4,1,2,2|4,1,4,1|4,1,6,1|32,8"
    model = asvit.build(SEED, 32, 4, width=8)  # sizes may be given by place
    assert model(image).shape == (1, 4)
    assert asvit.cost(SEED, 32) == asvit.cost(SEED, image_size=32)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("8,2,3|9,1,2|4,1,4|4,1,6|32", "stage 2 kernel=9 is not allowed"),
        ("", "'' is not K,S,E"),
        ("resnet18", "'resnet18' is a timm model; write 'timm:resnet18'"),
        ("shiftvit", r"'shiftvit' is a search space; name .* of it, as shift:2,2,6,2\|4\|12"),
        ("psvit1d", "'psvit1d' is a search space; name an architecture of it, as psvit1d:"),
        ("timm:resnet81", "timm has no model 'resnet81'; did you mean 'timm:resnet.*'"),
        (7, "int is not an architecture; use a Genotype, its text or timm:NAME"),
    ],
)
@pytest.mark.parametrize("function", [asvit.build, asvit.cost, stage_table])
def test_what_is_no_architecture(function, arch, message):
    with pytest.raises(ValueError, match=message):
        function(arch)


def test_sizes_that_do_not_suit():
    for use in (asvit.cost, asvit.build, load_space("asvit").check):
        with pytest.raises(ValueError, match="stage 1 splits=2 does not divide 25 tokens"):
            use(SEED, 100)
    with pytest.raises(ValueError, match="'timm:resnet18' has its own depths and width"):
        asvit.build("timm:resnet18", width=8)
    with pytest.raises(ValueError, match="stage 1 width=2 is less than its 4 heads"):
        asvit.build(SEED, width=2)
    with pytest.raises(ValueError, match="cannot count Linear"):
        asvit.cost(nn.Linear(3, 3))


@pytest.mark.parametrize("arch", [SEED, Genotype.parse(LARGE), "timm:resnet18"])
@pytest.mark.parametrize("side", [64, 112, 224])
def test_rows_add_up_to_the_cost(arch, side):
    rows = stage_table(arch, image_size=side)
    total = sum((Cost(row.params, row.macs) for row in rows), Cost(0, 0))
    assert total == asvit.cost(arch, image_size=side)


def test_first_and_last_row_of_the_seed_by_hand():
    first, *_, last = stage_table(SEED)
    tokens, window, dim = 56 * 56, 28 * 28, 32
    stem = 8 * 8 * 3 * dim
    attention = 4 * dim**2 + 2 * window * dim  # multiply-adds of a token
    mlp = 2 * 3 * dim**2
    assert first.macs == tokens * (stem + attention + mlp)
    biases = dim + 4 * dim + 4 * dim
    norms = 3 * 2 * dim
    assert first.params == stem + 4 * dim**2 + mlp + biases + norms
    assert last.macs == 256 * 256 + 256 * 1000
    assert last.params == last.macs + 256 + 1000 + 2 * 256
