"""Latency: the time of a forward pass of any network, on a device here or by a user's program."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from asvit.core.codec import from_json
from asvit.core.processes import call
from asvit.core.programs import file_command, output_of
from asvit.core.shared_settings import RUNTIME_NAMES
from asvit.data.base import file_digest
from asvit.export.formats import FORMATS
from asvit.measuring.latency import COMMAND, Latency
from asvit.measuring.timing import image_dtype, synchronise, time_passes, timed_on
from asvit.spaces import build
from proxies.evaluation import FAILURES, check_device, resolve_device
from proxies.features import in_evaluation_mode
from proxies.messages import fault, unknown
from proxies.text import shown

if TYPE_CHECKING:
    from asvit.spaces.base import Architecture

logger = logging.getLogger(__name__)

REPEATS: Final = 3  # runs of a program for a network
SECONDS: Final = 300.0  # that one of them may take

_known: dict[tuple[str, str, int, int], Latency] = {}  # by command, digest of the file, and pass
_announced = set[str]()


def latency(
    network: str | Architecture | nn.Module,
    image_size: int = 224,
    batch: int = 1,
    device: str = "cpu",
    runtime: str = "eager",
    *,
    num_classes: int = 1000,
    in_chans: int = 3,
    command: str | None = None,
) -> Latency:
    """Time one forward pass, in evaluation mode and without gradients.

    Takes a second or two for a small network, at most about 20 for a large one, and before that
    what ONNX Runtime takes to load it. Threads are those of ``torch.get_num_threads()``.

    Args:
        network: An architecture or its text, as :func:`asvit.build` takes it, or any module that
            takes ``[batch, in_chans, side, side]``; it is not changed.
        image_size: Side of the images in pixels.
        batch: Images in a pass.
        device: A torch device, or ``"auto"`` for an accelerator if there is one.
        runtime: ``"eager"`` (PyTorch as it is) or ``"onnx"`` (ONNX Runtime, on the CPU).
        num_classes: Classes of an architecture; a module has its own.
        in_chans: Channels of the images.
        command: Times it on another device instead: a program that prints milliseconds for an
            ONNX file, such as ``"ssh pi ./bench {onnx}"``. It is run three times, without a
            shell; device and runtime are its own.

    Returns:
        Median and spread, in milliseconds, and what they were measured on.

    Raises:
        ValueError: If the architecture, the runtime, the command or a number is wrong, the device
            or the runtime is not available, or the network does not run on such images.
        OSError: If the command cannot be run, fails, takes too long, or prints anything else; or
            an accelerator computes nothing any more.

    Example:
        >>> asvit.latency("8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32).milliseconds > 0
        True
    """
    for name, value in {"image_size": image_size, "batch": batch, "in_chans": in_chans}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if runtime not in RUNTIME_NAMES:
        raise ValueError(unknown("runtime", runtime, RUNTIME_NAMES))
    if command is not None:
        if runtime != "eager":
            raise ValueError(f"runtime {runtime!r} is for this machine; leave it or command out")
        file_command(command)
        FORMATS["onnx"].check_libraries()
    target = torch.device("cpu") if command else resolve_device(device, float64=False)
    target = torch.empty(0, device=target).device  # with its number
    if runtime == "onnx" and (why := _without_onnx(target)):
        raise ValueError(f"runtime 'onnx' is not available on {target}: {why}")
    if isinstance(network, nn.Module):
        model = network
    else:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)  # an architecture has one file, and so one time by a command
            model = build(network, image_size, num_classes, in_chans=in_chans)
    shape = (batch, in_chans, image_size, image_size)
    what = f"runtime {runtime!r} cannot run {type(model).__name__} on {shape} images"
    try:
        if command is not None:
            what = f"{type(model).__name__} cannot be written as ONNX"
            model = copy.deepcopy(model).cpu().float().eval()
            with _onnx_file(model, image_size=image_size, channels=in_chans, batch=batch) as path:
                return command_latency(command, path, batch=batch, image_size=image_size)
        if any(part.device != target for part in (*model.parameters(), *model.buffers())):
            model = copy.deepcopy(model).to(target)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        images = images.to(target, image_dtype(model))
        with in_evaluation_mode(model):
            run = _by_onnx(model, images) if runtime == "onnx" else lambda: model(images)
            with torch.inference_mode():
                run()
            synchronise(target)  # only then it has run
            return time_passes(run, images, runtime=runtime)
    except (MemoryError, OSError):
        raise
    except FAILURES as error:  # the network may be anybody's
        check_device(target)
        raise ValueError(f"{what}: {fault(error)}") from error


def fresh_latency(text: str, *, command: str | None = None, **options: Any) -> Latency:
    """:func:`latency` of an architecture's text in a process of its own, with as many threads.

    What this process has done before, such as filling the memory, has no part in it. Where that
    process fails, as with a space that only this one knows, it is timed here. A command times it
    again.
    """
    if command is not None:
        forget(command)
        return latency(text, command=command, **options)
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    try:
        answer = call("asvit.runs.timing:latency", environment=threads, network=text, **options)
    except OSError as error:
        logger.warning("%s is timed in this process, as another one cannot: %s", text, error)
        return latency(text, **options)
    return from_json(answer, Latency)


def command_latency(command: str, path: Path, *, batch: int, image_size: int) -> Latency:
    """The median of what a command prints for an ONNX file, in milliseconds, and its spread.

    A file with the same content is not timed twice in a process, but after :func:`forget`.

    Args:
        command: A program and its arguments, with ``{onnx}`` in the file's place; it is run
            :data:`REPEATS` times, without a shell, and prints one number of milliseconds.
        path: The file.
        batch: Images in the pass that it is of, for the result.
        image_size: Their side in pixels, likewise.

    Raises:
        OSError: If the program cannot be run, takes more than five minutes, fails, or prints
            anything else. What called it stops: a network that could not be timed is neither
            slow nor fast.
    """
    key = command, file_digest(path), batch, image_size
    if key in _known:
        return _known[key]
    if command not in _announced:
        logger.warning("networks are timed by your program: %s", shown(command))
        _announced.add(command)
    times = [_printed(command, path) for _ in range(REPEATS)]
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
    _known[key] = Latency(
        milliseconds=float(median),
        spread=float(high - low),
        relative=1.0,
        passes=REPEATS,
        busy=1.0,
        device=command,
        threads=0,
        runtime=COMMAND,
        batch=batch,
        image_size=image_size,
    )
    return _known[key]


def forget(command: str | None) -> None:
    """Have the command time again what it has timed: networks were chosen by these times."""
    for key in [key for key in _known if key[0] == command]:
        del _known[key]


def _printed(command: str, path: Path) -> float:
    """The milliseconds that a program prints for a file."""
    text = output_of(command, str(path), SECONDS).strip()
    try:
        number = float(text.removesuffix("ms"))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ChildProcessError(
            f"{shown(command)} printed {shown(text)}; it has to print one number above 0, the "
            "milliseconds of a pass"
        )
    return number


@contextmanager
def _onnx_file(model: nn.Module, *, image_size: int, channels: int, batch: int) -> Iterator[Path]:
    """A file of a network, on the CPU and in evaluation mode, while it is needed."""
    from asvit.export.writers import onnx_graph, trace, write_graph

    with TemporaryDirectory(prefix="asvit-latency-") as folder:
        path = Path(folder) / "network.onnx"
        program = trace(model, image_size=image_size, channels=channels, batch=batch)
        write_graph(onnx_graph(program), path, about={})
        yield path


def _by_onnx(model: nn.Module, images: Tensor) -> Callable[[], object]:
    """A pass by ONNX Runtime."""
    from asvit.core.running import by_onnx, onnx_session

    batch, channels, side, _ = images.shape
    with _onnx_file(model, image_size=side, channels=channels, batch=batch) as path:
        session = onnx_session(path, threads=torch.get_num_threads())
    run, pixels = by_onnx(session), images.numpy()
    return lambda: run(pixels)


def _without_onnx(device: torch.device) -> str:
    """Why ONNX Runtime cannot be used on a device; empty if it can."""
    if device.type != "cpu":
        return "ONNX Runtime runs on the CPU here"
    try:
        FORMATS["onnx"].check_libraries()
    except ImportError as error:
        return str(error)
    return ""


def devices() -> list[dict[str, object]]:
    """The devices that torch can use here: name, description, and runtimes available on it."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if accelerator else 0
    usable = [torch.device("cpu"), *(torch.device(f"{accelerator}:{i}") for i in range(count))]
    return [
        {
            "name": str(device),
            "description": timed_on(device),
            "runtimes": "eager" if _without_onnx(device) else ", ".join(RUNTIME_NAMES),
        }
        for device in usable
    ]


def device_names() -> list[str]:
    """The names of :func:`devices`."""
    return [str(device["name"]) for device in devices()]
