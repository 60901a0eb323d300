"""Training one architecture from scratch, with the images and the steps of a supernet."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from asvit.core.codec import MALFORMED, value_from_json
from asvit.core.progress import Tell, ignore
from asvit.core.tensor_files import read_tensors, write_tensors
from asvit.spaces import build
from asvit.training.short import FitResult, accuracy
from asvit.training.supernets.settings import SupernetSettings
from asvit.training.supernets.single_path import NonFiniteLossError, SupernetTraining
from asvit.training.supernets.splits import Splits
from proxies.evaluation import seed_for


@dataclass(frozen=True, kw_only=True)
class Trained(FitResult):
    """A network that was trained from scratch."""

    model: nn.Module  # in evaluation mode
    seconds: float  # wall-clock time of all sessions


def train_alone(
    architecture: str,
    settings: SupernetSettings,
    parts: Splits,
    *,
    seed: int = 0,
    state: Path | None = None,
    progress: Tell = ignore,
) -> Trained:
    """Train an architecture from fresh weights as its supernet was trained, and test it.

    It has as many steps as the supernet had for all paths, and also trains on the images that
    ranked paths. The file ``state`` stores the state of training, replaced as a whole at the end
    of every epoch and each minute within longer ones. With it the same call resumes after a kill,
    on a CPU to the same bits; the state of another training is ignored.
    """
    images, labels = (torch.cat(both) for both in zip(parts.train, parts.validation, strict=True))
    training_seed = seed_for(settings.seed, f"alone {architecture}", seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(training_seed)  # the same initial weights on every device
        model = build(architecture, settings.image_size, parts.classes)
    only = _OnlyPath(model.to(images.device))
    training = SupernetTraining(
        only, (images, labels), settings.recipe, draw=lambda _rng: None, seed=training_seed
    )
    what = {
        "architecture": architecture,
        "seed": seed,
        "settings": settings.to_json(),
        "images": parts.provenance["digest"],
        "device": images.device.type,
    }
    stored = None if state is None else _read(state, what)
    before, began = 0.0, time.monotonic()
    if stored is not None:
        before, tensors = stored
        training.load_state(tensors)

    def seconds() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        if state is not None:
            write_tensors(state, training.state(), {**what, "seconds": round(seconds(), 3)})

    reason = None
    try:
        training.run(save, progress=lambda step: progress(replace(step, unit="training step")))
    except NonFiniteLossError as error:
        reason = str(error)
    top1 = math.nan if reason else accuracy(model, *parts.test)
    losses = tuple(training.losses)
    return Trained(top1, losses, reason, model=model.eval(), seconds=seconds())


class _OnlyPath(nn.Module):
    """A network as a supernet with one path."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, _path: None) -> Tensor:
        return cast("Tensor", self.network(images))


def _read(path: Path, what: Mapping[str, Any]) -> tuple[float, dict[str, Tensor]] | None:
    """Seconds so far and the state of the training ``what``; None if the file is not of it."""
    try:
        header, tensors = read_tensors(path)
        seconds = header.pop("seconds")
        if header != what:
            return None
        return value_from_json(seconds, float), tensors
    except (FileNotFoundError, SafetensorError, *MALFORMED):
        return None  # training starts over and replaces the file
