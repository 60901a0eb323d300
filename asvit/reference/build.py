"""Building a table of reference accuracies: its trainings, the journal, the rows and the file.

``trainings.jsonl`` records the settings and every finished training; the table is derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from asvit.architectures.base import Growable
from asvit.core.codec import Nullable
from asvit.core.journal import Journal
from asvit.data.sources import are_fractals
from asvit.reference.build_result import BuildResult, BuiltRow, noise_ceiling, reachable, spread
from asvit.reference.build_settings import BuildSettings
from asvit.reference.schema import Cell, format_table
from asvit.reference.table import LEAST_ROWS, Target
from asvit.spaces import SearchSpace, cost
from proxies.counts import Cost
from proxies.evaluation import FAILURES
from proxies.messages import fault
from proxies.text import legible

_WIDTHS = (0.5, 0.75, 1.0, 1.5, 2.0)  # of architectures of varied sizes, over the table's width
_IN_VAIN = 20  # times the size of a space, after so many draws in a row no new one is expected


class Training(NamedTuple):
    """One training of a table: the text of an architecture, and the seed."""

    architecture: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training; its numbers are NaN if it failed for a ``reason``."""

    accuracy: Nullable  # on the test images, per cent
    loss: Nullable  # mean over the last tenth of the steps, nats
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Finished:
    """A finished training."""

    training: Training
    outcome: Outcome


class TrainingJournal(Journal[BuildSettings]):
    """The finished trainings of a table, and their ``outcomes``."""

    result_type = BuildResult
    record_types = (Finished,)
    start_types: ClassVar[Mapping[str, Any]] = {
        "num_classes": int,
        "in_chans": int,
        **Journal.start_types,
    }

    def __init__(self, *args: Any) -> None:
        self.outcomes: dict[Training, Outcome] = {}
        super().__init__(*args)

    @property
    def num_classes(self) -> int:
        """Classes of the images; 0 in a new journal."""
        return int(self.start_values.get("num_classes", 0))

    @property
    def in_chans(self) -> int:
        """Channels of the images; 0 in a new journal."""
        return int(self.start_values.get("in_chans", 0))

    def note(self, record: Finished) -> None:
        """Take note of the outcome of a training."""
        self.outcomes[record.training] = record.outcome


def draw(space: SearchSpace, settings: BuildSettings) -> tuple[str, ...]:
    """Draw the architectures of a table, as texts; the same for the same space, seed and sizes.

    A larger table begins with the architectures of a smaller one.
    """
    if settings.n > space.size:
        raise ValueError(
            f"n={settings.n}, but space {space.name!r} has {space.size} architectures; use fewer"
        )
    rng, sizes = (np.random.default_rng((settings.seed, *key)) for key in ((), (1,)))
    architectures: dict[str, None] = {}
    vain = 0  # draws since the last new one
    while len(architectures) < settings.n:
        if vain > _IN_VAIN * space.size:  # choices may have sizes, which are replaced
            raise ValueError(
                f"n={settings.n}, but space {space.name!r} has only {len(architectures)} "
                "architectures of these widths and depths; use fewer"
            )
        architecture = space.sample(rng)
        space.check(architecture, settings.image_size)
        count = len(architectures)
        varies = int((count + 1) * settings.varied) > int(count * settings.varied)
        if isinstance(architecture, Growable):
            shape = _varied(architecture, settings, sizes) if varies else {}
            architecture = architecture.with_(**{"width": settings.width, **shape})
        elif varies:
            raise ValueError(
                f"varied={settings.varied:g} does not suit space {space.name!r}, whose "
                "architectures have their own depths and width; use 0"
            )
        architectures[str(architecture)] = None
        vain = 0 if len(architectures) > count else vain + 1
    return tuple(architectures)


def _varied(
    architecture: Any, settings: BuildSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """Depths and a width for an architecture whose size varies."""
    stages, deepest = len(architecture.depths), settings.max_depth
    return {
        "depths": rng.integers(1, deepest + 1, size=stages).tolist(),
        "width": round(settings.width * rng.choice(_WIDTHS)),
    }


def sizes_of(
    architectures: Sequence[str], settings: BuildSettings, num_classes: int, in_chans: int
) -> dict[str, Cost]:
    """Parameters and multiply-adds of networks, by their texts.

    Raises:
        ValueError: If one cannot be built; it says why.
    """
    sizes: dict[str, Cost] = {}
    for text in architectures:
        try:
            sizes[text] = cost(text, settings.image_size, num_classes, in_chans=in_chans)
        except MemoryError:
            raise
        except FAILURES as error:
            raise ValueError(
                f"{text} cannot be built for {settings.image_size} px: {fault(error)}"
            ) from error
    return sizes


def rows_of(
    sizes: Mapping[str, Cost], outcomes: Mapping[Training, Outcome], *, seeds: int
) -> list[BuiltRow]:
    """The rows of those architectures whose trainings are all finished, in order."""
    rows = []
    for text, size in sizes.items():
        trainings = [Training(text, seed) for seed in range(seeds)]
        if all(training in outcomes for training in trainings):
            accuracies = tuple(outcomes[training].accuracy for training in trainings)
            rows.append(BuiltRow(text, size.params, size.macs, accuracies))
    return rows


def to_csv(rows: Sequence[BuiltRow], provenance: Mapping[str, str], *, seeds: int) -> str:
    """The table as a file: its provenance, then a row for each architecture.

    The mean over the seeds is the default target. Each seed is a target, too, if enough rows have
    it: rows may differ in their number of seeds, and the columns of the last ones may be empty.
    """
    tau = noise_ceiling(rows)
    ceiling = None if math.isnan(tau) else tau
    each = {
        f"accuracy_seed{seed}": [
            round(row.accuracies[seed], 3) if seed < len(row.accuracies) else math.nan
            for row in rows
        ]
        for seed in range(seeds)
    }
    counts = [len(row.accuracies) for row in rows] or [seeds]
    fewest, most = min(counts), max(counts)
    several = f"{most}" if fewest == most else f"{fewest} to {most}"
    targets = [
        Target(
            "accuracy", f"test accuracy, mean of {several} training seed(s)", "scratch", ceiling
        ),
        *(
            Target(name, "the same of one training seed", "scratch", ceiling)
            for name, cells in each.items()
            if np.isfinite(cells).sum() >= LEAST_ROWS
        ),
    ]
    columns: dict[str, Sequence[Cell]] = {
        "architecture": [row.architecture for row in rows],
        "params": [row.params for row in rows],
        "macs": [row.macs for row in rows],
        "accuracy": [round(row.mean, 3) for row in rows],
        "accuracy_std": [round(row.std, 3) for row in rows],
        **each,
    }
    return format_table({**provenance, "default_target": "accuracy"}, targets, columns)


_OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}


