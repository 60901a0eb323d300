"""Costs of the stages: the specification's table, and that measuring changes nothing."""

import json

import pytest
import torch
from torch import nn

import asvit
from asvit.models.asvit import SIZES
from asvit.models.retokenization import SCHEDULE, Tokens, retokenize, tokens_of
from asvit.spaces.architectures import build_on_meta
from asvit.training import token_costs
from asvit.training.token_costs import measure_stages
from tests.asvit.models.families import make

# Multiply-adds (core) at full resolution, and per cent of them at (8,2) and (16,5): measured once
# with grids whose odd sides are rounded up, as ours are.
TABLE = {
    "asvit_small": (5_132_134_656, 20.5, 5.3),
    "asvit_base": (8_753_694_080, 21.8, 5.8),
    "asvit_large": (22_357_813_760, 21.1, 5.6),
}


@pytest.mark.parametrize("size", TABLE)
def test_the_sizes_cost_what_the_table_says(size):
    model = build_on_meta(SIZES[size], image_size=224)
    full, *wanted = TABLE[size]
    assert asvit.cost(model).macs == full
    percents = []
    for tokens in reversed(SCHEDULE[:2]):
        retokenize(model, tokens)
        percents.append(round(100 * asvit.cost(model).macs / full, 1))
    assert percents == wanted


@pytest.mark.parametrize(
    ("tokens", "side"), [(Tokens(16, 5), 14), (Tokens(8, 2), 28), (Tokens(4, 1), 56)]
)
def test_a_count_by_hand(tokens, side):
    # K1 = 8, C = 16, one block a stage: the arithmetic of a windowed transformer.
    model = build_on_meta("8,2,2|4,1,2|4,1,2|4,1,2|16,16", image_size=224, num_classes=10)
    retokenize(model, tokens)
    macs, grid, width = side**2 * 16 * 3 * 8**2, side, 16
    for stage, splits in enumerate((2, 1, 1, 1)):
        if stage:
            grid, patch = -(-grid // 2), 4**2 * width
            width *= 2
            macs += grid**2 * patch * width
        count, window = grid**2, (grid // splits) ** 2
        macs += count * (4 * width**2 + 2 * window * width + 2 * 2 * width**2)
    macs += width * width + width * 10
    assert asvit.cost(model).macs == macs


def test_costs_of_a_training(monkeypatch):
    model = make("asvit")
    times = iter([0.2, 0.5, 2.0])
    monkeypatch.setattr(token_costs, "_seconds", lambda *_: next(times))
    costs = measure_stages(model, 64, batch_size=4)
    assert [cost.tokens for cost in costs] == list(SCHEDULE)
    assert [cost.seconds for cost in costs] == [0.05, 0.125, 0.5]
    assert [cost.time_fraction for cost in costs] == [0.1, 0.25, 1.0]
    for cost in costs:
        retokenize(model, cost.tokens)
        assert cost.macs == asvit.cost(model, 64).macs
        assert cost.fraction == cost.macs / costs[-1].macs
    assert 0 < costs[0].fraction < costs[1].fraction < costs[2].fraction == 1
    expected = {
        "stride": 16, "dilation": 5, "macs": costs[0].macs, "fraction": costs[0].fraction,
        "seconds": 0.05, "time_fraction": 0.1,
    }  # fmt: skip
    assert json.loads(json.dumps(costs[0].to_json())) == expected


@pytest.mark.parametrize("name", ["asvit", "resnet", "pit", "deit with a teacher"])
def test_measuring_leaves_no_trace(name):
    model = make(name).train()
    if name == "deit with a teacher":
        model.set_distilled_training(True)  # two outputs
    tokens = Tokens(8, 2) if name == "asvit" else tokens_of(model)
    retokenize(model, tokens)
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    costs = measure_stages(model, 64, batch_size=2, steps=1)
    assert torch.equal(torch.rand(3), wanted)
    assert all(cost.seconds > 0 and cost.time_fraction > 0 for cost in costs)
    assert costs[-1].time_fraction == 1
    assert (tokens_of(model), model.training) == (tokens, True)
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in model.state_dict().items())
    _, *others = model.parameters()
    assert all(p.grad is None for p in others)
    assert torch.equal(first.grad, torch.ones_like(first))


def test_steps_are_training_steps_in_the_precision_asked_for():
    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 2, 4, 4)
            self.steps = []

        def forward(self, image):
            out = self.stem(image)
            self.steps.append((tuple(out.shape), out.dtype, self.training))
            return out.mean((2, 3))

    model = Seen()
    seconds = token_costs._seconds(model, torch.zeros(2, 3, 8, 8), 3, torch.bfloat16)
    assert seconds > 0
    assert model.steps == [((2, 2, 2, 2), torch.bfloat16, True)] * 4
    assert model.stem.weight.grad is None


def test_networks_that_cannot_run_coarse_are_refused_before_training():
    model = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.Flatten(), nn.Linear(2 * 64, 5))
    with pytest.raises(ValueError, match="cannot count Sequential"):
        measure_stages(model, 32, batch_size=2)
    with pytest.raises(ValueError, match="Linear has no convolution"):
        measure_stages(nn.Linear(3, 3), 32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_on_an_accelerator():
    model = make("asvit").cuda()
    torch.cuda.manual_seed(5)
    wanted = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(5)
    costs = measure_stages(model, 64, batch_size=2, precision=torch.bfloat16)
    assert torch.equal(torch.rand(3, device="cuda"), wanted)
    assert all(cost.seconds > 0 for cost in costs)
