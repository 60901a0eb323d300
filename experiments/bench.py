"""Benchmarks: options, timing and tables.

The result is the shortest of several runs, which are interleaved with those of the baseline: the
time without interference. On a CPU with one thread the clock is processor time, which excludes the
time of other programs on the core; they still slow it down a little.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import asvit
from asvit.data import LabelledImages
from asvit.measuring import timing
from asvit.training.classification import Classification
from asvit.training.distributed import ProcessGroup
from asvit.training.loaders import batching_of, train_loader
from asvit.training.settings import TrainSettings
from asvit.training.trainer import Trainer
from proxies import Circle
from proxies.evaluation import resolve_device
from proxies.features import pooled_feature


def bench_parser(
    doc: str | None, *, runs: int, device: str = "cpu", threads: int = 0
) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--runs", type=int, default=runs, help="the shortest one counts")
    parser.add_argument("--device", default=device)
    parser.add_argument("--threads", type=int, default=threads, help="0 leaves torch's own choice")
    return parser


def start(options: argparse.Namespace, *what: str) -> torch.device:
    """Set the threads, and print what is timed on what; returns the device."""
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = resolve_device(options.device)
    print(", ".join([hardware(device), *what]))
    return device


def shortest(device: torch.device, runs: int, *functions: Callable[[], object]) -> list[float]:
    """Seconds of each function: the shortest of interleaved runs, after a warm-up."""
    for function in functions:
        function()
    rounds = [[seconds(device, function) for function in functions] for _ in range(runs)]
    return [min(times) for times in zip(*rounds, strict=True)]


def alternating(
    ways: Mapping[str, Callable[[int], object]],
    epochs: int,
    device: torch.device,
    *,
    wall: bool = False,
) -> dict[str, list[float]]:
    """Seconds of every epoch of each way, after one that warms up; each is as often first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(epochs + 1):
        for name in ways if epoch % 2 else reversed([*ways]):
            times[name].append(seconds(device, partial(ways[name], epoch), wall=wall))
    return {name: own[1:] for name, own in times.items()}


def seconds(device: torch.device, function: Callable[[], object], *, wall: bool = False) -> float:
    """Seconds of one run, with the device synchronised before and after it.

    Work of other processes counts on the ``wall`` clock alone.
    """
    timing.synchronise(device)
    now = time.process_time if by_processor(device) and not wall else time.perf_counter
    start = now()
    function()
    timing.synchronise(device)
    return now() - start


def our_epoch(
    settings: TrainSettings,
    images: LabelledImages,
    network: nn.Module,
    processes: ProcessGroup,
    workers: int = 0,
) -> Callable[[int], None]:
    """Trains a network for an epoch, given by its number, with our trainer."""
    smoothing = settings.label_smoothing
    more = {"augmentation": settings.augmentation, "label_smoothing": smoothing}
    batching = batching_of(settings, processes, workers, **more)
    loader, classes = train_loader(images, batching), len(images.classes)
    task = Classification(network, settings, processes, loader, loader, classes=classes)
    trainer = Trainer(task, processes, epochs=settings.epochs)

    def epoch(number: int) -> None:
        trainer.train(number)

    return epoch


def by_processor(device: torch.device) -> bool:
    """Whether to measure processor time."""
    return device.type == "cpu" and torch.get_num_threads() == 1


def hardware(device: torch.device) -> str:
    """A description of the device, the clock and the version of torch."""
    clock = "processor time" if by_processor(device) else "wall-clock time"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return f"torch {torch.__version__}, {name}, threads {torch.get_num_threads()}, {clock}"


def processor() -> str:
    """The name of the processor, with its cache of the second level where Linux tells it."""
    name = timing.processor()
    known = "SC_LEVEL2_CACHE_SIZE" in getattr(os, "sysconf_names", {})
    cache = os.sysconf("SC_LEVEL2_CACHE_SIZE") / 2**20 if known else 0.0
    return f"{name}, L2 cache {cache:g} MiB a core" if cache > 0 else name


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> None:
    """A forward pass to the pooled feature, with PyTorch's fused attention."""
    pooled_feature(model, images)


def random_networks(
    count: int,
    side: int,
    device: torch.device,
    *,
    points: int = 10,
    images: int = 16,
    seed: int = 0,
) -> Iterator[tuple[str, nn.Module, Circle, Tensor]]:
    """Random topologies of the space asvit: text, network, circle and ``[images, 3, S, S]``."""
    space, rng = asvit.load_space("asvit"), np.random.default_rng(seed)
    for _ in range(count):
        text = str(space.sample(rng))
        torch.manual_seed(seed)
        model = space.build(text, image_size=side).to(device).eval()
        circle = Circle.random((3, side, side), points)
        yield text, model, circle, torch.randn(images, 3, side, side, device=device)


def write_pictures(folder: Path, count: int, *, classes: int, size: tuple[int, int]) -> None:
    """Write JPEG files of smooth pictures with some noise into class folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 8, smooth.shape)
        place = folder / f"class{number % classes}"
        place.mkdir(exist_ok=True)
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        picture.save(place / f"{number}.jpg", quality=90)
