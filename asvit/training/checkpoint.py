"""``checkpoint.safetensors``: a training after some updates, in one file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from asvit.core.codec import check_schema, content_fault, from_json, to_json, value_from_json
from asvit.core.continuing import Images
from asvit.core.files import sync_folder
from asvit.core.preparing_settings import BLACK
from asvit.core.records import MALFORMED
from asvit.core.run_files import previous
from asvit.core.settings import Settings
from asvit.core.store import Store
from asvit.core.tensor_files import read_header, read_tensors, write_tensors
from asvit.data.statistics import Normalisation
from asvit.networks import Network, load_state
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from proxies.memory import to_host
from proxies.messages import first_line
from proxies.text import one_line

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
KIND = "training"

_WEIGHTS, _AVERAGE, _MOMENTS = "weights/", "average/", "optimizer/"
_LOSSES = "epoch/losses"
_GROUP = "group "


class DamagedFileError(ValueError):
    """The content of a file is not what was written."""


class _Part(TypedDict):
    seconds: float
    sums: Mapping[str, float]


@dataclass(frozen=True)
class Origin:
    """The settings, data and environment that a training started with."""

    settings: Any
    images: Mapping[str, str]  # their source and SHA-256 (digest)
    classes: tuple[str, ...]
    device: str  # its type, such as "cpu"
    stages: tuple[Mapping[str, Any], ...]  # measured costs of the stages of tokens
    versions: Mapping[str, str]  # of libraries
    # Of the images, so that all sessions have the same; None for ImageNet's.
    normalisation: Normalisation | None = None
    ground: str = BLACK  # that transparent ones are laid over
    teacher: str = ""  # digest of its weights, if there is one
    network: Network | None = None  # of the weights to start from, where no architecture is named


@dataclass(frozen=True)
class TrainerState:
    """The state dicts of a network and of its moving average, and the optimiser's state.

    The average is empty without one; ``moments`` and ``numbers`` are of :func:`optimizer_state`.
    """

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    numbers: Mapping[str, Any]

    def load(self, network: nn.Module, average: nn.Module | None) -> None:
        """Load the weights."""
        load_state(network, self.weights, what="the weights of the checkpoint")
        if average is not None:
            load_state(average, self.average, what="the averages of the checkpoint")


@dataclass(frozen=True)
class EpochPart:
    """The first updates of an epoch, which has not ended; by default none."""

    # [updates] float32, mean over the processes; nats
    losses: Tensor = field(default_factory=partial(torch.empty, 0))
    seconds: float = 0.0  # they took
    sums: Mapping[str, float] = field(default_factory=dict)  # of other values over them, by name

    @property
    def updates(self) -> int:
        """How many are done."""
        return len(self.losses)


@dataclass(frozen=True)
class Checkpoint:
    """A training after some epochs, and perhaps within the next one."""

    origin: Origin
    history: tuple[Any, ...]  # a row an epoch
    seconds: float  # wall-clock time of all sessions
    bad_images: Mapping[str, int]  # name of each unreadable image -> times it was replaced
    state: TrainerState  # without the optimiser's once all epochs are done
    kind: str = KIND  # kind of the file
    part: EpochPart | None = None  # of the next epoch; None between two epochs
    planned: int | None = None  # epochs in all, where they may differ from the settings'

    @property
    def epochs(self) -> int:
        """Epochs of the whole training, as it is planned now."""
        return int(self.origin.settings.epochs if self.planned is None else self.planned)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) >= self.epochs

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all (an OSError), and keep the one before."""
        state, part = self.state, self.part
        parts = {_WEIGHTS: state.weights, _AVERAGE: state.average}
        if not self.finished:
            parts[_MOMENTS] = state.moments
        tensors = {prefix + name: t for prefix, some in parts.items() for name, t in some.items()}
        if part is not None:
            tensors[_LOSSES] = part.losses
        header = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            **to_json(self.origin),
            "seconds": round(self.seconds, 3),
            "history": to_json(self.history),
            "part": part and {"seconds": part.seconds, "sums": dict(part.sums)},
            "bad_images": dict(self.bad_images),
            "numbers": dict(state.numbers),
            **({} if self.epochs == self.origin.settings.epochs else {"planned": self.epochs}),
        }
        before = path.with_name(previous(path.name))
        write_tensors(path, _unshared(tensors), header, previous=before)

    @classmethod
    def read(
        cls, path: Path, *, kind: str = KIND, settings: Any = TrainSettings, row: Any = EpochRow
    ) -> Checkpoint:
        """Read the file of a kind of training, with the types of its settings and rows.

        Raises:
            FileNotFoundError: If there is none.
            DamagedFileError: If it is damaged.
            ValueError: If it is of another kind or version, too.
        """
        unread = True
        try:
            header, tensors = read_tensors(path)
            unread = False
            check_schema(header, kind, SCHEMA_VERSION)
            value_from_json(header["images"], Images)
            origin, part = from_json(header, Origin), value_from_json(header["part"], _Part | None)
            return cls(
                origin=replace(origin, settings=settings.from_json(header["settings"])),
                history=value_from_json(header["history"], tuple[row, ...]),
                seconds=value_from_json(header["seconds"], float),
                bad_images=value_from_json(header["bad_images"], Mapping[str, int]),
                state=TrainerState(
                    weights=_under(_WEIGHTS, tensors),
                    average=_under(_AVERAGE, tensors),
                    moments=_under(_MOMENTS, tensors),
                    numbers=header["numbers"],
                ),
                kind=kind,
                part=None if part is None else EpochPart(_losses(tensors), **part),
                planned=value_from_json(header.get("planned"), int | None),
            )
        except FileNotFoundError:
            raise FileNotFoundError(f"no checkpoint {str(path)!r}") from None
        except (SafetensorError, *MALFORMED) as error:
            raise (DamagedFileError if unread else ValueError)(
                f"{path} is not a checkpoint that this version can read ({content_fault(error)}); "
                "restore it from a copy, or give --fresh to start over (nothing was changed)"
            ) from error


