"""The training of a detector or a segmenter, from its checkpoint to its last epoch."""

import io
import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from PIL import ImageOps
from timm.utils import distribute_bn
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf
from torchvision.utils import make_grid

from asvit.core.files import write_bytes
from asvit.core.progress import Progress, Tell, Track, untracked
from asvit.training.checkpoint import (
    EpochPart,
    TrainerState,
    check_finite,
    load_optimizer,
    optimizer_state,
)
from asvit.training.device_queue import UnreadLosses
from asvit.training.distributed import ProcessGroup
from asvit.training.epochs import EpochSession
from asvit.training.images.loaders import ordered_loader, shuffled_loader
from asvit.training.layout import use_fast_convolutions
from asvit.training.optimizers import parameter_groups
from asvit.training.precision import arithmetic, autocast
from asvit.training.schedule import WARMUP_SHARE
from asvit.training.settings import tighter_clip
from asvit.training.step_log import StepLog
from asvit.transfer.datasets import AugmentedBatches, Sample
from asvit.transfer.settings import DRAWING, TransferRow, TransferSettings
from asvit.transfer.start import Start
from proxies.evaluation import seed_for, seed_generators

EXAMPLES = 6  # images to draw with their annotation and prediction
SIDE = 320  # pixels of a drawing
TOGETHER = 8  # images of a batch to evaluate on, at most: masks are as large as the images

S = TypeVar("S", bound=TransferSettings)


