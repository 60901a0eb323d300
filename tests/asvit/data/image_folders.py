"""Folders of tiny images, for tests of what reads them."""

import struct
from pathlib import Path

from PIL import Image


def fill(folder: Path, **counts: int) -> Path:
    """Class folders with so many images of 8 × 8 pixels; red is the number, green the class."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (8, 8), (number, label, 0))
            image.save(folder / name / f"{number:03d}.png")
    return folder


def write_image(path: Path, colour: tuple[int, int, int] = (10, 20, 30)) -> Path:
    """An image of 12 × 9 pixels, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), colour).save(path)
    return path


def write_mnist(folder: Path, part: str, pixels: bytes, labels: bytes) -> None:
    """A part of MNIST, ``train`` or ``t10k``, in the format of its own files."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">IIII", 0x803, len(labels), 28, 28)
    (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels)
    head = struct.pack(">II", 0x801, len(labels))
    (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels)
