"""Resumable training of a detector or a segmenter."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from asvit.core.files import write_text
from asvit.core.settings import check_same_settings
from asvit.core.tensor_files import read_any_tensors, read_tensors, write_tensors
from asvit.networks import load_state
from asvit.runs.folder import RunFiles, check_folder, claimed
from asvit.training.checkpoint import load_optimizer, optimizer_state
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import autocast
from asvit.training.short import parameter_groups
from experiments.transfer_data import AugmentedImages, Sample, Transform
from experiments.transfer_settings import TransferSettings
from proxies.evaluation import seed_for
from proxies.messages import first_line

CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.jsonl"
FILES = RunFiles("transfer", "training", CHECKPOINT, (METRICS,))

_WEIGHTS, _MOMENTS = "weights/", "moments/"
_SCHEMA_VERSION = 1

Metrics = dict[str, float | int | None]


class Task(Protocol):
    """A model with its data and schedule.

    Attributes:
        model: Maps images and targets to losses by name; trained in place.
        images: The training images.
        indices: Indices of the images to train on.
        transform: Random augmentation of an image and its target.
    """

    model: nn.Module
    transform: Transform

    @property
    def images(self) -> Dataset[Sample]: ...  # noqa: D102
    @property
    def indices(self) -> Sequence[int]: ...  # noqa: D102

    def batch(self, samples: list[Sample], device: torch.device) -> tuple[Any, Any]:
        """Collate samples to the images and targets that the model takes."""
        ...

    def lr_factor(self, step: int, steps: int) -> float:
        """The learning rate of a step as a fraction of the highest."""
        ...

    def evaluate(self, processes: ProcessGroup) -> Metrics:
        """Validation metrics; every process must call this."""
        ...


@dataclass(frozen=True)
class Execution:
    """Options that change the result by rounding at most.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        precision: ``"float32"`` or ``"bf16"``.
        workers: Data worker processes.
    """

    device: str = "auto"
    precision: str = "float32"
    workers: int = 0


def train(
    make: Callable[[], Task],
    settings: TransferSettings,
    out: Path,
    *,
    fresh: bool = False,
    execution: Execution | None = None,
    report: Callable[[Metrics], None] = lambda metrics: None,
) -> list[Metrics]:
    """Train, evaluate and write a checkpoint after every epoch; resume from an existing one.

    Args:
        make: Makes the task, with a model freshly initialised from torch's generator.
        settings: Settings of the training.
        out: Run folder, for ``checkpoint.safetensors`` and ``metrics.jsonl`` (one line per epoch).
        fresh: Delete an existing checkpoint and start over.
        execution: Device, precision and workers.
        report: Called with the metrics of each new epoch.

    Returns:
        The metrics of all epochs.

    Raises:
        ValueError: If the run folder has other settings, a value is out of range, or the loss is
            not finite; the last checkpoint then stays.
        OSError: If a file cannot be read or written.
        ImportError: If a library is missing.
    """
    execution = execution or Execution()
    processes = ProcessGroup(execution.device)
    check_folder(out, FILES, fresh=fresh)
    if not processes.first:
        return _train(make, settings, out, processes, execution, report)
    with claimed(out, FILES, fresh=fresh):
        return _train(make, settings, out, processes, execution, report)


def train_from_options(
    make: Callable[[], Task], settings: TransferSettings, options: argparse.Namespace
) -> None:
    """Call :func:`train` with parsed options, and print one line of JSON per epoch.

    Args:
        make: As in :func:`train`.
        settings: The same.
        options: Options of :func:`experiments.transfer_settings.make_parser`.
    """
    train(
        make,
        settings,
        options.out,
        fresh=options.fresh,
        execution=Execution(options.device, options.precision, options.workers),
        report=lambda metrics: print(json.dumps(metrics), flush=True),
    )


def _train(
    make: Callable[[], Task],
    settings: TransferSettings,
    out: Path,
    processes: ProcessGroup,
    execution: Execution,
    report: Callable[[Metrics], None],
) -> list[Metrics]:
    processes.wait()  # until the main process has prepared the folder
    torch.manual_seed(seed_for(settings.seed, "weights"))
    task = make()
    task.model.to(processes.device)
    groups = parameter_groups(task.model, settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    history = _resume(out, settings, task.model, optimizer)
    wrapped = processes.wrap(task.model)
    for epoch in range(len(history), settings.epochs):
        metrics = _epoch(task, wrapped, optimizer, settings, epoch, processes, execution)
        _average_batch_norms(task.model, processes)
        metrics |= task.evaluate(processes)
        history.append(metrics)
        if processes.first:
            _write(out / CHECKPOINT, settings, task.model, optimizer, history)
            lines = (json.dumps(line, allow_nan=False) + "\n" for line in history)
            write_text(out / METRICS, "".join(lines))
            report(metrics)
        processes.wait()
    return history


def _epoch(
    task: Task,
    wrapped: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TransferSettings,
    epoch: int,
    processes: ProcessGroup,
    execution: Execution,
) -> Metrics:
    """Train for one epoch; returns mean losses, learning rate and time."""
    loader = _loader(task, settings, epoch, processes, execution.workers)
    if not len(loader):
        raise ValueError(
            f"batch_size={settings.batch_size} for {len(task.indices)} training images; use at "
            "most as many"
        )
    began = time.perf_counter()
    wrapped.train()
    steps, totals = settings.epochs * len(loader), dict[str, Tensor]()
    # For drop-path and the draws of the detector.
    torch.manual_seed(seed_for(settings.seed, f"rank {processes.rank}", epoch))
    for number, samples in enumerate(loader):
        step = epoch * len(loader) + number
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * task.lr_factor(step, steps)
        with autocast(processes.device, execution.precision):
            losses: dict[str, Tensor] = wrapped(*task.batch(samples, processes.device))
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        mean = processes.mean(loss.detach())
        if not math.isfinite(float(mean)):
            raise ValueError(
                f"the loss became {float(mean)} in step {step + 1} of {steps}; use a lower "
                f"learning rate than {settings.learning_rate:g}, or a norm to clip at"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if settings.clip:
            nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
        optimizer.step()
        for name, value in {"loss": loss, **losses}.items():
            totals[name] = totals.get(name, torch.zeros_like(mean)) + value.detach().float()
    means = processes.mean(torch.stack(list(totals.values())) / len(loader)).tolist()
    return {
        "epoch": epoch + 1,
        "steps": step + 1,
        "learning_rate": optimizer.param_groups[0]["lr"],
        **{name: round(value, 6) for name, value in zip(totals, means, strict=True)},
        "train_seconds": round(time.perf_counter() - began, 3),
    }


def _average_batch_norms(model: nn.Module, processes: ProcessGroup) -> None:
    """Average the running statistics of batch norms over the processes."""
    if processes.world > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(processes.mean(buffer))


def _loader(
    task: Task, settings: TransferSettings, epoch: int, processes: ProcessGroup, workers: int
) -> DataLoader[Any]:
    """This process's share of the full batches of an epoch."""
    if settings.batch_size % processes.world:
        raise ValueError(
            f"batch_size={settings.batch_size} for {processes.world} processes; use a multiple"
        )
    generator = torch.Generator().manual_seed(seed_for(settings.seed, "order", epoch))
    order = torch.randperm(len(task.indices), generator=generator).tolist()
    full = len(order) // settings.batch_size * settings.batch_size
    share = order[:full][processes.rank :: processes.world]
    images = AugmentedImages(
        task.images, [task.indices[i] for i in share], task.transform, settings.seed, epoch
    )
    return DataLoader(
        images,
        batch_size=settings.batch_size // processes.world,
        num_workers=workers,
        collate_fn=list,
        pin_memory=False,
    )


