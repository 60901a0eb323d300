"""What training a detector and a segmenter have in common."""

import io
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from PIL import ImageOps
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf
from torchvision.utils import make_grid

from asvit.training.distributed import ProcessGroup
from asvit.training.images.loaders import Loader, dealt_plans, shuffled_plans
from asvit.training.optimizers import parameter_groups
from asvit.training.precision import arithmetic
from asvit.training.schedule import WARMUP_SHARE, Schedule
from asvit.training.sets import batching_of
from asvit.training.task import Task
from asvit.training.trainer import EpochResult
from asvit.transfer.datasets import AugmentedBatches, Sample
from asvit.transfer.settings import TransferRow, TransferSettings
from asvit.transfer.start import Start
from proxies.evaluation import seed_for

EXAMPLES = 6  # images to draw with their annotation and prediction
SIDE = 320  # pixels of a drawing
TOGETHER = 8  # images of a batch to evaluate on, at most: masks are as large as the images

S = TypeVar("S", bound=TransferSettings)


class Transfer(Task[TransferRow], Generic[S]):
    """Trains a model that maps a batch of images and targets to losses by name.

    Attributes:
        start: What the model is made of.
        images: The training images, of which ``indices`` are used.
        validation: The images to evaluate on.
        classes: Number of classes.
        names: Names of the classes; empty if unnamed.
        transform: Random augmentation of an image and its annotation.
        prepare: What is done to an image to evaluate on, beside its annotation.
        metric: Compares predictions with annotations; its values are in [0, 1].
        least_images: Images of a batch that each process needs.
    """

    less_memory = "grad_checkpointing or a smaller batch_size"
    row_type: ClassVar[type[TransferRow]]
    least_images: ClassVar[int] = 1
    names: tuple[str, ...] = ()
    images: Any
    indices: Sequence[int]
    validation: Any
    classes: int
    transform: Callable[[Tensor, Any], Sample]
    metric: Any

    def __init__(self, settings: S, start: Start | None = None) -> None:
        self.settings, self.start = settings, start or Start.of(settings)
        self.batch_size, self.learning_rate = settings.batch_size, settings.learning_rate
        self.seed, self.clip, self.precision = settings.seed, settings.clip, settings.precision
        self.prepare: Callable[[Tensor, Any], Sample] = unchanged
        self.processes = ProcessGroup("cpu")

    @abstractmethod
    def moved(self, images: list[Tensor], targets: list[Any], device: torch.device) -> Any:
        """The inputs of the model: images and targets on the device."""

    @abstractmethod
    def decay(self, done: float) -> float:
        """What is left of the highest learning rate at a share of the training."""

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

    def join(self) -> None:
        """Give the metric what all processes compared, unless it does so itself."""

    def open(self, processes: ProcessGroup, workers: int, source: str) -> None:
        """Open the batches of a process; ``source`` names the images."""
        settings, self.processes = self.settings, processes
        if (each := settings.batch_size // processes.world) < self.least_images:
            raise ValueError(
                f"each of {processes.world} processes has {each} of a batch of "
                f"{settings.batch_size} images, and the model needs {self.least_images}; use "
                f"--batch-size {self.least_images * processes.world} or more"
            )
        batching = batching_of(settings, processes, workers)
        batches = AugmentedBatches(self.images, self.indices, self.transform, settings.seed)
        plans = shuffled_plans(batching, len(self.indices), source)
        self._train = Loader(batches, plans, workers=workers)
        count, own = len(self.validation), min(each, TOGETHER)
        prepared = AugmentedBatches(self.validation, range(count), self.prepare, settings.seed)
        evaluated = replace(batching, batch_size=own * processes.world)
        self._validation = Loader(prepared, dealt_plans(evaluated, count), workers=workers)
        self.steps = len(self._train)

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """The inputs of the model, on the device."""
        self._train.set_epoch(epoch, start=start)
        for images, targets in self._train:
            yield self.moved(images, targets, self.processes.device)

    def losses(
        self, network: nn.Module, images: Any, targets: Any
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The sum of the losses of the model, and each of them."""
        losses: dict[str, Tensor] = network(images, targets)
        parts = torch.stack([*losses.values()]).float()
        return parts.sum(), dict(zip(losses, parts, strict=True))

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """AdamW."""
        groups = parameter_groups(self.network, self.settings.weight_decay)
        return torch.optim.AdamW(groups, lr=self.learning_rate)

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """A linear warm-up, of a fifth of the updates at most, then the decay."""
        peak, updates = self.learning_rate, epochs * self.steps
        warmup = min(self.settings.warmup, updates // WARMUP_SHARE)
        return Schedule(peak, updates, warmup, first=peak / (warmup + 1), decay=self.decay)

    def update_seed(self, update: int, rank: int) -> int:
        """The seed of drop-path, and of the detector's sampling of regions."""
        return seed_for(self.seed, f"rank {rank}", update + 1)

    def evaluate(self, networks: Sequence[nn.Module]) -> dict[str, float]:
        """Metrics on the validation images, per cent."""
        return self.measure(self._validation)

    @torch.no_grad()  # inference mode would cache tensors that training cannot use
    def measure(self, batches: Iterable[tuple[list[Tensor], list[Any]]]) -> dict[str, float]:
        """Metrics on prepared images, per cent; every process calls it with its share.

        Images of a batch that have one size are predicted together, except on a CPU, where that is
        not faster and rounds differently.
        """
        self.network.eval()
        device = self.processes.device
        self.metric.to(device).reset()
        with arithmetic(device, self.precision):
            for images, annotations in batches:
                for places in _alike(images, together=device.type != "cpu"):
                    pixels = torch.stack([images[place] for place in places])
                    own = [annotations[place] for place in places]
                    predictions = self.predict(pixels, own, device)
                    for prediction, annotation in zip(predictions, own, strict=True):
                        self.compare(prediction, annotation, device)
        self.join()
        values = self.metric.compute().items()
        return {name: round(100 * float(value), 3) for name, value in values if value.ndim == 0}

    def row(
        self, epoch: int, result: EpochResult, metrics: dict[str, float], seconds: float
    ) -> TransferRow:
        """Mean losses, and the metrics that are recorded."""
        names = {column.name for column in fields(self.row_type)}
        return self.row_type(
            epoch=epoch + 1,
            learning_rate=result.learning_rate,
            seconds=round(seconds, 3),
            **{name: round(total / self.steps, 6) for name, total in result.sums.items()},
            **{name: value for name, value in metrics.items() if name in names},
        )

    def state(self, row: TransferRow) -> str:
        """The metrics in a few words."""
        values = row.metrics.items()
        return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values)

    @torch.no_grad()
    def drawing(self) -> bytes:
        """A JPEG of the first validation images, with annotations and predictions side by side."""
        self.network.eval()
        tiles = list[Tensor]()
        for index in range(min(EXAMPLES, len(self.validation))):
            image, annotation = self.validation[index]
            small, _ = self.prepare(image, annotation)
            resize = v2.Resize(sides_within(image, SIDE))
            (prediction,) = self.predict(small[None], [annotation], self.processes.device)
            for target in (annotation, prediction):
                tile = tvf.to_pil_image(self.draw(*resize(image, target)))
                tiles.append(tvf.pil_to_tensor(ImageOps.pad(tile, (SIDE, SIDE), color="white")))
        grid = make_grid(tiles, nrow=4, padding=8, pad_value=255)
        tvf.to_pil_image(grid).save(jpeg := io.BytesIO(), "JPEG")
        return jpeg.getvalue()

    def close(self) -> None:
        """End what prepares batches."""
        self._train.close()
        self._validation.close()


def unchanged(image: Tensor, annotation: Any) -> Sample:
    """The image and its annotation as they are."""
    return image, annotation


def sides_within(image: Tensor, side: int) -> list[int]:
    """Height and width of an image with its longer side resized, the other a pixel at least."""
    longest = max(image.shape[-2:])
    return [max(1, int(side * own / longest)) for own in image.shape[-2:]]


def colours(classes: int) -> list[str]:
    """A colour for each class; neighbours differ in hue."""
    return [f"hsl({222 * number % 360}, 80%, 55%)" for number in range(classes)]


def _alike(images: Sequence[Tensor], *, together: bool) -> list[list[int]]:
    """Places of images of one size, or of each alone; in the order of the first of each."""
    groups: dict[Hashable, list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(image.shape if together else place, []).append(place)
    return [*groups.values()]
