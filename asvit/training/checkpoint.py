"""``checkpoint.safetensors``: a training after some updates, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from asvit.core.codec import (
    MALFORMED,
    check_schema,
    content_fault,
    from_json,
    to_json,
    value_from_json,
)
from asvit.core.continuing import Images
from asvit.core.shared_settings import BLACK
from asvit.core.tensor_files import read_header, read_tensors, write_tensors
from asvit.data.statistics import Normalisation
from asvit.networks import Network
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from asvit.training.trainer import EpochPart, TrainerState

SCHEMA_VERSION = 1
KIND = "training"


@dataclass(frozen=True)
class Origin:
    """The settings and images that a training started with, and what follows from these."""

    settings: Any
    images: Mapping[str, str]  # their source and SHA-256 (digest)
    classes: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...] = ()  # costs of the stages of tokens
    # Of the images, so that all sessions have the same; None for ImageNet's.
    normalisation: Normalisation | None = None
    ground: str = BLACK  # that transparent ones are laid over
    network: Network | None = None  # of the weights to start from, where no architecture is named


@dataclass(frozen=True)
class Checkpoint:
    """A training after some epochs, and perhaps within the next one."""

    origin: Origin
    history: tuple[Any, ...]  # a row an epoch
    seconds: float  # wall-clock time of all sessions
    state: TrainerState
    epochs: int  # of the whole training, as it is planned now
    part: EpochPart | None = None  # of the next epoch; None between two epochs

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) >= self.epochs

    def write(self, path: Path, kind: str = KIND) -> None:
        """Write the file as a whole or not at all (an OSError)."""
        parts = {"weights": self.state.weights}
        if not self.finished:
            parts["optimizer"] = self.state.optimizer
        tensors = {
            f"{part}/{name}": tensor.detach().to(
                "cpu", copy=True, memory_format=torch.contiguous_format
            )  # safetensors takes none that share memory, such as tied weights
            for part, some in parts.items()
            for name, tensor in some.items()
        }
        header = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            **to_json(self.origin),
            "seconds": round(self.seconds, 3),
            "history": to_json(self.history),
            "part": to_json(self.part),
            "epochs": self.epochs,
        }
        write_tensors(path, tensors, header)

    @classmethod
    def read(
        cls, path: Path, *, kind: str = KIND, settings: Any = TrainSettings, row: Any = EpochRow
    ) -> Checkpoint:
        """Read the file of a kind of training, with the types of its settings and rows.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it cannot be read, or is of another kind or version.
        """
        try:
            header, tensors = read_tensors(path)
            check_schema(header, kind, SCHEMA_VERSION)
            value_from_json(header["images"], Images)
            parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}}
            for name, tensor in tensors.items():
                part, _, own = name.partition("/")
                parts[part][own] = tensor
            return cls(
                replace(
                    from_json(header, Origin), settings=settings.from_json(header["settings"])
                ),
                value_from_json(header["history"], tuple[row, ...]),
                value_from_json(header["seconds"], float),
                TrainerState(**parts),
                value_from_json(header["epochs"], int),
                value_from_json(header["part"], EpochPart | None),
            )
        except FileNotFoundError:
            raise FileNotFoundError(f"no checkpoint {str(path)!r}") from None
        except (SafetensorError, *MALFORMED) as error:
            raise ValueError(
                f"{path} is not a checkpoint that this version can read ({content_fault(error)}); "
                "restore it from a copy, or give --fresh to start over (nothing was changed)"
            ) from error


def read_checkpoint(path: Path, **types: Any) -> Checkpoint | None:
    """What :meth:`Checkpoint.read` reads with these types; None where there is no file."""
    try:
        return Checkpoint.read(path, **types)
    except FileNotFoundError:
        return None


def seconds_in(path: Path) -> float:
    """Wall-clock time of all sessions up to a checkpoint; 0 where it cannot be read."""
    with suppress(OSError, SafetensorError, *MALFORMED):
        return float(read_header(path)["seconds"])
    return 0.0
