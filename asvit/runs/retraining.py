"""Training of one architecture from scratch, with the images and the effort of a supernet."""

from __future__ import annotations

import torch
from torch import nn

from asvit.spaces import build
from asvit.training.parts import Parts
from asvit.training.short import Fitted, fit
from asvit.training.supernet_settings import SupernetSettings
from proxies.evaluation import seed_for


def train_alone(
    architecture: str, settings: SupernetSettings, parts: Parts, *, seed: int = 0
) -> tuple[nn.Module, Fitted]:
    """Train an architecture from fresh weights as its supernet was trained, and test it.

    It has as many steps as the supernet had for all paths, and the images that paths were chosen
    by to train on as well.

    Args:
        architecture: Its text.
        settings: Settings of the supernet.
        parts: The images, on the device to train on.
        seed: Of initial weights, batches and whatever is drawn.

    Returns:
        The network and what its training came to.
    """
    pixels, labels = (torch.cat(both) for both in zip(parts.train, parts.validation, strict=True))
    drawn = seed_for(settings.seed, f"alone {architecture}", seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(drawn)  # initial weights that every device gets alike
        model = build(architecture, settings.image_size, parts.classes)
    model.to(pixels.device)
    return model, fit(model, (pixels, labels), parts.test, settings.recipe, seed=drawn)
