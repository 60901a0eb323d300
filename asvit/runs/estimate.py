"""Rough times of runs, from the time of a network of theirs. Nothing is written."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from asvit.data.sources import Images
from asvit.executors import Workers
from asvit.executors.base import cores
from asvit.executors.placement import cluster_of
from asvit.runs.algorithms.measuring import find_space
from asvit.runs.training_pool import training_workers
from asvit.search import SearchSettings
from asvit.search.limits import Limits
from asvit.search.sampler import draw_seed
from asvit.spaces import load_space
from asvit.training.short import CandidateTrainer, Training
from asvit.training.step_graph import FEWEST
from proxies.evaluation import resolve_device

_NETWORKS = 3  # of a search whose trainings are timed
_PROBED = 5  # steps of these trainings
_LONGER = 5  # times the steps that a CUDA graph needs, of one of two trainings with a graph


def timed_on(device: str, workers: Workers | None) -> str:
    """The device here to time on: a GPU of a cluster is taken for the best that there is."""
    return "auto" if cluster_of(workers) is not None and device.startswith("cuda") else device


def training_seconds(settings: SearchSettings, workers: Workers | None = None) -> float:
    """About how long a search's trainings take.

    A few networks are trained for a few steps, on noise. The time of the predictor is left out.
    """
    settings = replace(settings, device=timed_on(settings.device, workers))
    rng = np.random.default_rng(draw_seed(settings.seed, "estimate", 0))
    limits = Limits(find_space(settings.space, image_size=settings.image_size), settings)
    texts = [str(limits.network(limits.sample(rng))) for _ in range(_NETWORKS)]
    each = statistics.fmean(seconds_each(settings, texts))
    device = str(resolve_device(settings.device))
    jobs = training_workers(workers, settings, device).jobs or 1
    here = device == "cpu" and cluster_of(workers) is None
    at_once = min(jobs, cores()) if here else jobs
    rounds = math.ceil(settings.batch / at_once) / settings.batch  # of the workers, a training
    return settings.trainings * rounds * each


def seconds_each(settings: SearchSettings, texts: Sequence[str]) -> Sequence[float]:
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
