"""What training a detector and a segmenter have in common."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tvf

from asvit.data.statistics import Normalisation
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import picture_statistics, weights_path
from asvit.networks.pyramid import backbone
from asvit.training.augmentation import to_device
from asvit.training.checkpoint import Origin
from asvit.training.distributed import ProcessGroup
from asvit.training.loaders import (
    Loader,
    SampleBatches,
    as_lists,
    batching_of,
    dealt_plans,
    shuffled_plans,
)
from asvit.training.optimizers import Schedule, parameter_groups
from asvit.training.precision import arithmetic
from asvit.training.recipes import WARMUP_SHARE
from asvit.training.trainer import EpochResult, Task
from asvit.transfer.datasets import AnnotatedImages, Sample
from asvit.transfer.settings import TransferRow, TransferSettings
from proxies.evaluation import seed_for

S = TypeVar("S", bound=TransferSettings)


@dataclass(frozen=True)
class Start:
    """The network under a model, how its pixels in [0, 1] are normalised, and its weights."""

    network: str | Network
    normalisation: Normalisation
    weights: Path | None = None  # their file; None for fresh ones

    @classmethod
    def of(cls, settings: TransferSettings) -> Self:
        """As settings say; normalised as the file of weights or timm says, else as ImageNet."""
        network: str | Network | None = settings.architecture
        if settings.weights is None:
            if network is None:
                raise ValueError("name an architecture, or weights that say theirs")
            return cls(network, Normalisation())
        path = weights_path(settings.weights)
        try:
            file = WeightsFile.read(path)
        except ValueError:  # weights that do not say which network they are of
            if network is None:
                raise
        else:
            if not (kind := file.preparation.kind).picture:
                raise ValueError(
                    f"{path} takes images of {kind}, and detectors and segmenters are "
                    "trained on 8-bit RGB pictures alone; use weights of such"
                )
            network = network or replace(file.network, image_size=settings.image_size)
        own = picture_statistics(settings.weights, settings.architecture or "")
        return cls(network, own or Normalisation(), path)

    @classmethod
    def stored(cls, origin: Origin) -> Self:
        """As a training began; its checkpoint has the weights of the whole model."""
        network = origin.network or origin.settings.architecture
        return cls(network, origin.normalisation or Normalisation())

    def pyramid(self, settings: TransferSettings, fpn: int | None = None) -> Any:
        """The network as a feature pyramid, with norms and windows about as large as at 224 px."""
        return backbone(
            self.network,
            settings.image_size,
            weights=self.weights,
            norms=True,
            windows=None,
            fpn=fpn,
            drop_path=settings.drop_path,
            grad_checkpointing=settings.grad_checkpointing,
        )


class Transfer(Task[TransferRow], Generic[S]):
    """Trains a model that maps a batch of images and targets to losses by name."""

    row_type: ClassVar[type[TransferRow]]
    least_images: ClassVar[int] = 1  #: images of a batch that each process needs
    names: tuple[str, ...] = ()  #: names of the classes; empty if unnamed
    classes: int  #: number of classes
    images: AnnotatedImages
    validation: AnnotatedImages
    transform: Callable[[Tensor, Any], Sample]  #: random augmentation of an image and annotation
    metric: Any  #: compares predictions with annotations; its values are in [0, 1]

    def __init__(self, settings: S, start: Start | None = None) -> None:
        self.settings, self.start = settings, start or Start.of(settings)
        self.batch_size, self.learning_rate = settings.batch_size, settings.learning_rate
        self.seed, self.precision = settings.seed, settings.precision
        self.processes = ProcessGroup("cpu")

    @abstractmethod
    def moved(self, images: list[Tensor], targets: list[Any], device: torch.device) -> Any:
        """The inputs of the model: images and targets on the device."""

    @abstractmethod
    def decay(self, done: float) -> float:
        """What is left of the highest learning rate at a share of the training."""

    @abstractmethod
    def compare(self, image: Tensor, annotation: Any) -> None:
        """Update the metric with the prediction of an image ``[3, H, W]`` in [0, 1]."""

    def join(self) -> None:
        """Give the metric what all processes compared, unless it does so itself."""

    def open(self, processes: ProcessGroup, workers: int, source: str) -> None:
        """Open the batches of a process; ``source`` names the images."""
        s, self.processes = self.settings, processes
        if (each := s.batch_size // processes.world) < self.least_images:
            raise ValueError(
                f"each of {processes.world} processes has {each} of a batch of {s.batch_size} "
                f"images, and the model needs {self.least_images}; use --batch-size "
                f"{self.least_images * processes.world} or more"
            )
        batching = batching_of(s, processes, workers)
        train = SampleBatches(self.images.to_train, self.transform, (s.seed,), as_lists)
        plans = shuffled_plans(batching, len(self.images.indices), source)
        self._train = Loader(train, plans, workers=workers)
        whole = SampleBatches(self.validation.__getitem__, None, (), as_lists)
        alone = replace(batching, batch_size=processes.world)  # masks are as large as the images
        dealt = dealt_plans(alone, len(self.validation))
        self._validation = Loader(whole, dealt, workers=workers)
        self.steps = len(self._train)

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
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

    def evaluate(self) -> dict[str, float]:
        return self.measure(self._validation)

    @torch.no_grad()  # inference mode would cache tensors that training cannot use
    def measure(self, batches: Iterable[tuple[list[Tensor], list[Any]]]) -> dict[str, float]:
        """Metrics on images, per cent; every process calls it with its share."""
        self.network.eval()
        device = self.processes.device
        self.metric.to(device).reset()
        with arithmetic(device, self.precision):
            for images, annotations in batches:
                for image, annotation in zip(images, annotations, strict=True):
                    pixels = tvf.to_dtype(to_device(image, device), scale=True)
                    self.compare(pixels, annotation)
        self.join()
        values = self.metric.compute().items()
        return {name: round(100 * float(value), 3) for name, value in values if value.ndim == 0}

    def row(
        self, epoch: int, result: EpochResult, metrics: dict[str, float], seconds: float
    ) -> TransferRow:
        names = {column.name for column in fields(self.row_type)}
        return self.row_type(
            epoch=epoch + 1,
            learning_rate=result.learning_rate,
            seconds=round(seconds, 3),
            **{name: round(total / self.steps, 6) for name, total in result.sums.items()},
            **{name: value for name, value in metrics.items() if name in names},
        )

    def state(self, row: TransferRow) -> str:
        values = row.metrics.items()
        return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values)

    def close(self) -> None:
        self._train.close()
        self._validation.close()