def how_trained(settings: BuildSettings, source: str, digest: str = "") -> dict[str, str]:
    """The lines above a table about the recipe and the images, which come from ``source``.

    Other images than fractals are known by their ``digest``, too. Users' own spaces have a line
    with digests of their code. Trainings of tables and of searches are comparable only if all of
    these lines are equal.
    """
    s = settings
    augmentation = [f"shifts of up to {s.shift} px"] * bool(s.shift) + ["mirroring"] * s.flip
    augmentation += [f"crops of {s.crop_scale:g} of the area or more"] * (s.crop_scale < 1)
    augmentation += [f"colour jitter of {s.color_jitter:g}"] * bool(s.color_jitter)
    steps = f"{s.steps} steps" + f" (times {s.paces})" * bool(s.paces)
    rate = f"{s.learning_rate:g}" + f" times {s.width}/C" * s.rate_by_width
    # The source of fractals has their seed; of other images the seed draws and parts some.
    draw = "" if are_fractals(s.images) else f", drawn with seed {s.seed}"
    fitted = "" if s.fit == "crop" else f" by --fit {s.fit}"
    draw += f", SHA-256 {digest[:16]}…" * bool(draw and digest)
    return {
        "recipe": (
            f"{_OPTIMIZERS[s.optimizer]}, {steps} of {s.batch_size} images, learning rate "
            f"{rate} ({100 * s.warmup:g}% linear warm-up, then a cosine), weight decay "
            f"{s.weight_decay:g}, label smoothing {s.label_smoothing:g}, gradient norm at most "
            f"{s.clip:g}, {' and '.join(augmentation) or 'no augmentation'}"
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


def provenance_of(
    rows: Sequence[BuiltRow],
    journal: TrainingJournal,
    settings: BuildSettings,
    *,
    command: str,
) -> dict[str, str]:
    """The lines above the table: what it is, and how to reproduce it.

    Two runs of the same command give equal lines: they have no times. Versions are those that it
    was trained with, as a finished run may be given again with others.
    """
    s, versions = settings, journal.versions or {}
    images = journal.images or {"source": s.images, "digest": ""}
    sized = f", at width C={s.width}" * s.has_width
    if s.varied:
        sized += (
            f", {100 * s.varied:g}% of them at 1 to {s.max_depth} blocks a stage and half to "
            "double C"
        )
    return {
        "title": f"{len(rows)} random architectures of space {s.space}, trained from scratch",
        "source": f"asvit {versions['asvit']}, {legible(command)}",
        **how_trained(settings, images["source"], images["digest"]),
        "accuracies": accuracies_in_words(settings.balance),
        "rows": f"{len(rows)} of {s.n}, drawn uniformly with seed {s.seed}{sized}",
        **_noise_lines(rows, s.seeds),
        "made_with": f"torch {versions['torch']}, device {journal.device}",
        "num_classes": str(journal.num_classes),
        "image_size": str(s.image_size),
        **channel_line(journal.in_chans),
    }


def _noise_lines(rows: Sequence[BuiltRow], seeds: int) -> dict[str, str]:
    """The lines about spread and noise, as far as rows and seeds tell of them."""
    deviation, ceiling = spread(rows), noise_ceiling(rows)
    best, lines = reachable(ceiling, seeds), dict[str, str]()
    if math.isfinite(deviation.between):
        lines["spread"] = (
            f"standard deviation {deviation.between:.2f} points between architectures"
        )
    if math.isfinite(deviation.within):
        lines["spread"] += f", {deviation.within:.2f} between training seeds"
    if math.isfinite(ceiling):
        lines["noise"] = f"tau between two training seeds {ceiling:.3f}"
    if math.isfinite(best):
        lines["noise"] += (
            f"; of the expected accuracies with the mean over the seeds about {best:.3f}"
        )
    return lines


def channel_line(in_chans: int) -> dict[str, str]:
    """The line above a table about the channels of its images; none for those of pictures."""
    return {} if in_chans == 3 else {"in_chans": str(in_chans)}
