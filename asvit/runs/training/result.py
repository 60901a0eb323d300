"""The result of a training, and its form in result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asvit.networks import Network
from asvit.runs.result_file import StoredResult
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings

SCHEMA_VERSION = 1
KIND = "training"
PROVENANCE = ("found_by", "images", "device", "processes", "versions", "command")


@dataclass(frozen=True)
class TrainResult(StoredResult, kind=KIND, schema=SCHEMA_VERSION, what="a training"):
    """A network that was trained.

    Attributes:
        folder: Run folder.
        network: What builds the network.
        params: Its parameters.
        macs: Multiply-adds of one image.
        history: One row an epoch.
        best: The epoch with the best accuracy at the network's own tokens, from 1; None if there
            was none at these.
        stages: Epochs and measured cost of each stage of tokens, and the published fraction
            beside it; empty without stages.
        saved: Shares of the training that the coarser stages save: of its multiply-adds
            (``macs``) and its time (``time``) by these costs, and by the published ones
            (``published``); None without stages.
        bad_images: How often each image that could not be read was replaced, by its name.
        wall_seconds: Wall-clock time of all sessions.
        settings: Settings of the training.
        provenance: Where the architecture and the images come from, device, processes, versions
            and the command.
        next_command: What to type next.
    """

    folder: Path
    network: Network
    params: int
    macs: int
    history: Sequence[EpochRow]
    best: int | None
    stages: Sequence[Mapping[str, Any]]
    saved: Mapping[str, float] | None
    bad_images: Mapping[str, int]
    wall_seconds: float
    settings: TrainSettings
    provenance: Mapping[str, Any]
    next_command: str

    @property
    def last(self) -> EpochRow:
        """The last epoch."""
        return self.history[-1]

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "architecture": self.network.architecture,
            "network": self.network.to_json(),
            "params": self.params,
            "macs": self.macs,
            "top1": self.last.best_top1,
            "best": None if self.best is None else self.history[self.best - 1].to_json(),
            "stages": [dict(stage) for stage in self.stages],
            "saved": None if self.saved is None else dict(self.saved),
            "bad_images": dict(self.bad_images),
            "wall_seconds": round(self.wall_seconds, 3),
            "history": [row.to_json() for row in self.history],
            "settings": self.settings.to_json(),
            **self.provenance,
            "next_command": self.next_command,
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        best = content["best"]
        return cls(
            folder=folder,
            network=Network.from_json(content["network"]),
            params=content["params"],
            macs=content["macs"],
            history=[EpochRow.from_json(row) for row in content["history"]],
            best=None if best is None else best["epoch"],
            stages=content["stages"],
            saved=content["saved"],
            bad_images=content["bad_images"],
            wall_seconds=content["wall_seconds"],
            settings=TrainSettings.from_json(content["settings"]),
            provenance={name: content[name] for name in PROVENANCE},
            next_command=content["next_command"],
        )