def settings_in(path: Path) -> TrainSettings | None:
    """The settings that a checkpoint was started with; None where it cannot be read."""
    with suppress(OSError, SafetensorError, *MALFORMED):
        return TrainSettings.from_json(read_header(path)["settings"])
    return None


def seconds_in(path: Path) -> float:
    """Wall-clock time of all sessions up to a checkpoint; 0 where it cannot be read."""
    with suppress(OSError, SafetensorError, *MALFORMED):
        return float(read_header(path)["seconds"])
    return 0.0


def read_or_restore(path: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint | None:
    """A run's own checkpoint by ``read``; None if there is none yet.

    If it is damaged or missing, the previous checkpoint takes its place, and the run repeats the
    updates since then. The caller must hold the run folder's lock.

    Raises:
        ValueError: As ``read``, if both are damaged. Nothing is changed then.
    """
    before = path.with_name(previous(path.name))
    try:
        return read(path)
    except FileNotFoundError:
        if not before.exists():
            return None
        restored = read(before)
    except DamagedFileError as error:
        try:
            restored = read(before)
        except (FileNotFoundError, ValueError):
            raise error from None
        logger.warning("%s was damaged; the one before it is used", path)
    before.replace(path)
    sync_folder(path.parent)
    return restored


class Saved(Store[Any]):
    """The checkpoint of a training as the store of its run; every file has what it began with.

    Attributes:
        file: What it holds; None in a new run.
    """

    def __init__(self, file: Checkpoint | None) -> None:
        self.file = file
        if file is not None:
            start = file.origin
            self.settings = start.settings
            names = ("images", "device", "versions")
            self.start_values = {name: getattr(start, name) for name in names}

    @property
    def finished(self) -> bool:
        """Whether the training is at its end."""
        return self.file is not None and self.file.finished

    def start(self, settings: Settings, **values: Any) -> None:
        """Nothing is written."""


def _losses(tensors: Mapping[str, Tensor]) -> Tensor:
    losses = tensors[_LOSSES]
    if losses.ndim != 1 or not len(losses) or losses.dtype != torch.float32:
        raise ValueError(f"{_LOSSES} may not be {losses.dtype} of shape {tuple(losses.shape)}")
    return losses


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of the name."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU; tensors that share memory, such as tied weights, are copied."""
    storages: set[int] = set()
    copies: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        shared = storage in storages
        copies[name] = own.clone(memory_format=torch.contiguous_format) if shared else own
        storages.add(storage)
    return copies


def check_finite(
    tensors: Mapping[str, Tensor],
    *,
    what: str,
    error: type[ValueError] = ValueError,
    advice: str = "",
) -> None:
    """Reject NaN and infinity: training cannot recover from them. ``what`` names the tensors."""
    finite = to_host([tensor.isfinite().all() for tensor in tensors.values()])
    for name, good in zip(tensors, finite, strict=True):
        if not good:
            then = f"; {advice}" if advice else ""
            raise error(f"{what} are infinite or NaN, as in {one_line(name)!r}{then}")


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the state of an optimiser into tensors and JSON values.

    Returns:
        Tensors by ``PARAMETER/NAME``, or ``group N/NAME`` for those of a parameter group; and the
        other values by group (``groups``) and by parameter (``state``).
    """
    full = optimizer.state_dict()
    groups = [{k: v for k, v in group.items() if k != "params"} for group in full["param_groups"]]
    owners = {str(parameter): values for parameter, values in full["state"].items()}
    owners |= {f"{_GROUP}{number}": group for number, group in enumerate(groups)}
    tensors = {
        f"{owner}/{name}": value
        for owner, values in owners.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    rest = {
        owner: {name: value for name, value in values.items() if _is_json(value)}
        for owner, values in owners.items()
    }
    own = [rest.pop(f"{_GROUP}{number}") for number in range(len(groups))]
    return tensors, {"groups": own, "state": {owner: v for owner, v in rest.items() if v}}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Load what :func:`optimizer_state` returned into an optimiser of the same parameters."""
    fresh = optimizer.state_dict()
    try:
        # JSON has no tuples.
        groups = [
            {**group, **{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}}
            for group, stored in zip(fresh["param_groups"], numbers["groups"], strict=True)
        ]
        state = {int(parameter): dict(values) for parameter, values in numbers["state"].items()}
        for path, tensor in tensors.items():
            owner, _, name = path.partition("/")
            if owner.startswith(_GROUP):
                groups[int(owner.removeprefix(_GROUP))][name] = tensor
            else:
                state.setdefault(int(owner), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except MALFORMED as error:
        raise ValueError(
            f"the optimiser's state is of another network, or none: {first_line(error)}"
        ) from error


def _is_json(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, bool | int | float | str)
