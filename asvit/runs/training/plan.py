"""What a training is going to do, worked out before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.networks import Network
from asvit.training.settings import TrainSettings
from proxies import Cost


@dataclass(frozen=True)
class TrainPlan:
    """A training before its first step.

    Attributes:
        folder: Run folder.
        network: What builds the network.
        cost: Parameters of the network, and multiply-adds of one image.
        settings: Settings of the training, with all that its recipe says.
        images: Images to train on and to validate with.
        source: Where they come from, in words.
        steps: Updates of an epoch.
        stages: Epochs and measured cost of each stage of tokens, and the published fraction
            beside it; empty without stages.
        saved: Shares of the training that the coarser stages save: of its multiply-adds
            (``macs``) and its time (``time``) by these costs, and by the published ones
            (``published``); None without stages.
        device: Where to train.
        processes: How many train together.
    """

    folder: Path
    network: Network
    cost: Cost
    settings: TrainSettings
    images: tuple[int, int]
    source: str
    steps: int
    stages: Sequence[Mapping[str, Any]]
    saved: Mapping[str, float] | None
    device: str
    processes: int

    def to_json(self) -> dict[str, Any]:
        """The plan in the types of JSON."""
        return {
            "folder": str(self.folder),
            "network": self.network.to_json(),
            "params": self.cost.params,
            "macs": self.cost.macs,
            "images": {"train": self.images[0], "validation": self.images[1]},
            "source": self.source,
            "steps_per_epoch": self.steps,
            "stages": [dict(stage) for stage in self.stages],
            "saved": None if self.saved is None else dict(self.saved),
            "device": self.device,
            "processes": self.processes,
            "settings": self.settings.to_json(),
        }
