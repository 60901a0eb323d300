"""``checkpoint.safetensors``: a training after a whole number of epochs, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from torch import Tensor

from asvit.core.codec import from_json, to_json, value_from_json
from asvit.core.records import MALFORMED
from asvit.core.settings import Images
from asvit.core.tensor_files import read_tensors, write_tensors
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from asvit.training.state import EngineState
from proxies.messages import first_line, shown

SCHEMA_VERSION = 1
KIND = "training checkpoint"

_WEIGHTS, _AVERAGE, _MOMENTS = "weights/", "average/", "optimizer/"


class _Numbers(TypedDict):
    groups: Sequence[Mapping[str, Any]]
    state: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Origin:
    """What a training was started with.

    Attributes:
        settings: Settings of the run.
        images: Source (``source``) and SHA-256 (``digest``) of its images.
        classes: Names of the classes.
        device: Type of its device, such as ``"cpu"``.
        stages: Measured cost of each stage of tokens, in JSON types; empty without stages.
    """

    settings: TrainSettings
    images: Mapping[str, str]
    classes: tuple[str, ...]
    device: str
    stages: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Checkpoint:
    """A training after some epochs.

    Attributes:
        origin: What it was started with.
        history: Its epochs so far.
        seconds: Wall-clock time of all sessions.
        bad_images: Name of each unreadable image to how often it was replaced.
        state: State of the engine; without the optimiser's once all epochs are done.
    """

    origin: Origin
    history: tuple[EpochRow, ...]
    seconds: float
    bad_images: Mapping[str, int]
    state: EngineState

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) >= self.origin.settings.epochs

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all.

        Raises:
            OSError: If it cannot be written; an earlier file is kept.
        """
        state = self.state
        tensors = {
            **_named(_WEIGHTS, state.weights),
            **_named(_AVERAGE, state.average),
            **({} if self.finished else _named(_MOMENTS, state.moments)),
        }
        header = {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            **to_json(self.origin),
            "history": to_json(self.history),
            "seconds": round(self.seconds, 3),
            "bad_images": dict(self.bad_images),
            "numbers": dict(state.numbers),
        }
        write_tensors(path, _unshared(tensors), header)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read the file.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is no checkpoint, damaged, or of a newer version.
        """
        try:
            header, tensors = read_tensors(path)
            if (header["kind"], header["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(
                    f"kind {shown(header['kind'])}, schema {shown(header['schema_version'])}"
                )
            for name, declared in (("images", Images), ("numbers", _Numbers)):
                value_from_json(header[name], declared)
            return cls(
                origin=from_json(header, Origin),
                history=value_from_json(header["history"], tuple[EpochRow, ...]),
                seconds=value_from_json(header["seconds"], float),
                bad_images=value_from_json(header["bad_images"], Mapping[str, int]),
                state=EngineState(
                    weights=_under(_WEIGHTS, tensors),
                    average=_under(_AVERAGE, tensors),
                    moments=_under(_MOMENTS, tensors),
                    numbers=header["numbers"],
                ),
            )
        except FileNotFoundError:
            raise FileNotFoundError(f"no checkpoint {str(path)!r}") from None
        except (SafetensorError, *MALFORMED) as error:
            raise ValueError(
                f"{path} is not a checkpoint that this version can read ({first_line(error)}); "
                "restore it from a copy, or give --fresh to start over (nothing was changed)"
            ) from error


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU; tensors that share memory, such as tied weights, are copied."""
    taken: set[int] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        kept[name] = own.clone(memory_format=torch.contiguous_format) if place in taken else own
        taken.add(place)
    return kept
