"""What the images of a set have in common: channels, type of numbers, how their files are read."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from numpy.typing import NDArray
from PIL import Image

from asvit.core.files import READINGS
from proxies.messages import unknown
from proxies.text import shown

MOST_CHANNELS: Final = 64

#: Numbers that arrays may have; they become float32, which has integers up to 2²⁴.
NUMBERS: Final = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32"),
    *("float16", "float32", "float64"),
)

RGB, GREY = READINGS

Array = NDArray[Any]  # numbers ``[H, W, C]``
Picture = Image.Image | Array  # an image as it is read: 8-bit RGB, or the numbers of a file
# A number for each channel: of pixels in [0, 1] where they have 8 bits, else as files have them.
Statistics = tuple[float, ...]

# Of ImageNet, for red, green and blue in [0, 1]; nearly all published recipes use them.
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageKind:
    """The kind of the images of a set; that of 8-bit RGB pictures by default."""

    channels: int = 3  # of an image, 1 to 64
    dtype: str = "uint8"  # of the numbers in files, one of ``NUMBERS``
    picture: bool = True  # whether images are 8-bit RGB pictures, of PIL, rather than arrays
    reading: str = ""  # how files are read, one of ``READINGS``; empty for what is in them

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise ValueError(
                f"{self.channels} channels; an image has 1 to {MOST_CHANNELS}, so choose some"
            )
        if self.dtype not in NUMBERS:
            raise ValueError(f"numbers of type {shown(self.dtype)}; use {', '.join(NUMBERS)}")
        if self.reading and self.reading not in READINGS:
            raise ValueError(unknown("reading", self.reading, READINGS))

    def __str__(self) -> str:
        if self.picture or self.reading == GREY:
            return f"8-bit {'RGB' if self.picture else 'grey'}"
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {self.dtype}"

    @property
    def scale(self) -> float:
        """What pixels are divided by before they are normalised."""
        return 255.0 if self.dtype == "uint8" else 1.0

    @property
    def stored(self) -> str:
        """The kind without its channels, as files of weights have it; empty for pictures."""
        return "" if self == PICTURES else f"{self.dtype} {self.reading}".rstrip()

    @property
    def content(self) -> Self:
        """The kind of what is read, in whatever way."""
        return replace(self, reading="")

    @classmethod
    def of(cls, stored: str, channels: int) -> Self:
        """The inverse of :attr:`stored`."""
        if not stored:
            return cls()
        dtype, _, reading = stored.partition(" ")
        return cls(channels, dtype, picture=reading == RGB, reading=reading)


PICTURES: Final = ImageKind()
#: Kinds of images that are converted as they are read.
CONVERTED: Final = {
    RGB: ImageKind(reading=RGB),
    GREY: ImageKind(1, "uint8", picture=False, reading=GREY),
}


def the_same(kinds: Iterable[tuple[str, ImageKind]], source: str) -> ImageKind:
    """The one kind of images with these names, read in any way; of none, that of pictures.

    A ValueError names an image of each of two kinds.
    """
    each = iter(kinds)
    first, kind = next(each, ("", PICTURES))
    for name, other in each:
        if other.content != kind.content:
            raise ValueError(
                f"{source} mixes kinds of images: {shown(first)} ({kind}) and {shown(name)} "
                f"({other}); use one kind, or :{RGB} after its name to take all as 8-bit RGB"
            )
    return kind


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height of an image in pixels."""
    if isinstance(picture, Image.Image):
        return picture.size
    return picture.shape[1], picture.shape[0]
