"""Single-path one-shot training: every step trains one random path of a supernet."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.progress import Progress, Tell, ignore
from asvit.networks import load_state
from asvit.training.checkpoint import under
from asvit.training.device_queue import Draws, UnreadLosses, drawn_ahead
from asvit.training.precision import arithmetic, autocast
from asvit.training.short import Recipe, lr_factor, parameter_groups
from asvit.training.short_batches import LabelledTensors, batch_of, draw_batch
from proxies.evaluation import seed_for, seed_generators
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
    losses: list[float] = field(default_factory=list, init=False)  # of the steps so far, nats

    def __post_init__(self) -> None:
        self._images, self._labels = self.train
        self._names = dict(self.supernet.named_parameters())
        self._optimizer = torch.optim.AdamW(
            parameter_groups(self.supernet, self.recipe.weight_decay), lr=self.recipe.learning_rate
        )
        self._unread = UnreadLosses(self._images.device)
        self._steps, self._batches = 0, self._batches_from(0)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; images that do not fill a last batch are left out of it."""
        return len(self._images) // self.recipe.batch_size

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._steps >= self.recipe.steps

    def path(self, step: int) -> P:
        """The path trained in ``step``, from 0."""
        return self.draw(np.random.default_rng(seed_for(self.seed, "path", step)))

    def step(self) -> bool:
        """Train the next path on the next batch; returns whether :attr:`losses` are up to date.

        Reading them waits for the device, so on an accelerator only some steps do.

        Cost: about three forward passes of the path per image.

        Raises:
            ValueError: If a loss is not finite; on a CPU the weights then stay unchanged.
        """
        step, self._steps = self._steps, self._steps + 1
        images, labels = next(self._batches)
        self.supernet.train()
        device = self._images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            seed_generators(seed_for(self.seed, "dropout", step), device)
            with autocast(device, "auto"):
                logits = self.supernet(images, self.path(step))
                smoothing = self.recipe.label_smoothing
                loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        due = self._unread.add(loss) or self._steps % self.steps_per_epoch == 0 or self.finished
        if due:
            self._read()
        # Without a gradient, not even a zero one, the optimiser skips a parameter.
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.supernet.parameters(), self.recipe.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(step)
        self._optimizer.step()
        return due

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
        logged = resumed = len(self.losses)
        saved = began = time.monotonic()
        while not self.finished:
            with arithmetic(self._images.device, "auto", passes=self.recipe.steps):
                due = self.step()
            if not due:
                continue
            for step in range(logged, len(self.losses)):
                log(step + 1, self.losses[step], self._rate(step))
            logged, now = len(self.losses), time.monotonic()
            if logged % self.steps_per_epoch == 0 or now - saved > SAVE_SECONDS:
                save()
                saved = now
            loss = statistics.fmean(self.losses[-self.steps_per_epoch :])
            state = f"loss {loss:.3f}"  # of the last epoch's worth of steps
            progress(Progress("step", logged, self.recipe.steps, resumed, now - began, state))

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on, by name, on the CPU."""
        self._read()
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
        self._steps = len(self.losses)
        self._batches = self._batches_from(self._steps)

    def _batches_from(self, first: int) -> Iterator[LabelledTensors]:
        """The batches from a step on; every epoch has its own order of the images."""

        @lru_cache(maxsize=1)
        def order(epoch: int) -> Tensor:
            return torch.randperm(len(self._labels), generator=self._generator("order", epoch))

        def draw(step: int) -> Draws:
            epoch, place = divmod(step, self.steps_per_epoch)
            indices = order(epoch)[place * size : (place + 1) * size]
            return draw_batch(indices, self._images, self.recipe, self._generator("images", step))

        size, steps = self.recipe.batch_size, range(first, self.recipe.steps)
        for draws in drawn_ahead(draw, steps, self._images.device):
            yield batch_of(self._images, self._labels, draws)

    def _read(self) -> None:
        """Read the losses, which waits for the device."""
        for loss in self._unread.take().tolist():
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss became {loss} in step {len(self.losses) + 1}; use a lower learning "
                    f"rate than {self.recipe.learning_rate:g}"
                )
            self.losses.append(loss)

    def _rate(self, step: int) -> float:
        """The learning rate of ``step``, from 0."""
        return self.recipe.learning_rate * lr_factor(step, self.recipe)

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        # On the CPU, so that draws are the same for all devices.
        return torch.Generator().manual_seed(seed_for(self.seed, purpose, count))
