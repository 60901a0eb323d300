"""What every labelled set of images offers: pictures by number, with labels known beforehand."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

# Called with (done, total) as images are made or read.
Progress = Callable[[int, int], None]
Transform = Callable[[Image.Image], Any]

# What Pillow and the formats' readers raise on files that are not the images they claim to be.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)


class LabelledImages(Dataset[tuple[Any, int]]):
    """Images with labels: ``dataset[i]`` is (picture, label), as torchvision's datasets give it.

    Attributes:
        source: What this is, in words, for provenance.
        classes: Name of each label.
        labels: Label of each image, known without reading one, ``[len(self)]``.
        transform: Applied to each RGB picture by ``dataset[i]``; None gives the picture itself.
    """

    def __init__(
        self,
        source: str,
        classes: tuple[str, ...],
        labels: NDArray[np.int64],
        *,
        transform: Transform | None = None,
    ) -> None:
        self.source = source
        self.classes = classes
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if not -len(self) <= index < len(self):  # also what ends a for loop over the dataset
            raise IndexError(f"image {index} of {len(self)}: {self.source}")
        index %= len(self)
        picture = self.picture(index)
        label = int(self.labels[index])
        return (picture if self.transform is None else self.transform(picture)), label

    def picture(self, index: int) -> Image.Image:
        """Return image ``index``, from 0 to ``len(self) - 1``, as RGB.

        Raises:
            ValueError: If it cannot be read; the message names it.
        """
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Return what image ``index`` is called within the set, for messages and counts."""
        return f"image {index}"
