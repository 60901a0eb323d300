"""The rows and the result of training a supernet."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asvit.core.results import Result
from asvit.training.short_settings import SupernetSettings


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

    def derived(self) -> Mapping[str, Any]:
        """The space."""
        return {"space": self.settings.space}


def evolve_command(folder: Path) -> str:
    """The command that searches the best path of a finished supernet."""
    return shlex.join(["asvit", "supernet", "evolve", str(folder)])
