"""Which parameters decay and move by Muon, and the learning rate of every update."""

from typing import Any

import pytest
import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from torch import nn

from asvit.models.psvit_supernet import PSViTSupernet
from asvit.spaces import build
from asvit.training.optimizers import Schedule, make_optimizer, parameter_groups

TEXTS = (
    "8,2,3|4,1,2|4,1,4|4,1,6|32,4",
    "shift:1,1,1,1|2|12|1|24",
    "psvit1d:b-----|b-----|b-----|16",
    "timm:deit_tiny_distilled_patch16_224",
    "timm:swin_tiny_patch4_window7_224",
    "timm:resnet10t",
    "timm:efficientvit_b0",
)


def named(groups: list[dict[str, Any]], network: nn.Module) -> list[set[str]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [{names[id(parameter)] for parameter in group["params"]} for group in groups]


@pytest.mark.parametrize("text", TEXTS)
def test_what_decays_is_what_timm_lets_decay(text: str) -> None:
    network = build(text, 64, 5)
    given: Any = {"no_weight_decay_list": getattr(network, "no_weight_decay", set)()}
    theirs = param_groups_weight_decay(network, 0.3, **given)
    ours = parameter_groups(network, 0.3)
    assert sorted(g["weight_decay"] for g in ours) == sorted(g["weight_decay"] for g in theirs)
    assert sorted(map(sorted, named(ours, network))) == sorted(map(sorted, named(theirs, network)))


@pytest.mark.parametrize("text", TEXTS[:3])
def test_what_moves_by_muon_does_not_depend_on_the_decay(text: str) -> None:
    moved = list[set[str]]()
    for decay in (0.0, 1e-6, 0.05, 0.5):
        network = build(text, 64, 5)
        groups = parameter_groups(network, decay)
        device = torch.device("cpu")
        optimizer = make_optimizer("muon", groups, learning_rate=1e-3, device=device)
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        moved.append(
            {
                name
                for name, parameter in network.named_parameters()
                if "momentum_buffer" in optimizer.state[parameter]
            }
        )
    assert moved[0]
    assert moved[1:] == moved[:1] * 3


def test_what_parts_of_a_network_spare_does_not_decay() -> None:
    deit = build("timm:deit_tiny_patch16_224", image_size=32, num_classes=3)
    supernet = PSViTSupernet([16, 32], [1, 2], pooling="1d", img_size=32, patch_size=4)
    for network in (deit, nn.Sequential(deit), supernet):
        embeddings = {
            name for name, _ in network.named_parameters() if name.endswith(("embed", "token"))
        }
        spared, others = named(parameter_groups(network, 0.5), network)
        assert embeddings
        assert embeddings <= spared
        assert len(spared) + len(others) == len([*network.parameters()])


@pytest.mark.parametrize("warmup", [0, 3])
def test_a_cosine_from_the_beginning_is_that_of_timm(warmup: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = CosineLRScheduler(
        optimizer, 10, lr_min=0.01, warmup_t=warmup, warmup_lr_init=0.02, t_in_epochs=False
    )
    ours = Schedule(0.3, 10, warmup, first=0.02, last=0.01)
    for update in range(12):
        theirs.step_update(update)
        assert ours(update) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
