"""Reference tables by name, and from files."""

from __future__ import annotations

from pathlib import Path

from asvit._files import expanded
from asvit.reference.reading import read_reference
from asvit.reference.table import ReferenceTable
from proxies.messages import hint, legible, shown
from proxies.registry import Registry

#: The tables that come with asvit: name -> what is in it, in one line.
REFERENCES: Registry[str] = Registry(
    "reference table",
    {
        "vitbench101-pit": "100 PiT of ViT-Bench-101 on CIFAR-100, Flowers and Chaoyang",
        "vitbench101-autoformer": "100 AutoFormer of ViT-Bench-101 on the same three",
        "timm-in1k": "197 timm models trained on ImageNet-1k alone, each by its own recipe",
        "asvit-fractal": "60 As-ViT topologies on 20 classes of fractals, three seeds each",
    },
)


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
    if str(name_or_path) in REFERENCES:
        name = str(name_or_path)
        return read_reference(_shipped(name), name=name, shipped=True, check=False)
    text = str(name_or_path)
    path = expanded(text)
    if not path.exists():
        raise FileNotFoundError(
            f"no reference table {shown(text)}; {hint(text, REFERENCES)}, "
            "or the path of a CSV file"
        )
    return read_reference(path, name=legible(path.stem), shipped=False, check=check)


def _shipped(name: str) -> Path:
    return Path(__file__).parent / f"{name.replace('-', '_')}.csv"
