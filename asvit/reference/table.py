"""Reference tables: architectures and their accuracies after training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from proxies.messages import hint
from proxies.text import shown

if TYPE_CHECKING:
    from torch import nn

Training = Literal["scratch", "distilled", "inherited", "unknown"]

#: Fewer rows than this cannot be ranked meaningfully.
LEAST_ROWS = 5

_SEED = re.compile(r"(.+)_seed\d+")


def seed_of(column: str) -> str:
    """The target that a column has a single training seed of; empty where it has none."""
    match = _SEED.fullmatch(column)
    return match[1] if match else ""


@dataclass(frozen=True)
class Target:
    """One column of accuracies."""

    name: str  # its column
    description: str  # what was trained on what, and tested on what
    # From scratch, with a teacher, with weights inherited from a supernet, or unknown. Do not
    # compare columns of different kinds.
    training: Training
    # Kendall's tau between two training seeds, if known: how well one training ranks another. A
    # measure can rank means over seeds somewhat better.
    noise_ceiling: float | None = None


@dataclass(frozen=True)
class ReferenceTable:
    """Architectures and their accuracies, one column of accuracies per target."""

    name: str  # name of the table
    path: Path  # the file that it was read from
    digest: str  # SHA-256 of the file, in hexadecimal digits
    provenance: Mapping[str, str]  # of the file: its source, licence, recipe and so on
    num_classes: int  # number of classes of the heads that ``params`` counts
    architectures: tuple[str, ...]  # distinct canonical texts that :func:`asvit.build` takes
    image_sizes: tuple[int, ...]  # side in pixels of the images that each row was trained on
    # Exact parameter counts; None if the file has none and they were not counted.
    params: tuple[int, ...] | None
    macs: tuple[int, ...] | None  # multiply-adds for such an image; None if the file has none
    targets: Mapping[str, Target]  # by name
    # Name of a target, or of a training seed of one (``NAME_seed0``) -> one accuracy per row in
    # per cent, or NaN.
    accuracies: Mapping[str, tuple[float, ...]]
    default_target: str  # the name of the target to use by default
    # Count -> its value of each row at that image size and with these classes, or NaN: ``params``,
    # ``macs``, ``depth`` and others. Only of tables that come with asvit: others may have been
    # counted by other rules.
    counts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    in_chans: int = 3  # channels of the images that the rows were trained on

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def shipped(self) -> bool:
        """Whether it comes with asvit; files of others may have the same names."""
        return self.path.parent == Path(__file__).parent

    def target(self, name: str | None = None) -> Target:
        """The target of that name, or the default one; ValueError if there is none."""
        key = self.default_target if name is None else name
        if key not in self.targets:
            raise ValueError(
                f"reference {self.name} has no target {shown(key)}; {hint(key, self.targets)}"
            )
        return self.targets[key]

    def build(self, row: int, image_size: int | None = None) -> nn.Module:
        """The freshly initialised network of a row, from 0, with the table's number of classes.

        Args:
            row: Its index, from 0.
            image_size: Side of the images in pixels; the row's own by default.
        """
        from asvit.spaces import build

        side = self.image_sizes[row] if image_size is None else image_size
        return build(self.architectures[row], side, self.num_classes, in_chans=self.in_chans)
