"""Settings of training a supernet, stored with its weights, and the result."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from asvit.core.results import Result
from asvit.core.settings import Presets, presets_with, setting
from asvit.training.short_settings import Recipe, ShortTrainingSettings, labelled_data


@dataclass(frozen=True)
class SupernetSettings(ShortTrainingSettings):
    """Settings of a supernet. Two runs with equal settings on one CPU give equal weights.

    The paper gives no recipe. This one is DeiT's at the size of a laptop, with the gradient
    clipped at 1 and without its augmentation; all images stay in memory.
    """

    presets: ClassVar[Presets] = presets_with(
        quick={
            "classes": 5,
            "train_images": 500,
            "validation_images": 100,
            "test_images": 100,
            "image_size": 32,
            "width": 24,
            "epochs": 10,
            "batch_size": 50,
        }
    )

    space: str = setting(
        "psvit2d",
        "Search space: psvit2d or psvit1d.",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
    )
    data: str = labelled_data()
    classes: int = setting(20, "Classes of the fractals; other images have their own.", at_least=2)
    train_images: int = setting(8_000, "Images to train on, over all classes.", at_least=2)
    validation_images: int = setting(1_000, "Held-out images to rank paths by.", at_least=1)
    test_images: int = setting(
        1_000, "Images used neither for training nor for ranking paths.", at_least=1
    )
    image_size: int = setting(64, "Side of the square images, in pixels.", at_least=1)
    width: int = setting(48, "Channels of the first stage.", at_least=1)
    epochs: int = setting(60, "Passes over the training images.", at_least=1)
    batch_size: int = setting(64, "Images in a batch; each batch trains one path.", at_least=1)

    def check(self) -> None:
        """Check that there is a batch in an epoch."""
        if self.batch_size > self.train_images:
            raise ValueError(
                f"batch_size={self.batch_size} is more than there are training images, "
                f"{self.train_images}; use at most as many"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; images that do not fill a last one are left out of it."""
        return self.train_images // self.batch_size

    @property
    def recipe(self) -> Recipe:
        """The recipe of the supernet, and of a network trained alone for as many steps."""
        return self.short_recipe(self.epochs * self.steps_per_epoch)


@dataclass(frozen=True)
class LossRow:
    """The training of an epoch, as trackers and the figure have it."""

    epoch: int  # from 1
    loss: float  # mean over its steps, nats


@dataclass(frozen=True)
class PathAccuracies:
    """Accuracies of several paths with inherited weights, per cent."""

    paths: int
    lowest: float
    median: float
    highest: float

    @classmethod
    def of(cls, accuracies: Sequence[float]) -> Self:
        """A summary of these accuracies, of which there is one at least."""
        middle = statistics.median(accuracies)
        return cls(len(accuracies), min(accuracies), middle, max(accuracies))


@dataclass(frozen=True, kw_only=True)
class SupernetResult(Result):
    """A supernet that was trained.

    Example:
        >>> result = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> result.num_classes
        20
    """

    kind = "supernet"
    noun = "supernet"
    rows_in = "losses"

    settings: SupernetSettings
    losses: Sequence[float]  #: mean training loss of each epoch, nats
    num_classes: int  #: classes of the images
    accuracy: PathAccuracies  #: of random paths, on the validation images
    params: int  #: parameters of all paths together

    def __post_init__(self) -> None:
        if self.num_classes < 1 or not self.losses:
            raise ValueError("a supernet has classes and epochs")

    @classmethod
    def next_in(cls, folder: Path, command: str) -> str:
        """To evolve its paths."""
        return evolve_command(folder)

    def derived(self) -> Mapping[str, Any]:
        """The space."""
        return {"space": self.settings.space}


def evolve_command(folder: Path) -> str:
    """The command that searches the best path of a finished supernet."""
    return shlex.join(["asvit", "supernet", "evolve", str(folder)])
