"""Trains architectures from scratch by one short recipe, as searches and tables compare them."""

import math
import statistics
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from asvit.core.codec import Nullable
from asvit.data.base import Progress
from asvit.data.sources import Images, are_fractals
from asvit.executors import one_thread
from asvit.spaces import build
from asvit.training import splits
from asvit.training.short import draw_linear_weights, fit
from asvit.training.short_settings import CandidateSettings
from proxies.evaluation import FAILURES, check_device, seed_for
from proxies.messages import fault, out_of_memory
from proxies.text import legible


class Training(NamedTuple):
    """One training: the text of an architecture, and the seed."""

    architecture: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training; its numbers are NaN if it failed for a ``reason``."""

    accuracy: Nullable  # on the test images, per cent
    loss: Nullable  # mean over the last tenth of the steps, nats
    seconds: float
    reason: str = ""


class CandidateTrainer:
    """Trains networks on the images of the settings; equal trainings have equal outcomes.

    Without ``images`` those of the settings are loaded; ``progress`` is called with the number of
    images that are ready, and their total.

    Attributes:
        num_classes: Classes of the images.
        in_chans: Channels of the images.
        provenance: The ``source`` and the ``digest`` of the images.
    """

    def __init__(
        self,
        settings: CandidateSettings,
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
            for pixels, labels in splits.split_images(images, (settings.test_images,))
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


def outcome_of(train: CandidateTrainer, training: Training) -> Outcome:
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


def load_all(settings: CandidateSettings, progress: Progress | None = None) -> Images:
    """The training and test images; it warns of copies, which are left out."""
    images = splits.load_all(settings, (settings.test_images,), progress)
    splits.warn_of_copies(images, (settings.test_images,))
    return images


_OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}


def how_trained(settings: CandidateSettings, source: str, digest: str = "") -> dict[str, str]:
    """The lines above a table about the recipe and the images, which come from ``source``.

    Other images than fractals are known by their ``digest``, too. Trainings of two tables are
    comparable only if all of these lines are equal.
    """
    s = settings
    augmentation = [f"shifts of up to {s.shift} px"] * bool(s.shift) + ["mirroring"] * s.flip
    augmentation += [f"crops of {s.crop_scale:g} of the area or more"] * (s.crop_scale < 1)
    augmentation += [f"colour jitter of {s.color_jitter:g}"] * bool(s.color_jitter)
    steps = f"{s.steps} steps" + f" (times {s.paces})" * bool(s.paces)
    # The source of fractals has their seed; of other images the seed draws and parts some.
    draw = "" if are_fractals(s.images) else f", drawn with seed {s.seed}"
    fitted = "" if s.fit == "crop" else f" by --fit {s.fit}"
    draw += f", SHA-256 {digest[:16]}…" * bool(draw and digest)
    return {
        "recipe": (
            f"{_OPTIMIZERS[s.optimizer]}, {steps} of {s.batch_size} images, learning rate "
            f"{s.learning_rate:g} ({100 * s.warmup:g}% linear warm-up, then a cosine), weight "
            f"decay {s.weight_decay:g}, label smoothing {s.label_smoothing:g}, gradient norm at "
            f"most {s.clip:g}, {' and '.join(augmentation) or 'no augmentation'}"
            f"{', Xavier initialisation' * (s.init == 'xavier')}"
            f"{f', balance {s.balance}' * (s.balance != 'none')}; the same for all"
        ),
        "images": (
            f"{legible(source)}; {s.image_size} px{fitted}, {s.train_images} to train on and "
            f"{s.test_images} others to test on{draw}"
        ),
    }


def accuracies_in_words(balance: str) -> str:
    """What the accuracies of a table are."""
    kind = "top-1" if balance == "none" else "balanced accuracy"
    return f"{kind} on the test images after the last step, per cent"
