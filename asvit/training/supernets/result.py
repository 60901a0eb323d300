"""The result of training a supernet."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from asvit.core.results import Result
from asvit.training.supernets.settings import SupernetSettings


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
    """A supernet that was trained."""

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

    def derived(self) -> Mapping[str, Any]:
        """The space."""
        return {"space": self.settings.space}