def _write(
    path: Path,
    settings: TransferSettings,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Write a checkpoint atomically."""
    moments, numbers = optimizer_state(optimizer)
    named = {_WEIGHTS + name: tensor for name, tensor in model.state_dict().items()}
    named |= {_MOMENTS + name: tensor for name, tensor in moments.items()}
    header = {
        "schema_version": _SCHEMA_VERSION,
        "kind": FILES.kind,
        "settings": settings.to_json(),
        "optimizer": numbers,
        "history": list(history),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    write_tensors(path, tensors, header)


def _resume(
    out: Path, settings: TransferSettings, model: nn.Module, optimizer: torch.optim.Optimizer
) -> list[Metrics]:
    """Load the checkpoint in ``out``, if there is one; returns the metrics so far."""
    path = out / CHECKPOINT
    if not path.exists():
        return []
    try:
        header, tensors = read_tensors(path)
        stored = type(settings).from_json(header["settings"])
        if header["schema_version"] != _SCHEMA_VERSION:
            raise ValueError(f"schema {header['schema_version']!r}")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no checkpoint that this version can read ({first_line(error)}); give "
            "--fresh to start over"
        ) from error
    check_same_settings(out, stored, settings)
    load_state(model, _under(_WEIGHTS, tensors), what=f"the weights in {path}")
    load_optimizer(optimizer, _under(_MOMENTS, tensors), header["optimizer"])
    history: list[Metrics] = header["history"]
    return history


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the model's weights from a checkpoint, by name."""
    return _under(_WEIGHTS, read_any_tensors(path)[1])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
