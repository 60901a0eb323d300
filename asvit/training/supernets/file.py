"""``supernet.safetensors``: a supernet, finished or in training, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from asvit.core.codec import from_json, value_from_json
from asvit.core.run_files import SUPERNET_WEIGHTS, previous
from asvit.core.tensor_files import tensors_digest, write_tensors
from asvit.training.checkpoint import check_finite, header_of, read_training, under
from asvit.training.supernets.settings import SupernetSettings

KIND = "supernet"

_WEIGHTS, _LOSSES = "weights/", "losses"


@dataclass(frozen=True)
class Origin:
    """The settings, data and environment that a supernet is trained with."""

    settings: SupernetSettings
    images: Mapping[str, str]  # their source and SHA-256 (digest)
    num_classes: int
    device: str  # its type, such as "cpu"
    versions: Mapping[str, str]  # of libraries


@dataclass(frozen=True)
class SupernetFile:
    """A supernet as its file holds it."""

    origin: Origin
    seconds: float  # wall-clock time of all sessions
    state: Mapping[str, Tensor]  # of SupernetTraining; weights and losses alone once finished

    @property
    def steps(self) -> int:
        """Steps that are done."""
        return len(self.state[_LOSSES])

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps >= self.origin.settings.recipe.steps

    @property
    def weights(self) -> dict[str, Tensor]:
        """The state dict of the supernet."""
        return under(_WEIGHTS, self.state)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, in hexadecimal: equal digests, equal weights."""
        return tensors_digest(self.weights)

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all (an OSError), and keep the one before."""
        tensors = {
            name: tensor
            for name, tensor in self.state.items()
            if not self.finished or name == _LOSSES or name.startswith(_WEIGHTS)
        }
        header = header_of(KIND, self.origin, self.seconds)
        write_tensors(path, tensors, header, previous=path.with_name(previous(path.name)))

    @classmethod
    def read(cls, path: Path) -> SupernetFile:
        """Read the file."""

        def parse(header: Mapping[str, Any], state: Mapping[str, Tensor]) -> SupernetFile:
            if _LOSSES not in state or state[_LOSSES].ndim != 1:
                raise ValueError(f"no {_LOSSES}")
            seconds = value_from_json(header["seconds"], float)
            return cls(from_json(header, Origin), seconds, state)

        return read_training(path, KIND, "supernet", parse)

    @classmethod
    def read_finished(cls, folder: Path) -> SupernetFile:
        """Read the finished supernet in a run folder."""
        trained = cls.read(folder / SUPERNET_WEIGHTS)
        if not trained.finished:
            raise ValueError(
                f"the supernet in {folder} is unfinished, {trained.steps} of "
                f"{trained.origin.settings.recipe.steps} steps; the same asvit supernet train "
                "goes on with it"
            )
        check_finite(trained.weights, what=f"the weights of the supernet in {folder}")
        return trained
