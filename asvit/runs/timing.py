"""Latency: the time of a forward pass of any network, on a device and by a runtime."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asvit.core.codec import from_json
from asvit.core.processes import call
from asvit.core.programs import file_command
from asvit.export.formats import FORMATS
from asvit.measuring.latency import Latency
from asvit.measuring.timing import image_dtype, synchronise, time_passes, timed_on
from asvit.runs.command_latency import command_latency, forget
from asvit.spaces import build
from proxies.evaluation import FAILURES, check_device, resolve_device
from proxies.features import in_evaluation_mode
from proxies.messages import fault
from proxies.registry import Registry

if TYPE_CHECKING:
    from asvit.spaces.base import Architecture


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """A way of running networks."""

    # A network in evaluation mode and images to a function of one forward pass.
    prepare: Callable[[nn.Module, Tensor], Callable[[], object]]
    # Why it cannot be used on a device here; empty if it can.
    hindrance: Callable[[torch.device], str]


def _onnx(model: nn.Module, images: Tensor) -> Callable[[], object]:
    from asvit.core.running import by_onnx, onnx_session

    channels, side = images.shape[1:3]
    with _onnx_file(model, image_size=side, channels=channels, batch=len(images)) as path:
        session = onnx_session(path, threads=torch.get_num_threads())
    run, batch = by_onnx(session), images.numpy()
    return lambda: run(batch)


@contextmanager
def _onnx_file(model: nn.Module, *, image_size: int, channels: int, batch: int) -> Iterator[Path]:
    """A file of a network, on the CPU and in evaluation mode, while it is needed."""
    from asvit.export.writers import onnx_graph, trace, write_graph

    with TemporaryDirectory(prefix="asvit-latency-") as folder:
        path = Path(folder) / "network.onnx"
        program = trace(model, image_size=image_size, channels=channels, batch=batch)
        write_graph(onnx_graph(program), path, about={})
        yield path


def _without_onnx(device: torch.device) -> str:
    if device.type != "cpu":
        return "ONNX Runtime runs on the CPU here"
    try:
        FORMATS["onnx"].check_libraries()
    except ImportError as error:
        return str(error)
    return ""


#: What can run a network, by name.
RUNTIMES: Registry[Runtime] = Registry(
    "runtime",
    {
        "eager": Runtime(lambda model, images: lambda: model(images), lambda _device: ""),
        "onnx": Runtime(_onnx, _without_onnx),
    },
)


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
    if isinstance(network, nn.Module) and any(
        part.is_meta for part in (*network.parameters(), *network.buffers())
    ):
        raise ValueError(
            f"{type(network).__name__} has tensors on the meta device, without values; build it "
            "on another"
        )
    if command is not None:
        if runtime != "eager":
            raise ValueError(f"runtime {runtime!r} is for this machine; leave it or command out")
        return _by_command(network, image_size, batch, num_classes, in_chans, command=command)
    way, target = RUNTIMES[runtime], resolve_device(device, float64=False)
    target = torch.empty(0, device=target).device  # with its number
    if why := way.hindrance(target):
        raise ValueError(f"runtime {runtime!r} is not available on {target}: {why}")
    if isinstance(network, nn.Module):
        model = network
        if any(part.device != target for part in (*model.parameters(), *model.buffers())):
            model = copy.deepcopy(model).to(target)
    else:
        with torch.random.fork_rng([]):
            model = build(network, image_size, num_classes, in_chans=in_chans).to(target)
    kind = type(model).__name__
    shape = (batch, in_chans, image_size, image_size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    images = images.to(target, image_dtype(model))
    with in_evaluation_mode(model):
        try:
            run = way.prepare(model, images)
            with torch.inference_mode():
                run()
            synchronise(target)  # only then it has run
        except MemoryError:
            raise
        except FAILURES as error:  # the network may be anybody's
            check_device(target)
            raise ValueError(
                f"runtime {runtime!r} cannot run {kind} on {shape} images: {fault(error)}"
            ) from error
        return time_passes(run, images, runtime=runtime)


def _by_command(
    network: str | Architecture | nn.Module,
    image_size: int,
    batch: int,
    num_classes: int,
    in_chans: int,
    *,
    command: str,
) -> Latency:
    """:func:`latency` by a command."""
    file_command(command)
    FORMATS["onnx"].check_libraries()
    if isinstance(network, nn.Module):
        model = copy.deepcopy(network).cpu().float().eval()
    else:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)  # an architecture has one file, and so one time
            model = build(network, image_size, num_classes, in_chans=in_chans).eval()
    sizes = {"image_size": image_size, "channels": in_chans, "batch": batch}
    try:
        with _onnx_file(model, **sizes) as path:
            return command_latency(command, path, batch=batch, image_size=image_size)
    except (MemoryError, OSError):
        raise
    except FAILURES as error:  # the network may be anybody's
        raise ValueError(
            f"{type(model).__name__} cannot be written as ONNX: {fault(error)}"
        ) from error


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


def devices() -> list[dict[str, object]]:
    """The devices that torch can use here: name, description, and runtimes available on it."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if accelerator else 0
    usable = [torch.device("cpu"), *(torch.device(f"{accelerator}:{i}") for i in range(count))]
    return [
        {
            "name": str(device),
            "description": timed_on(device),
            "runtimes": ", ".join(
                name for name, runtime in RUNTIMES.items() if not runtime.hindrance(device)
            ),
        }
        for device in usable
    ]


def device_names() -> list[str]:
    """The names of :func:`devices`."""
    return [str(device["name"]) for device in devices()]
