"""Optimisers by name, and which parameters decay and move by Muon."""

from collections.abc import Collection
from typing import Any, cast

import torch
from timm.optim import create_optimizer_v2
from torch import nn, optim

from asvit.training.muon import SPARED, Muon

_FUSED = ("cpu", "cuda")  # devices on which PyTorch updates all weights in one kernel
_IN_ONE_KERNEL = ("adamw", "adam", "sgd")


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in groups with and without weight decay.

    Spared are vectors, biases, and what the network or a part of it names, such as position
    embeddings. They are spared by Muon as well, whatever the weight decay is.
    """
    names = _spared(network)
    both: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            both[parameter.ndim < 2 or name.endswith(".bias") or name in names].append(parameter)
    return [
        {"params": both[spared], SPARED: spared, "weight_decay": 0.0 if spared else weight_decay}
        for spared in (True, False)
        if both[spared]
    ]


def make_optimizer(
    name: str, groups: list[dict[str, Any]], *, learning_rate: float, device: torch.device
) -> optim.Optimizer:
    """Muon, or an optimiser by timm's name, in one kernel where PyTorch has one for the device."""
    base = "adamw" if name == "muon" else name  # timm's Muon is slow on many CPUs
    one_kernel = device.type in _FUSED and base in _IN_ONE_KERNEL
    optimizer: optim.Optimizer = create_optimizer_v2(
        groups, opt=base, lr=learning_rate, **({"fused": True} if one_kernel else {})
    )
    return Muon(optimizer.param_groups) if name == "muon" else optimizer


def _spared(network: nn.Module) -> set[str]:
    """Names of the parameters without weight decay, of the network and of its parts."""
    names = set[str]()
    for path, module in network.named_modules():
        own = cast("Collection[str]", getattr(module, "no_weight_decay", set)())
        names |= {f"{path}.{name}" if path else name for name in own}
    return names
