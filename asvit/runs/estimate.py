"""Rough times of runs, from the time of a network of theirs. Nothing is written."""

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace

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
from asvit.training.short import CandidateTrainer, Training
from asvit.training.step_graph import FEWEST
from proxies.evaluation import resolve_device

_NETWORKS = 3  # of a search whose trainings are timed
_PROBED = 5  # steps of these trainings
_LONGER = 5  # times the steps that a CUDA graph needs, of one of two trainings with a graph


def training_seconds(settings: SearchSettings, workers: Workers | None = None) -> float:
    """About how long a search's trainings take.

    A few networks are trained for a few steps, on noise. The time of the predictor is left out.
    """
    cluster = cluster_of(workers) is not None
    best = cluster and settings.device.startswith("cuda")  # stands for the cluster's
    device = str(resolve_device("auto" if best else settings.device))
    each = statistics.fmean(_seconds_each(settings, device))
    jobs = training_workers(workers, settings, device).jobs or 1
    at_once = jobs if cluster or device != "cpu" else min(jobs, cores())
    rounds = math.ceil(settings.batch / at_once) / settings.batch  # of the workers, a training
    return settings.trainings * rounds * each


def _seconds_each(settings: SearchSettings, device: str) -> Iterator[float]:
    """About how many seconds each of a few networks is trained for."""
    whole, noise = settings.training, np.random.default_rng(draw_seed(settings.seed, "noise", 0))
    probe = replace(whole, train_images=whole.batch_size + 2, test_images=2)
    limits = Limits(find_space(settings.space, image_size=settings.image_size), settings)
    rng = np.random.default_rng(draw_seed(settings.seed, "estimate", 0))
    texts = [str(limits.network(limits.sample(rng))) for _ in range(_NETWORKS)]
    count, side = probe.train_images + probe.test_images, whole.image_size
    pixels = noise.standard_normal((count, limits.channels, side, side), np.float32)
    labels = torch.arange(count) % 2
    images = Images(torch.from_numpy(pixels), labels, ("even", "odd"), "noise")

    def seconds(text: str, steps: int = _PROBED) -> float:
        train = CandidateTrainer(replace(probe, steps=steps), device, images=images)
        return train(Training(text, 0)).seconds

    # A GPU loads and chooses the kernels of each network at its first use.
    for text in texts[:1] if device == "cpu" else texts:
        seconds(text)  # warms up
    for text in texts:
        if device.startswith("cuda") and whole.steps >= FEWEST:
            # By two trainings that replay a step as a CUDA graph: capturing one takes as long as
            # dozens of replays, and a step by kernels as long as several.
            short, longer = seconds(text, FEWEST), seconds(text, _LONGER * FEWEST)
            step = max(0.0, longer - short) / ((_LONGER - 1) * FEWEST)
            yield short + step * (whole.steps - FEWEST)
        else:  # a step takes three passes of each image
            passes = 3 * whole.steps * whole.batch_size + whole.test_images
            probed = 3 * _PROBED * probe.batch_size + probe.test_images
            yield seconds(text) * passes / probed
