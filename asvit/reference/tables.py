"""Reference tables: architectures with the accuracies that they were trained to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from asvit._files import expanded
from asvit._text import hint

if TYPE_CHECKING:
    from torch import nn

Training = Literal["scratch", "distilled", "inherited", "unknown"]

#: Fewer rows than this have no ranking to speak of.
LEAST_ROWS = 5

#: The tables that come with asvit: name -> what is in it, in one line.
REFERENCES: Mapping[str, str] = {
    "vitbench101-pit": "100 PiT of ViT-Bench-101 on CIFAR-100, Flowers and Chaoyang",
    "vitbench101-autoformer": "100 AutoFormer of ViT-Bench-101 on CIFAR-100, Flowers and Chaoyang",
    "timm-in1k": "197 timm models trained on ImageNet-1k alone, each by its own recipe",
    "asvit-fractal": "60 As-ViT topologies on 20 classes of fractals, three training seeds each",
}


@dataclass(frozen=True)
class Target:
    """One column of accuracies.

    Attributes:
        name: Its column.
        description: What was trained on what, and tested on what.
        training: From scratch; with a teacher; with weights inherited from a supernet; or not
            known. Columns of different kinds do not mix.
        noise_ceiling: Kendall's tau between two training seeds, where it is known: how well one
            training ranks another. A measure can rank means over seeds somewhat better.
    """

    name: str
    description: str
    training: Training
    noise_ceiling: float | None = None


@dataclass(frozen=True)
class ReferenceTable:
    """Architectures and their accuracies, one column of accuracies a target.

    Attributes:
        name: How the table is called.
        path: Where it was read.
        digest: SHA-256 of the file, in hexadecimal digits.
        provenance: What the file says of its source, licence, recipe and so on.
        num_classes: Classes of the heads that ``params`` counts.
        architectures: Canonical texts that :func:`asvit.build` takes; each once.
        image_sizes: Side in pixels of the images that each row was trained on.
        params: Exact parameter counts; None if the file has none and they were not counted.
        macs: Multiply-adds of one image of that side as the file has them, None if it does not.
        targets: Name -> what the column is.
        accuracies: Name of a target -> one accuracy per row in per cent, NaN where there is none.
        default_target: What is meant where no target is named.
    """

    name: str
    path: Path
    digest: str
    provenance: Mapping[str, str]
    num_classes: int
    architectures: tuple[str, ...]
    image_sizes: tuple[int, ...]
    params: tuple[int, ...] | None
    macs: tuple[int, ...] | None
    targets: Mapping[str, Target]
    accuracies: Mapping[str, tuple[float, ...]]
    default_target: str

    def __len__(self) -> int:
        return len(self.architectures)

    def target(self, name: str | None = None) -> Target:
        """The target of that name, or the default one.

        Raises:
            ValueError: If there is none of that name; the message has the nearest one.
        """
        wanted = self.default_target if name is None else name
        if wanted not in self.targets:
            raise ValueError(
                f"reference {self.name} has no target {wanted!r}; {hint(wanted, self.targets)}"
            )
        return self.targets[wanted]

    def build(self, row: int, image_size: int | None = None) -> nn.Module:
        """The network of a row, freshly initialised, with as many classes as the table's.

        Args:
            row: Its place, from 0.
            image_size: Side of the images in pixels; the row's own by default.

        Raises:
            ValueError: If the network cannot take images of that size.
            IndexError: If there is no such row.
        """
        from asvit.spaces import build

        side = self.image_sizes[row] if image_size is None else image_size
        return build(self.architectures[row], side, self.num_classes)


def load_reference(name_or_path: str | Path, *, check: bool = True) -> ReferenceTable:
    """Read a reference table: one of :data:`REFERENCES`, or a CSV file of one's own.

    Every row of a file of one's own is built on the meta device, about 0.1 s each, so that what
    cannot be built is reported before anything is measured. The tables that come with asvit were
    checked when they were made.

    Args:
        name_or_path: Name of a table, or path of a CSV file as described in docs/reference.md.
        check: Whether to build the rows of a file of one's own.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If the file does not hold such a table; one line that names the file, the line,
            the value and what would be right.
    """
    from asvit.reference.reading import read_reference

    if str(name_or_path) in REFERENCES:
        name = str(name_or_path)
        return read_reference(_shipped(name), name=name, shipped=True, check=False)
    path = expanded(str(name_or_path))
    if not path.exists():
        raise FileNotFoundError(
            f"no reference table {str(name_or_path)!r}; {hint(str(name_or_path), REFERENCES)}, "
            "or the path of a CSV file"
        )
    return read_reference(path, name=path.stem, shipped=False, check=check)


def _shipped(name: str) -> Path:
    return Path(__file__).parent / f"{name.replace('-', '_')}.csv"
