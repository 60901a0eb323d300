"""Optimisers by name, and which parameters decay and move by Muon."""

from collections.abc import Collection
from typing import Any, cast

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from torch import nn, optim

from asvit.training.muon import SPARED, Muon
from proxies.messages import first_line, unknown

_FUSED = ("cpu", "cuda")  # devices on which PyTorch updates all weights in one kernel
_IN_ONE_KERNEL = (optim.AdamW, optim.Adam, optim.SGD)


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
    """Muon, or an optimiser by timm's name, in one kernel where PyTorch has one for the device.

    Raises:
        ValueError: If there is none of this name, or no training can use it.
    """
    if name not in list_optimizers():
        raise ValueError(unknown("optimizer", name, list_optimizers()))
    base = "adamw" if name == "muon" else name  # timm's Muon is slow on many CPUs
    info = get_optimizer_info(base)
    if info.second_order:
        raise ValueError(f"optimizer={name} needs second derivatives, which no training computes")
    one_kernel = device.type in _FUSED and info.opt_class in _IN_ONE_KERNEL
    try:
        optimizer: optim.Optimizer = create_optimizer_v2(
            groups, opt=base, lr=learning_rate, **({"fused": True} if one_kernel else {})
        )
    except (AssertionError, ImportError) as error:  # timm's for a library or device
        raise ValueError(f"optimizer={name}: {first_line(error)}") from error
    if optimizer.state_dict().keys() - {"state", "param_groups"}:
        raise ValueError(f"optimizer={name} has a state that no checkpoint keeps; take another")
    return Muon(optimizer.param_groups) if name == "muon" else optimizer


def _spared(network: nn.Module) -> set[str]:
    """Names of the parameters without weight decay, of the network and of its parts."""
    names = set[str]()
    for path, module in network.named_modules():
        own = cast("Collection[str]", getattr(module, "no_weight_decay", set)())
        names |= {f"{path}.{name}" if path else name for name in own}
    return names
