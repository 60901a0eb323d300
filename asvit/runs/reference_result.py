"""The result of building a reference table: as result.json, and as the lines above the table."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.reference.build import Row, Spread, noise_ceiling, reachable, spread
from asvit.reference.journal import Journal
from asvit.reference.recipe import BuildSettings
from asvit.runs.provenance import changed_options, versions
from asvit.runs.result_file import write_result

SCHEMA_VERSION = 1
KIND = "reference"


@dataclass(frozen=True)
class BuildResult:
    """A reference table that was built.

    Attributes:
        folder: Run folder.
        table: The table, a CSV file in it.
        rows: The architectures, in the order in which they were drawn.
        failures: Why a training failed, by ``ARCHITECTURE, seed N``.
        num_classes: Classes of the images.
        wall_seconds: Wall-clock time of all sessions.
        training_seconds: Sum over all trainings.
        settings: Settings of the table.
        provenance: Image source and digest, device, versions and the command.
        next_command: What to type next.
    """

    folder: Path
    table: Path
    rows: Sequence[Row]
    failures: Mapping[str, str]
    num_classes: int
    wall_seconds: float
    training_seconds: float
    settings: BuildSettings
    provenance: Mapping[str, Any]
    next_command: str

    @property
    def noise_ceiling(self) -> float:
        """See :func:`asvit.reference.build.noise_ceiling`."""
        return noise_ceiling(self.rows)

    @property
    def reachable(self) -> float:
        """What a measure could reach on the means; see :func:`asvit.reference.build.reachable`."""
        return reachable(self.noise_ceiling, self.settings.seeds)

    @property
    def spread(self) -> Spread:
        """See :class:`asvit.reference.build.Spread`."""
        return spread(self.rows)

    def to_json(self) -> dict[str, Any]:
        """The content of result.json, in the types of strict JSON: None for NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "space": self.settings.space,
            "table": str(self.table),
            "noise_ceiling": _finite(self.noise_ceiling),
            "reachable": _finite(self.reachable),
            "spread": {name: _finite(value) for name, value in vars(self.spread).items()},
            "rows": [
                {
                    "architecture": row.architecture,
                    "params": row.params,
                    "macs": row.macs,
                    "accuracy": _finite(row.mean),
                    "accuracies": [_finite(value) for value in row.accuracies],
                }
                for row in self.rows
            ],
            "failures": dict(self.failures),
            "num_classes": self.num_classes,
            "wall_seconds": round(self.wall_seconds, 3),
            "training_seconds": round(self.training_seconds, 3),
            "settings": self.settings.to_json(),
            **self.provenance,
            "next_command": self.next_command,
        }

    def write(self, path: Path) -> None:
        """Write result.json at ``path`` as a whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        write_result(path, self.to_json())


def command_of(settings: BuildSettings, out: Path | str | None = None) -> str:
    """The command line that gives this run."""
    words = changed_options(settings, BuildSettings())
    words = [word for word in words if word != str(True)]  # --flip alone says it
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "reference", "build", *words])


def provenance_of(
    rows: Sequence[Row], settings: BuildSettings, journal: Journal
) -> dict[str, str]:
    """The lines above the table: what it is and how to have it again.

    Nothing that differs between two runs of the same command is in it, such as times.
    """
    s = settings
    used, apart, ceiling = versions(), spread(rows), noise_ceiling(rows)
    images = s.images if journal.images is None else journal.images["source"]
    return {
        "title": f"{len(rows)} random architectures of space {s.space}, trained from scratch",
        "source": f"asvit {used['asvit']}, {command_of(s)}",
        "recipe": f"{_recipe_in_words(s)}; the same for all",
        "images": (
            f"{images}; {s.image_size} px, {s.train_images} to train on and {s.test_images} "
            "others to test on"
        ),
        "accuracies": "top-1 on the test images after the last step, per cent",
        "rows": f"{len(rows)} of {s.n}, drawn uniformly with seed {s.seed}, at width C={s.width}",
        "spread": (
            f"standard deviation {apart.between:.2f} points between architectures, "
            f"{apart.within:.2f} between training seeds"
        ),
        "noise": (
            f"tau between two training seeds {ceiling:.3f}; of the expected accuracies with the "
            f"mean over the seeds about {reachable(ceiling, s.seeds):.3f}"
        ),
        "made_with": f"torch {used['torch']}, device {journal.device}",
        "num_classes": str(journal.num_classes),
        "image_size": str(s.image_size),
    }


def _recipe_in_words(s: BuildSettings) -> str:
    moved = [f"shifts of up to {s.shift} px"] if s.shift else []
    mirrored = ["mirroring"] if s.flip else []
    return (
        f"AdamW, {s.steps} steps of {s.batch_size} images, learning rate {s.learning_rate:g} "
        f"({s.warmup:.0%} linear warm-up, then a cosine), weight decay {s.weight_decay:g}, "
        f"label smoothing {s.label_smoothing:g}, gradient norm at most {s.clip:g}, "
        f"{' and '.join(moved + mirrored) or 'no augmentation'}"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
