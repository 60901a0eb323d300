"""Where workers compute: the device of each, and how many fit on the GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, islice
from typing import TypeVar

P = TypeVar("P")

_MEMORY_SHARE = 0.5  # of the free memory of a GPU, for an automatic number of workers
_CONTEXT_BYTES = 500e6  # that CUDA takes in every process, beside its tensors


def in_turn(places: Sequence[P], jobs: int) -> tuple[P, ...]:
    """A place for each of so many jobs, in turn: their numbers differ by one at most."""
    return tuple(islice(cycle(places), jobs))


def place(devices: Iterable[str], jobs: int) -> tuple[str, ...]:
    """The device of each of so many workers.

    A device without a number, such as ``"cuda"``, is all of its kind on this machine.
    """
    return in_turn(list(dict.fromkeys(one for name in devices for one in _all_of(name))), jobs)


def fitting(
    device: str, task: Callable[[], object] | None, *, cores: int, larger: float = 1.0
) -> int:
    """The number of workers that fit on the GPUs of ``device``, one on each at least.

    ``task`` is one of theirs, done once to see how much memory it takes; others may take
    ``larger`` times as much. Each worker needs one of the ``cores``. Without a task, and on other
    accelerators, it is one worker for each.
    """
    import torch

    devices = _all_of(device)
    if task is None or torch.device(device).type != "cuda":
        return len(devices)
    torch.cuda.reset_peak_memory_stats(device)
    task()
    each = larger * torch.cuda.max_memory_allocated(device) + _CONTEXT_BYTES
    free = min(torch.cuda.mem_get_info(gpu)[0] for gpu in devices)
    share = min(cores // len(devices), int(_MEMORY_SHARE * free / each))
    return len(devices) * max(1, share)


def gpu_models(device: str) -> Mapping[str, str]:
    """The models of the GPUs that ``device`` stands for, as ``gpu``; nothing for other devices.

    They are stored among the versions of a run: other models may round differently.
    """
    import torch

    if torch.device(device).type != "cuda":
        return {}
    return {"gpu": ", ".join(sorted({torch.cuda.get_device_name(one) for one in _all_of(device)}))}


def _all_of(device: str) -> Sequence[str]:
    """The devices that a name stands for."""
    import torch

    kind, colon, _ = device.partition(":")
    count = 1 if colon or kind == "meta" else torch.get_device_module(kind).device_count()
    return [device] if count == 1 else [f"{kind}:{index}" for index in range(count)]
