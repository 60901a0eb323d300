"""Trains the networks of a table, one at a time or in several local processes."""

import math
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asvit.core.codec import from_json, to_json
from asvit.core.continuing import ELSEWHERE
from asvit.data import load_images
from asvit.data.base import Progress
from asvit.data.sources import Images
from asvit.executors import Pool, Task, Work, one_thread
from asvit.executors.processes import ProcessBackend
from asvit.reference.build import Outcome, Training
from asvit.reference.build_settings import BuildSettings
from asvit.spaces import build
from asvit.spaces.worker_checks import known_space
from asvit.training.short import draw_linear_weights, fit
from asvit.training.supernets.splits import split_images, warn_of_copies
from proxies.evaluation import FAILURES, check_device, seed_for
from proxies.messages import fault, out_of_memory


class Trainer:
    """Trains networks on the images of a table; equal trainings have equal outcomes.

    Without ``images`` those of the settings are loaded; ``progress`` is called with the number of
    images that are ready, and their total.

    Attributes:
        num_classes: Classes of the images.
        in_chans: Channels of the images.
        provenance: The ``source`` and the ``digest`` of the images.
    """

    def __init__(
        self,
        settings: BuildSettings,
        device: str,
        *,
        progress: Progress | None = None,
        images: Images | None = None,
    ) -> None:
        images = images or load_all(settings, progress)
        self.num_classes, self.in_chans = len(images.classes), images.channels
        self.provenance = {"source": images.source, "digest": images.digest}
        self._settings = settings
        self.device = device
        self._test, self._train = (
            (pixels.to(device), labels.to(device))
            for pixels, labels in split_images(images, (settings.test_images,))
        )

    def __call__(self, training: Training) -> Outcome:
        """Train one network from scratch and test it.

        Cost: three forward passes for each image of each step.
        """
        started = time.monotonic()
        seed = seed_for(self._settings.seed, training.architecture, training.seed)
        with one_thread(self.device.partition(":")[0]):
            model = self._fresh(training.architecture, seed)
            recipe = self._settings.recipe_of(training.architecture)
            fitted = fit(model, self._train, self._test, recipe, seed=seed)
        last = fitted.losses[-max(1, len(fitted.losses) // 10) :]
        return Outcome(
            accuracy=fitted.accuracy,
            loss=statistics.fmean(last) if fitted.reason is None else math.nan,
            seconds=round(time.monotonic() - started, 3),
            reason=fitted.reason or "",
        )

    def _fresh(self, architecture: str, seed: int) -> nn.Module:
        """A network whose initial weights are the same on every device."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            sizes = self._settings.image_size, self.num_classes
            model = build(architecture, *sizes, in_chans=self.in_chans)
            if self._settings.init == "xavier":
                draw_linear_weights(model)
        return model.to(self.device)


def outcome_of(train: Trainer, training: Training) -> Outcome:
    """The outcome of a training, also of a network that cannot be built or trained.

    A MemoryError, and a DeviceError, is left to the caller.
    """
    try:
        return train(training)
    except MemoryError:
        raise
    except FAILURES as error:
        check_device(torch.device(train.device))
        why = fault(error)
    if out_of_memory(why):
        raise MemoryError(why)
    return failure(why)


def failure(why: str) -> Outcome:
    """The outcome of a training that failed for this reason."""
    return Outcome(math.nan, math.nan, 0.0, why)


def load_all(settings: BuildSettings, progress: Progress | None = None) -> Images:
    """The training and test images of a table; it warns of copies, which are left out."""
    images = load_images(
        settings.images,
        count=settings.train_images + settings.test_images,
        image_size=settings.image_size,
        seed=settings.seed,
        fit=settings.fit,
        ground=settings.ground,
        progress=progress,
    )
    warn_of_copies(images, (settings.test_images,))
    return images


def train_all(
    trainings: Sequence[Training],
    settings: BuildSettings,
    devices: Sequence[str],
    *,
    digest: str,
) -> Generator[tuple[Training, Outcome]]:
    """Train in one process for each of ``devices``, which may name one several times.

    Trainings are yielded with their outcomes as they end; leaving the iteration ends the
    processes. Each of these loads the images, which must have the ``digest``.

    Raises:
        ValueError: If a process finds other images.
    """
    work = Work(
        "asvit.reference.trainer:worker",
        {
            "training": settings.to_json(),
            "space": settings.space,
            "images": digest,
        },
    )
    tasks = [training._asdict() for training in trainings]
    with closing(Pool(ProcessBackend(work, devices))) as pool, closing(pool.run(tasks)) as answers:
        for number, answer in answers:
            if answer.failure:
                raise ChildProcessError(
                    f"{trainings[number].architecture} was not trained: {answer.failure}; what "
                    "was trained is safe, and the same command continues, with fewer --jobs if "
                    "memory ran out"
                )
            yield trainings[number], from_json(answer.result, Outcome)


def worker(
    settings: Mapping[str, Any], _arrays: Mapping[str, NDArray[np.generic]], device: str
) -> Callable[[Task], Any]:
    """The function that trains on a device, for executors."""
    known_space(settings["space"])
    train = Trainer(BuildSettings.from_json(settings["training"]), device)
    source, digest = (train.provenance[name] for name in ("source", "digest"))
    if digest != settings["images"]:
        raise ValueError(
            f"a process found other images than the table was begun with: {source}, digest "
            f"{digest[:12]} instead of {settings['images'][:12]}; restore them, {ELSEWHERE}"
        )
    return lambda task: to_json(outcome_of(train, Training(**task)))
