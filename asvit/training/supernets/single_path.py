"""Single-path one-shot training: every step trains one random path of a supernet."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.progress import Progress, Tell, ignore
from asvit.networks import load_state
from asvit.training.checkpoint import under
from asvit.training.short import LabelledTensors, Recipe, augment, lr_factor, parameter_groups
from proxies.evaluation import seed_for
from proxies.text import shown

P = TypeVar("P")

SAVE_SECONDS = 60.0  # longest time between two saves within an epoch

_LOSSES = "losses"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # AdamW's state of a parameter


@dataclass(eq=False)
class SupernetTraining(Generic[P]):
    """Trains a supernet; can be stopped and resumed after any step.

    A step leaves parameters off its path and their optimiser state unchanged: no gradient, no
    weight decay. It depends only on the seed, its number and the state. So training that resumes
    from :meth:`state` gives the same bits as one that never stopped (on one CPU, with the same
    number of threads).

    References:
        Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        arXiv:1904.00420.
    """

    supernet: nn.Module  # (images [B, C, H, W], path) -> [B, classes]; trained in place
    train: LabelledTensors  # images [n, C, H, W] and labels [n] int64, on its device
    recipe: Recipe
    _: KW_ONLY
    draw: Callable[[np.random.Generator], P]  # a random path
    seed: int  # of the paths, the order of the images, augmentation and dropout
    losses: list[float] = field(default_factory=list, init=False)  # of every step so far, nats

    def __post_init__(self) -> None:
        self._images, self._labels = self.train
        self._names = dict(self.supernet.named_parameters())
        self._optimizer = torch.optim.AdamW(
            parameter_groups(self.supernet, self.recipe.weight_decay), lr=self.recipe.learning_rate
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; images that do not fill a last batch are left out of it."""
        return len(self._images) // self.recipe.batch_size

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return len(self.losses) >= self.recipe.steps

    def path(self, step: int) -> P:
        """The path trained in ``step``, from 0."""
        return self.draw(np.random.default_rng(seed_for(self.seed, "path", step)))

    def step(self) -> float:
        """Train the next path on the next batch, and return the loss, nats.

        Cost: about three forward passes of the path per image.

        Raises:
            ValueError: If the loss is not finite; the weights then stay unchanged.
        """
        step = len(self.losses)
        images, labels = self._batch(step)
        self.supernet.train()
        device = self._images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed_for(self.seed, "dropout", step))
            logits = self.supernet(images, self.path(step))
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(
                f"the loss became {value} in step {step + 1}; use a lower learning rate than "
                f"{self.recipe.learning_rate:g}"
            )
        # Without a gradient, not even a zero one, the optimiser skips a parameter.
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.supernet.parameters(), self.recipe.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * lr_factor(step, self.recipe)
        self._optimizer.step()
        self.losses.append(value)
        return value

    def run(
        self,
        save: Callable[[], None],
        *,
        progress: Tell = ignore,
        log: Callable[[int, float, float], None] = lambda step, loss, rate: None,
    ) -> None:
        """Train to the end, and save after every epoch, and every minute within longer ones.

        ``log`` gets every step, from 1, with its loss and learning rate.
        """
        resumed = len(self.losses)
        saved = began = time.monotonic()
        while not self.finished:
            value = self.step()
            now, step = time.monotonic(), len(self.losses)
            log(step, value, self._optimizer.param_groups[0]["lr"])
            if step % self.steps_per_epoch == 0 or now - saved > SAVE_SECONDS:
                save()
                saved = now
            loss = statistics.fmean(self.losses[-self.steps_per_epoch :])
            state = f"loss {loss:.3f}"  # of the last epoch's worth of steps
            progress(Progress("step", step, self.recipe.steps, resumed, now - began, state))

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on, by name, on the CPU."""
        tensors = {
            f"weights/{name}": tensor for name, tensor in self.supernet.state_dict().items()
        }
        for name, parameter in self._names.items():
            # Parameters that were on no path yet have no optimiser state.
            for moment, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}/{name}"] = value
        copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return {**copies, _LOSSES: torch.tensor(self.losses, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Resume from a result of :meth:`state`."""
        if _LOSSES not in state:
            raise ValueError("the state of the training has no losses")
        weights = under("weights/", state)
        load_state(self.supernet, weights, what="the weights of the supernet")
        self._optimizer.state.clear()
        for moment in _MOMENTS:
            for name, tensor in under(f"{moment}/", state).items():
                parameter = self._names.get(name)
                if parameter is None or tensor.shape not in (parameter.shape, ()):
                    raise ValueError(f"the training has no parameter for {shown(name)}")
                # AdamW keeps its step counter on the CPU.
                where = tensor.device if moment == "step" else parameter.device
                self._optimizer.state[parameter][moment] = tensor.clone().to(where)
        self.losses = state[_LOSSES].tolist()

    def _batch(self, step: int) -> LabelledTensors:
        """The batch of ``step``; every epoch has its own order of the images."""
        epoch, place = divmod(step, self.steps_per_epoch)
        size = self.recipe.batch_size
        order = torch.randperm(len(self._labels), generator=self._generator("order", epoch))
        indices = order[place * size : (place + 1) * size].to(self._labels.device)
        pixels = augment(self._images[indices], self.recipe, self._generator("images", step))
        return pixels, self._labels[indices]

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        # On the CPU, so that draws are the same for all devices.
        return torch.Generator().manual_seed(seed_for(self.seed, purpose, count))