class Task(ABC, Generic[S]):
    """A model with its data, schedule and metrics.

    Attributes:
        start: What the model is made of.
        model: Maps a batch of images and targets to losses by name; trained in place.
        images: The training images, of which ``indices`` are used.
        validation: The images to evaluate on.
        classes: Number of classes.
        names: Names of the classes; empty if unnamed.
        transform: Random augmentation of an image and its annotation.
        prepare: What is done to an image to evaluate on, beside its annotation.
        metric: Compares predictions with annotations; its values are in [0, 1].
        precision: Of the autocast around the whole model in training.
        one_size: Whether all images that it is trained on have one size.
        least_images: Images of a batch that each process needs.
    """

    one_size = False
    least_images = 1
    names: tuple[str, ...] = ()
    model: nn.Module
    images: Any
    indices: Sequence[int]
    validation: Any
    classes: int
    transform: Callable[[Tensor, Any], Sample]
    prepare: Callable[[Tensor, Any], Sample]
    metric: Any

    def __init__(self, settings: S, start: Start | None = None) -> None:
        self.settings, self.precision = settings, settings.precision
        self.start = start or Start.of(settings)
        self.prepare = unchanged

    @abstractmethod
    def batch(self, images: list[Tensor], targets: list[Any], device: torch.device) -> Any:
        """The inputs of the model: images and targets on the device."""

    @abstractmethod
    def decay(self, step: int, steps: int) -> float:
        """The learning rate of a step after the warm-up, as a fraction of the highest."""

    @abstractmethod
    def predict(
        self, images: Tensor, annotations: Sequence[Any], device: torch.device
    ) -> Sequence[Any]:
        """Predictions in the form of annotations, and of their sizes.

        Images are prepared, ``[b, 3, H, W]`` uint8.
        """

    @abstractmethod
    def compare(self, prediction: Any, annotation: Any, device: torch.device) -> None:
        """Update the metric with a prediction."""

    @abstractmethod
    def draw(self, image: Tensor, annotation: Any) -> Tensor:
        """Draw an annotation or a prediction on an image ``[3, H, W]`` uint8."""

    def join(self, processes: ProcessGroup) -> None:
        """Give the metric what all processes compared, unless it does so itself."""

    def lr_factor(self, step: int, steps: int) -> float:
        """The learning rate of a step as a fraction of the highest: linear warm-up, then decay."""
        warmup = min(self.settings.warmup, steps // WARMUP_SHARE)
        return min((step + 1) / (warmup + 1), 1.0) * self.decay(step, steps)

    @torch.no_grad()  # inference mode would cache tensors that training cannot use
    def evaluate(
        self, processes: ProcessGroup, batches: Iterable[tuple[list[Tensor], list[Any]]]
    ) -> dict[str, float]:
        """Metrics on the validation images, per cent; every process must call this.

        The batches are this process's share, prepared. Images of a batch that have one size are
        predicted together, except on a CPU, where that is not faster and rounds differently.
        """
        self.model.eval()
        device = processes.device
        self.metric.to(device).reset()
        for images, annotations in batches:
            for places in _alike(images, together=device.type != "cpu"):
                pixels = torch.stack([images[place] for place in places])
                own = [annotations[place] for place in places]
                predictions = self.predict(pixels, own, device)
                for prediction, annotation in zip(predictions, own, strict=True):
                    self.compare(prediction, annotation, device)
        self.join(processes)
        values = self.metric.compute().items()
        return {name: round(100 * float(value), 3) for name, value in values if value.ndim == 0}

    @torch.no_grad()
    def drawing(self, device: torch.device) -> bytes:
        """A JPEG of the first validation images, with annotations and predictions side by side."""
        self.model.eval()
        tiles = list[Tensor]()
        for index in range(min(EXAMPLES, len(self.validation))):
            image, annotation = self.validation[index]
            small, _ = self.prepare(image, annotation)
            resize = v2.Resize(sides_within(image, SIDE))
            (prediction,) = self.predict(small[None], [annotation], device)
            for target in (annotation, prediction):
                tile = tvf.to_pil_image(self.draw(*resize(image, target)))
                tiles.append(tvf.pil_to_tensor(ImageOps.pad(tile, (SIDE, SIDE), color="white")))
        grid = make_grid(tiles, nrow=4, padding=8, pad_value=255)
        tvf.to_pil_image(grid).save(jpeg := io.BytesIO(), "JPEG")
        return jpeg.getvalue()


def unchanged(image: Tensor, annotation: Any) -> Sample:
    """The image and its annotation as they are."""
    return image, annotation


def sides_within(image: Tensor, side: int) -> list[int]:
    """Height and width of an image with its longer side resized, the other a pixel at least."""
    longest = max(image.shape[-2:])
    return [max(1, int(side * own / longest)) for own in image.shape[-2:]]


def _alike(images: Sequence[Tensor], *, together: bool) -> list[list[int]]:
    """Places of images of one size, or of each alone; in the order of the first of each."""
    groups: dict[Hashable, list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(image.shape if together else place, []).append(place)
    return [*groups.values()]


def colours(classes: int) -> list[str]:
    """A colour for each class; neighbours differ in hue."""
    return [f"hsl({222 * number % 360}, 80%, 55%)" for number in range(classes)]


@dataclass(eq=False, kw_only=True)
class Session(EpochSession[TransferRow]):
    """Trains and evaluates a model."""

    task: Task[Any]
    row_type: type[TransferRow]

    def __post_init__(self) -> None:
        self._begin()
        task, processes, stored = self.task, self.processes, self.stored
        settings, model = task.settings, task.model
        if (each := settings.batch_size // processes.world) < task.least_images:
            raise ValueError(
                f"each of {processes.world} processes has {each} of a batch of "
                f"{settings.batch_size} images, and the model needs {task.least_images}; use "
                f"--batch-size {task.least_images * processes.world} or more"
            )
        batches = AugmentedBatches(task.images, task.indices, task.transform, settings.seed)
        source = self.origin.images["source"]
        self._batches = shuffled_loader(batches, self.batching(), len(task.indices), source)
        count, own = len(task.validation), min(settings.batch_size // processes.world, TOGETHER)
        prepared = AugmentedBatches(task.validation, range(count), task.prepare, settings.seed)
        evaluated = replace(self.batching(), batch_size=own * processes.world)
        self._validation = ordered_loader(prepared, evaluated, count)
        self.steps = len(self._batches)
        self.check_part()
        check_finite(model.state_dict(), what="the weights to start from")
        model.to(processes.device)
        use_fast_convolutions(model, processes.device)
        groups = parameter_groups(model, settings.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        if stored is not None:
            stored.state.load(model, None)
            if not stored.finished:
                load_optimizer(self._optimizer, stored.state.moments, stored.state.numbers)
        self._wrapped = processes.wrap(model)

    def state(self) -> TrainerState:
        """The model's state and the optimiser's."""
        return TrainerState(self.task.model.state_dict(), {}, *optimizer_state(self._optimizer))

    def run(self, tell: Tell, *, track: Track = untracked) -> None:
        """Train to the end, report every step and epoch to ``tell``, then draw predictions.

        ``track`` gets the rows of epochs and of the log.
        """
        total = self.origin.settings.epochs
        resumed, before = len(self.history), self.updates / self.steps / total

        def follow(epochs: float, loss: float, row: TransferRow | None = None) -> None:
            values = {"loss": loss, **(row.metrics if row else {})}
            words = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items()]
            done, state = len(self.history), "  ".join(words)
            shares: Any = {"share": epochs / total, "share_resumed": before}
            tell(Progress("epoch", done, total, resumed, state=state, record=row, **shares))

        log = self.tracked_log(track)
        epochs = self.epochs(partial(self._epoch, follow=follow, log=log))
        with closing(self._batches), closing(self._validation), closing(epochs):
            for row in epochs:
                track("epoch", row, row.epoch * self.steps)
                follow(row.epoch, row.loss, row)
        if self.processes.first:
            write_bytes(self.folder / DRAWING, self.task.drawing(self.processes.device))

    def _epoch(
        self, epoch: int, start: EpochPart, follow: Callable[[float, float], None], log: StepLog
    ) -> TransferRow:
        """Train for one epoch, behind the updates that are done, and evaluate."""
        started = time.monotonic() - start.seconds
        device, model = self.processes.device, self.task.model
        self._batches.set_epoch(epoch, start=start.updates)
        log.begin(epoch, start.losses.tolist())
        cuda, precision = [device] if device.type == "cuda" else [], self.task.settings.precision
        passes = self.steps * self.origin.settings.epochs if self.task.one_size else 0
        with torch.random.fork_rng(cuda), arithmetic(device, precision, passes=passes):
            losses = self._train(epoch, start, follow, log)
        if self.processes.world > 1:
            distribute_bn(model, self.processes.world, reduce=True)
        check_finite(model.state_dict(), what=f"after epoch {epoch + 1} the weights")
        with arithmetic(device, precision):
            metrics = self.task.evaluate(self.processes, self._validation)
        names = {column.name for column in fields(self.row_type)}
        return self.row_type(
            epoch=epoch + 1,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            seconds=round(time.monotonic() - started, 3),
            **losses,
            **{name: value for name, value in metrics.items() if name in names},
        )

    def _train(
        self, epoch: int, start: EpochPart, follow: Callable[[float, float], None], log: StepLog
    ) -> dict[str, float]:
        """Train for one epoch; returns the mean of each loss, and of their sum as ``loss``."""
        steps, began = self.steps, time.monotonic()
        sums, totals = Counter[str](start.sums), start.losses.tolist()
        self._unread = UnreadLosses(self.processes.device, processes=self.processes.world)
        self._wrapped.train()
        rates: list[float] = []
        for number, (images, targets) in enumerate(self._batches, start.updates + 1):
            step = epoch * steps + number
            losses, keep = self._update(step, images, targets)
            rates.append(self._optimizer.param_groups[0]["lr"])
            if not losses:
                continue
            for one in losses:
                sums.update(one)
                totals.append(one["loss"])
            log.add(step, totals[-len(losses) :], rates)
            rates.clear()
            if number < steps:  # the last step is reported with the metrics
                follow(epoch + number / steps, totals[-1])
            if keep and number < steps:
                check_finite(self.task.model.state_dict(), what=f"after step {step} the weights")
                seconds = start.seconds + time.monotonic() - began
                self.keep(EpochPart(torch.tensor(totals), seconds, dict(sums)))
        return {name: round(total / steps, 6) for name, total in sums.items()}

    def _update(
        self, step: int, images: list[Tensor], targets: list[Any]
    ) -> tuple[list[dict[str, float]], bool]:
        """Take an optimiser step, numbered from 1.

        Returns:
            As :meth:`_read` where losses are read, otherwise nothing.
        """
        settings, task, processes = self.task.settings, self.task, self.processes
        # For drop-path, and for the detector's sampling of regions.
        own = seed_for(settings.seed, f"rank {processes.rank}", step)
        seed_generators(own, processes.device)
        factor = task.lr_factor(step - 1, settings.epochs * self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        with autocast(processes.device, task.precision):
            losses = self._wrapped(*task.batch(images, targets, processes.device))
        parts = torch.stack([*losses.values()]).float()
        loss = parts.sum()
        due = self._unread.add(torch.stack([loss, *parts]))
        last = step % self.steps == 0
        read = self._read(step, ("loss", *losses)) if due or last else ([], False)
        self._optimizer.zero_grad()
        loss.backward()
        if settings.clip:
            nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
        self._optimizer.step()
        return read

    def _read(self, step: int, names: Sequence[str]) -> tuple[list[dict[str, float]], bool]:
        """Read the losses of the steps up to one, which waits for the device.

        Returns:
            For each step its losses, and their sum as ``loss``, means over the processes; and
            whether the part of the epoch is to be kept.
        """
        settings, unread = self.task.settings, self._unread.take()
        means, keep = self.processes.mean_and_any(unread.flatten(), self.due())
        rows = means.view_as(unread).tolist()
        for number, row in enumerate(rows, step - len(rows) + 1):
            if not math.isfinite(row[0]):
                raise ValueError(
                    f"the loss became {row[0]} in step {number} of {settings.epochs * self.steps};"
                    f" use a lower learning rate than {settings.learning_rate:g} or "
                    f"{tighter_clip(settings.clip)}"
                )
        return [dict(zip(names, row, strict=True)) for row in rows], keep
