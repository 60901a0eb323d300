"""The training of a detector or a segmenter, from its checkpoint to its last epoch."""

import colorsys
import io
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from PIL import ImageOps
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.utils import distribute_bn
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf
from torchvision.utils import draw_segmentation_masks, make_grid

from asvit.core.files import write_bytes
from asvit.core.progress import Progress, Tell
from asvit.core.run_files import DRAWING
from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import Pyramid, PyramidWithFpn, backbone
from asvit.training.checkpoint import (
    Checkpoint,
    EngineState,
    Origin,
    check_finite,
    keeping,
    load_optimizer,
    optimizer_state,
)
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import autocast, write_metrics
from asvit.training.pretrained import weights_path
from asvit.training.short import parameter_groups
from asvit.transfer.datasets import Sample, Transform, augmented
from asvit.transfer.result import TransferResult, TransferRow
from asvit.transfer.settings import TransferSettings
from proxies.evaluation import seed_for

EXAMPLES = 6  # images whose annotation and prediction are drawn
SIDE = 320  # pixels of a drawing

S = TypeVar("S", bound=TransferSettings)


class Task(ABC, Generic[S]):
    """A model with its data and schedule.

    Attributes:
        model: Maps a batch of images and targets to losses by name; trained in place.
        images: The training images, of which ``indices`` are used.
        validation: The images to evaluate on.
        classes: Number of classes.
        transform: Random augmentation of an image and its annotation.
    """

    model: nn.Module
    images: Any
    indices: Sequence[int]
    validation: Any
    classes: int
    transform: Transform

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @abstractmethod
    def batch(self, samples: list[Sample], device: torch.device) -> tuple[Any, Any]:
        """Collate samples to the images and targets that the model takes."""

    @abstractmethod
    def decay(self, step: int, steps: int) -> float:
        """The learning rate of a step after the warm-up, as a fraction of the highest."""

    @abstractmethod
    def evaluate(self, processes: ProcessGroup) -> dict[str, float]:
        """Metrics on the validation images, per cent; every process must call this."""

    @abstractmethod
    def predict(self, image: Tensor, device: torch.device) -> Any:
        """What the model finds in an image ``[3, H, W]`` uint8, in the form of an annotation."""

    @abstractmethod
    def draw(self, image: Tensor, annotation: Any) -> Tensor:
        """An image, ``[3, H, W]`` uint8, with an annotation or a prediction drawn on it."""

    def lr_factor(self, step: int, steps: int) -> float:
        """The learning rate of a step as a fraction of the highest: linear warm-up, then decay."""
        return min((step + 1) / (self.settings.warmup + 1), 1.0) * self.decay(step, steps)

    def predictions(self, processes: ProcessGroup) -> Iterator[tuple[Any, Any]]:
        """What is found in this process's share of the validation images, and the annotations."""
        self.model.eval()
        for index in range(processes.rank, len(self.validation), processes.world):
            image, annotation = self.validation[index]
            yield self.predict(image, processes.device), annotation

    @torch.no_grad()  # not inference mode: training could not use what a network caches
    def drawing(self, device: torch.device) -> bytes:
        """A JPEG of the first validation images: each annotation, and the prediction beside it."""
        self.model.eval()
        resize, shown = v2.Resize(None, max_size=SIDE), list[Tensor]()
        for index in range(min(EXAMPLES, len(self.validation))):
            image, annotation = self.validation[index]
            for one in (annotation, self.predict(image, device)):
                drawn = tvf.to_pil_image(self.draw(*resize(image, one)))
                shown.append(tvf.pil_to_tensor(ImageOps.pad(drawn, (SIDE, SIDE), color="white")))
        grid = make_grid(shown, nrow=4, padding=8, pad_value=255)
        tvf.to_pil_image(grid).save(jpeg := io.BytesIO(), "JPEG")
        return jpeg.getvalue()


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a class, from 0; neighbours differ in hue."""
    red, green, blue = colorsys.hsv_to_rgb(0.618 * number % 1, 0.8, 0.95)
    return int(255 * red), int(255 * green), int(255 * blue)


def tinted(image: Tensor, masks: Mapping[int, Tensor]) -> Tensor:
    """An image with the mask ``[H, W]`` of each class in its colour."""
    if not masks:
        return image
    colours = [colour(number) for number in masks]
    stacked = torch.stack([*masks.values()]).bool()
    drawn: Tensor = draw_segmentation_masks(image, stacked, 0.5, colours)
    return drawn


def build_pyramid(
    settings: TransferSettings, *, fpn: int | None = None
) -> tuple[Pyramid | PyramidWithFpn, tuple[float, ...], tuple[float, ...]]:
    """The network as a feature pyramid; mean and standard deviation of its pixels, 0 to 1.

    With weights that tell of their network these are its own, otherwise ImageNet's.

    Raises:
        ValueError: As in :func:`asvit.networks.pyramid.backbone`.
        FileNotFoundError: The same.
    """
    weights, known = None, None
    if settings.weights is not None:
        weights = weights_path(settings.weights)
        with suppress(ValueError):
            known = WeightsFile.read(weights)
    arch: str | Network | None = settings.architecture
    if arch is None:
        if weights is None:
            raise ValueError("name an architecture, or weights that say theirs")
        arch = replace(WeightsFile.read(weights).network, image_size=settings.image_size)
    pyramid = backbone(
        arch,
        settings.image_size,
        weights=weights,
        norms=settings.norms,
        frozen_stages=settings.frozen_stages,
        drop_path=settings.drop_path,
        grad_checkpointing=settings.grad_checkpointing,
        windows=settings.windows or None,
        fpn=fpn,
    )
    facts = {} if known is None else known.facts
    mean = tuple(facts.get("mean", IMAGENET_DEFAULT_MEAN))
    return pyramid, mean, tuple(facts.get("std", IMAGENET_DEFAULT_STD))


@dataclass(eq=False)
class Session:
    """Trains and evaluates a model, and writes a checkpoint after every epoch."""

    path: Path  # of the checkpoint, in the run folder
    origin: Origin
    task: Task[Any]
    processes: ProcessGroup  # the first of them writes
    result_type: type[TransferResult]
    stored: Checkpoint | None = None  # of earlier sessions
    workers: int = 0  # processes that prepare images

    def __post_init__(self) -> None:
        settings, model, stored = self.task.settings, self.task.model, self.stored
        self._began, world, batch = time.monotonic(), self.processes.world, settings.batch_size
        self.history: list[TransferRow] = [] if stored is None else list(stored.history)
        self._steps = len(self.task.indices) // batch  # of an epoch
        if batch % world:
            raise ValueError(f"batch_size={batch} for {world} processes; use a multiple")
        if not self._steps:
            images = len(self.task.indices)
            raise ValueError(
                f"batch_size={batch} for {images} training images; use at most as many"
            )
        check_finite(model.state_dict(), what="the weights to start from")
        model.to(self.processes.device)
        groups = parameter_groups(model, settings.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        if stored is not None:
            stored.state.load(model, None)
            if not stored.finished:
                load_optimizer(self._optimizer, stored.state.moments, stored.state.numbers)
        self._wrapped = self.processes.wrap(model)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions."""
        before = 0.0 if self.stored is None else self.stored.seconds
        return before + time.monotonic() - self._began

    def run(self, tell: Tell) -> None:
        """Train to the end, telling of every step and epoch; then draw some predictions.

        Raises:
            ValueError: If the loss or a weight is not finite, or an image cannot be read; the last
                checkpoint then stays.
        """
        folder, device, model = self.path.parent, self.processes.device, self.task.model
        first, begun, total = self.processes.first, len(self.history), self.task.settings.epochs
        named = {"loss": "loss", **self.result_type.metrics}

        def follow(epochs: float, values: dict[str, float], row: object = None) -> None:
            words = [f"{named[name]} {values[name]:.4g}" for name in named if name in values]
            known: Any = {"share": epochs / total, "share_resumed": begun / total, "record": row}
            done = len(self.history)
            tell(Progress("epoch", done, total, begun, state="  ".join(words), **known))

        if first and begun:
            write_metrics(folder, self.history)  # a kill may have left them out of date
        for epoch in range(begun, total):
            began = time.monotonic()
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                values = self._train(epoch, follow)
            if self.processes.world > 1:
                distribute_bn(model, self.processes.world, reduce=True)
            check_finite(model.state_dict(), what=f"after epoch {epoch + 1} the weights")
            values |= self.task.evaluate(self.processes)
            seconds = round(time.monotonic() - began, 3)
            row = self.result_type.row_type(epoch=epoch + 1, seconds=seconds, **values)
            self.history.append(row)
            if first:
                self._save()
            follow(epoch + 1, values, row)
        if first:
            write_bytes(folder / DRAWING, self.task.drawing(device))

    def _train(self, epoch: int, tell: Any) -> dict[str, float]:
        """Train for one epoch; returns the last learning rate and the mean losses by name."""
        settings, task, processes = self.task.settings, self.task, self.processes
        steps, sums = settings.epochs * self._steps, dict[str, Tensor]()
        self._wrapped.train()
        # For drop-path and the draws of the detector.
        torch.manual_seed(seed_for(settings.seed, f"rank {processes.rank}", epoch))
        for number, samples in enumerate(self._batches(epoch), 1):
            if isinstance(samples, ValueError):
                raise samples
            step = epoch * self._steps + number
            rate = settings.learning_rate * task.lr_factor(step - 1, steps)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            with autocast(processes.device, settings.precision):
                losses: dict[str, Tensor] = self._wrapped(*task.batch(samples, processes.device))
            loss = torch.stack([value.float() for value in losses.values()]).sum()
            mean = float(processes.mean(loss.detach()))
            if not math.isfinite(mean):
                raise ValueError(
                    f"the loss became {mean} in step {step} of {steps}; use a lower learning rate "
                    f"than {settings.learning_rate:g}, or a norm to clip at"
                )
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip:
                nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
            self._optimizer.step()
            for name, value in {"loss": loss, **losses}.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().float()
            if number < self._steps:  # the last step is told with the metrics
                tell(epoch + number / self._steps, {"loss": mean})
        means = processes.mean(torch.stack(list(sums.values())) / self._steps).tolist()
        known = zip(sums, means, strict=True)
        return {"learning_rate": rate, **{name: round(value, 6) for name, value in known}}

    def _batches(self, epoch: int) -> DataLoader[Any]:
        """This process's share of the full batches of an epoch."""
        task, world, seed = self.task, self.processes.world, self.task.settings.seed
        generator = torch.Generator().manual_seed(seed_for(seed, "order", epoch))
        order = torch.randperm(len(task.indices), generator=generator).tolist()
        share = order[: self._steps * task.settings.batch_size][self.processes.rank :: world]
        return DataLoader(
            [task.indices[place] for place in share],  # type: ignore[arg-type]
            task.settings.batch_size // world,
            num_workers=self.workers,
            collate_fn=partial(
                augmented, images=task.images, transform=task.transform, seed=seed, epoch=epoch
            ),
        )

    def _save(self) -> None:
        """Write the checkpoint of the last epoch, and the metrics, which follow from it."""
        state = EngineState(self.task.model.state_dict(), {}, *optimizer_state(self._optimizer))
        known = self.origin, tuple(self.history), self.seconds
        with keeping(len(self.history)):
            Checkpoint(*known, {}, state, self.result_type.kind).write(self.path)
            write_metrics(self.path.parent, self.history)
