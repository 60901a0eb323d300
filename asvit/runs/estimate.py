"""Rough times of runs, from the time of a network of theirs. Nothing is written."""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from asvit.data.sources import Images, are_fractals, fractal_classes
from asvit.executors import Workers
from asvit.executors.base import cores
from asvit.executors.placement import cluster_of
from asvit.runs.checks import find_space
from asvit.runs.measurement_pool import EvalContext, MeasurementJob, MeasurementPool, Workload
from asvit.runs.measurement_worker import takes_all
from asvit.runs.training_pool import training_workers
from asvit.search import TrainingSearchSettings
from asvit.search.limits import Limits
from asvit.search.seeds import draw_seed
from asvit.spaces import load_space
from asvit.training.candidates import CandidateTrainer, Training
from asvit.training.step_graph import FEWEST
from proxies import Cost
from proxies.evaluation import resolve_device

_NETWORKS = 3  # of a search whose trainings are timed
_PROBED = 5  # steps of these trainings
_LONGER = 5  # times the steps that a CUDA graph needs, of one of two trainings with a graph
_APART = 3.0  # times the median, that numbers of steps may be at most
_CACHED = ("fractal", "torchvision", "hf")  # images that loading would write to the cache


@dataclass(frozen=True)
class Remaining:
    """What a run has left to do, and what one of its networks takes."""

    done: int  # steps of earlier sessions
    left: int | None  # steps; None where their number follows from what is measured
    seconds: float | None = None  # a network, about; None where none was timed
    example: str = ""  # the network that was timed, in one process
    cost: Cost | None = None  # its parameters and multiply-adds
    reason: str = ""  # why a measure of it failed


def timed_on(device: str, workers: Workers | None) -> str:
    """The device here to time on: a GPU of a cluster is taken for the best that there is."""
    return "auto" if cluster_of(workers) is not None and device.startswith("cuda") else device


def with_example(
    remaining: Remaining,
    job: MeasurementJob,
    settings: Any,
    workers: Workers | None = None,
    **kind: Any,
) -> Remaining:
    """``remaining`` with the cost of ``job``, and its time with all repeats on this machine.

    One repeat is timed, or all where they are taken in one pass; on noise where the images of the
    settings would be written to the cache.
    ``workers`` are the run's. ``kind`` is the ``space`` or the ``num_classes`` of the network.
    """
    name = settings.data.partition(":")[0]
    if are_fractals(settings.data):
        fractal_classes(settings.data)  # refuses what is malformed
    data = "gaussian" if name in _CACHED else settings.data
    light = replace(settings, data=data, device=timed_on(settings.device, workers))
    contexts = {job.side: EvalContext(light, image_size=job.side)}
    pool = MeasurementPool(contexts, Workers(jobs=1), Workload(1, 1, 1.0), **kind)
    repeats = settings.repeats if takes_all(pool.device) else 1
    once = replace(job, counted=True, other={"repeats": repeats})
    for _ in range(2):  # the first one warms up
        started = time.perf_counter()
        ((_, measured),) = pool.measure([once])
        seconds = (time.perf_counter() - started) * settings.repeats / repeats
    return replace(
        remaining,
        seconds=seconds,
        example=str(job.architecture),
        cost=measured.cost,
        reason=next((score.reason for score in measured.scores.values() if score.reason), ""),
    )


def training_seconds(
    settings: TrainingSearchSettings, workers: Workers | None = None, *, done: int = 0
) -> float:
    """About how long a search's trainings take after the first ``done``.

    A few networks are trained for a few steps, on noise. The time of the predictor is left out.
    """
    settings = replace(settings, device=timed_on(settings.device, workers))
    rng = np.random.default_rng(draw_seed(settings.seed, "estimate", 0))
    limits = Limits(find_space(settings.space, image_size=settings.image_size), settings)
    texts = [str(limits.network(limits.sample(rng))) for _ in range(_NETWORKS)]
    return _of_all(settings, statistics.fmean(seconds_each(settings, texts)), workers, done)


def _of_all(
    settings: TrainingSearchSettings, each: float, workers: Workers | None, done: int = 0
) -> float:
    """Seconds of a search whose trainings take so long each."""
    device = str(resolve_device(settings.device))
    jobs = training_workers(workers, settings, device).jobs or 1
    here = device == "cpu" and cluster_of(workers) is None
    at_once = min(jobs, cores()) if here else jobs
    rounds = math.ceil(settings.batch / at_once) / settings.batch  # of the workers, a training
    return (settings.trainings - done) * rounds * each


def paces(
    settings: TrainingSearchSettings, workers: Workers | None = None
) -> tuple[str, float] | None:
    """Steps of each family, relative to the median, with which all take equally long.

    They follow from the times of networks made by hand.

    Returns:
        The text of the setting ``paces``, and the seconds of all trainings with it; None for one
        family, or without networks made by hand.
    """
    space = load_space(settings.space)
    if not space.branch or not space.by_hand:
        return None
    limits = Limits(space, settings)
    families = {space.family_of(text): limits.network(space.parse(text)) for text in space.by_hand}
    seconds = seconds_each(settings, [*map(str, families.values())])
    middle = statistics.median(seconds)
    shares = (min(max(middle / took, 1 / _APART), _APART) for took in seconds)
    text = ",".join(f"{name}={n:.2g}" for name, n in zip(families, shares, strict=True))
    return text, _of_all(settings, middle, workers)


def seconds_each(settings: TrainingSearchSettings, texts: Sequence[str]) -> Sequence[float]:
    """About how many seconds each of these networks is trained for."""
    device, whole = str(resolve_device(settings.device)), settings.training
    rng = np.random.default_rng(draw_seed(settings.seed, "noise", 0))
    probe = replace(whole, steps=_PROBED, train_images=whole.batch_size + 2, test_images=2)
    count, side = probe.train_images + probe.test_images, whole.image_size
    channels = Limits(load_space(settings.space), settings).channels
    pixels = torch.from_numpy(rng.standard_normal((count, channels, side, side), np.float32))
    images = Images(pixels, torch.arange(count) % 2, ("even", "odd"), "noise")

    def seconds(text: str, steps: int = _PROBED) -> float:
        train = CandidateTrainer(replace(probe, steps=steps), device, images=images)
        return train(Training(text, 0)).seconds

    # A GPU loads and chooses the kernels of each network at its first use.
    for text in texts[:1] if device == "cpu" else texts:
        seconds(text)  # warms up
    if device.startswith("cuda") and whole.steps >= FEWEST:
        return [_with_graph(partial(seconds, text), whole.steps) for text in texts]
    passes, probed = (
        3 * s.steps * s.batch_size + s.test_images for s in (whole, probe)
    )  # a step takes three passes of each image
    return [seconds(text) * passes / probed for text in texts]


def _with_graph(seconds: Callable[[int], float], steps: int) -> float:
    """Seconds of a training by those of two shorter ones, which replay a step as a CUDA graph.

    Capturing one takes as long as dozens of replays, and a step by kernels as long as several.
    """
    short, longer = seconds(FEWEST), seconds(_LONGER * FEWEST)
    return short + max(0.0, longer - short) * (steps - FEWEST) / ((_LONGER - 1) * FEWEST)


def peak_memory(device: str) -> int | None:
    """Largest memory so far in bytes: of a GPU, else of this process; None if nothing tells."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024
