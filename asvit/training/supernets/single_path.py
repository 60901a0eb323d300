"""Single-path one-shot training: every step draws one path of a supernet and trains it alone."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.networks import load_state
from asvit.progress import Progress, Tell, ignore
from asvit.training.short import Labelled, Recipe, pace, parameter_groups, varied
from proxies.evaluation import seed_for
from proxies.messages import shown

P = TypeVar("P")

SAVE_SECONDS = 60.0  # longest time between two saves of an epoch that takes longer

_LOSSES = "losses"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # AdamW's state of a parameter


class LossNotFinite(ValueError):
    """The loss of a step is infinite or not a number."""


class SupernetTraining(Generic[P]):
    """The training of a supernet, one step at a time, to be stopped and taken up anywhere.

    A parameter off the path of a step keeps its value and its optimiser state: no gradient, no
    weight decay. What a step does follows from the seed, its number and the state, so that
    training that goes on from :meth:`state` gives the bits of one never stopped (on one CPU, with
    as many threads).

    Args:
        supernet: ``supernet(images [B, C, H, W], path) -> [B, classes]``; trained in place, on its
            device.
        train: Images ``[n, C, H, W]`` and labels ``[n]`` int64, on that device.
        recipe: How to train.
        draw: Draws a path.
        seed: Of the paths, the order of the images, how they are varied, and dropout.

    Attributes:
        losses: Loss of every step so far, nats.

    Raises:
        ValueError: If a batch holds more images than there are.

    References:
        Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        arXiv:1904.00420.
    """

    def __init__(
        self,
        supernet: nn.Module,
        train: Labelled,
        recipe: Recipe,
        *,
        draw: Callable[[np.random.Generator], P],
        seed: int,
    ) -> None:
        self._images, self._labels = train
        if not 1 <= recipe.batch_size <= len(self._images):
            raise ValueError(
                f"batch_size={recipe.batch_size} for {len(self._images)} training images; use "
                "at most as many"
            )
        self._supernet = supernet
        self._recipe = recipe
        self._draw = draw
        self._seed = seed
        self._names = dict(supernet.named_parameters())
        self._optimizer = torch.optim.AdamW(
            parameter_groups(supernet, recipe.weight_decay), lr=recipe.learning_rate
        )
        self.losses: list[float] = []

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; images that do not fill a last one wait for the next epoch."""
        return len(self._images) // self._recipe.batch_size

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return len(self.losses) >= self._recipe.steps

    def path(self, step: int) -> P:
        """The path that is trained in ``step``, from 0."""
        return self._draw(np.random.default_rng(seed_for(self._seed, "path", step)))

    def step(self) -> float:
        """Train the next path on the next batch; its loss, nats.

        Cost: three forward passes of the path for each image of a batch.

        Raises:
            LossNotFinite: If the loss is; the weights are then those of the step before.
        """
        step = len(self.losses)
        images, labels = self._batch(step)
        self._supernet.train()
        device = self._images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed_for(self._seed, "dropout", step))
            logits = self._supernet(images, self.path(step))
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise LossNotFinite(
                f"the loss became {value} in step {step + 1}; use a lower learning rate than "
                f"{self._recipe.learning_rate:g}"
            )
        # No gradient at all, instead of one of zeros, keeps the optimiser off other paths.
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._supernet.parameters(), self._recipe.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * pace(step, self._recipe)
        self._optimizer.step()
        self.losses.append(value)
        return value

    def run(
        self,
        save: Callable[[], None],
        *,
        progress: Tell = ignore,
    ) -> None:
        """Train to the end.

        Args:
            save: Called at the end of every epoch, and each minute within longer ones.
            progress: Called after every step.

        Raises:
            LossNotFinite: As :meth:`step`.
        """
        resumed = len(self.losses)
        saved = began = time.monotonic()
        while not self.finished:
            self.step()
            now, step = time.monotonic(), len(self.losses)
            if step % self.steps_per_epoch == 0 or now - saved > SAVE_SECONDS:
                save()
                saved = now
            loss = statistics.fmean(self.losses[-self.steps_per_epoch :])
            state = f"loss {loss:.3f}"  # of the last epoch's worth of steps
            progress(Progress("step", step, self._recipe.steps, resumed, now - began, state))

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on, by name, on the CPU."""
        held = {f"weights/{name}": tensor for name, tensor in self._supernet.state_dict().items()}
        for name, parameter in self._names.items():
            # Those of no path so far have none.
            for moment, value in self._optimizer.state.get(parameter, {}).items():
                held[f"{moment}/{name}"] = value
        copies = {name: tensor.detach().cpu().contiguous() for name, tensor in held.items()}
        return {**copies, _LOSSES: torch.tensor(self.losses, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            ValueError: If it has no losses, the state of a parameter that is not here, or a weight
                is missing, unknown or of another shape.
        """
        if _LOSSES not in state:
            raise ValueError("the state of the training has no losses")
        weights = {
            name.removeprefix("weights/"): tensor
            for name, tensor in state.items()
            if name.startswith("weights/")
        }
        load_state(self._supernet, weights, what="the weights of the supernet")
        self._optimizer.state.clear()
        for moment in _MOMENTS:
            for name, tensor in state.items():
                if name.startswith(f"{moment}/"):
                    parameter = self._names.get(name.removeprefix(f"{moment}/"))
                    if parameter is None or tensor.shape not in (parameter.shape, ()):
                        raise ValueError(f"the training has no parameter for {shown(name)}")
                    # AdamW counts its steps on the CPU.
                    where = tensor.device if moment == "step" else parameter.device
                    self._optimizer.state[parameter][moment] = tensor.clone().to(where)
        self.losses = state[_LOSSES].tolist()

    def _batch(self, step: int) -> Labelled:
        """The batch of ``step``: every image once an epoch, in an order of its own."""
        epoch, place = divmod(step, self.steps_per_epoch)
        size = self._recipe.batch_size
        order = torch.randperm(len(self._labels), generator=self._generator("order", epoch))
        chosen = order[place * size : (place + 1) * size].to(self._labels.device)
        pixels = varied(self._images[chosen], self._recipe, self._generator("images", step))
        return pixels, self._labels[chosen]

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        # On the CPU, so that every device sees the same.
        return torch.Generator().manual_seed(seed_for(self._seed, purpose, count))
