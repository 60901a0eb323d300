"""The result of a training."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.core.results import Result
from asvit.networks import Network
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class TrainResult(Result):
    """A trained network.

    Example:
        >>> result = asvit.run_training(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32, classes=2, train_images=20,
        ...     validation_images=10, epochs=1, batch_size=10, out="training",
        ... )
        >>> result.network.num_classes
        2
    """

    kind = "training"
    noun = "training"
    provenance_keys = ("found_by", "images", "device", "processes", "versions", "command")
    rows_in = "metrics"
    row_type = EpochRow
    answered = "top1"

    settings: TrainSettings
    network: Network  #: settings of the network
    params: int  #: its parameters
    macs: int  #: multiply-adds of one image
    history: tuple[EpochRow, ...]  #: one row per epoch
    #: The epoch with the best accuracy at the network's own tokens; None if none had these.
    best: EpochRow | None
    #: Epochs and cost of each stage of tokens; empty without stages.
    stages: tuple[Mapping[str, Any], ...]
    #: Share of the training's multiply-adds that the coarser stages save; None without stages.
    saved: float | None

    @property
    def last(self) -> EpochRow:
        """The last epoch."""
        return self.history[-1]

    def derived(self) -> Mapping[str, Any]:
        """The architecture, and the accuracy at the end; balanced if classes are."""
        last = self.last
        balanced = {} if last.balanced is None else {"balanced_accuracy": last.balanced}
        return {"architecture": self.network.architecture, "top1": last.top1, **balanced}


def export_command(folder: Path) -> str:
    """The command that exports the network of a finished training."""
    return shlex.join(["asvit", "export", "--weights", str(folder), "--to", "onnx"])
