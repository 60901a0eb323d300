"""Images that are no 8-bit pictures: TIFF of any bands and numbers, NPY, NPZ, PNG of 16 bits.

Nothing is cut or scaled: an array has the numbers of its file, ``[H, W, C]``.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from asvit.core.versions import missing
from asvit.data.kinds import MOST_CHANNELS, NUMBERS, Array
from proxies.messages import first_line
from proxies.text import listed, shown

if TYPE_CHECKING:
    from tifffile import TiffPage

#: The largest array that is read, as stored or as float32.
MOST_BYTES: Final = 2_000_000_000

_SNIFFED: Final = 26  # bytes at the start of a file that tell its format
_NPY, _ZIP, _PNG = b"\x93NUMPY", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type

# Of TIFF: photometric interpretations that are colours -> their samples, and kinds of pages.
_COLOURS: Final = {2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
_REDUCED, _MASK = 1, 4
_ORIENTATION: Final = 274
_SIDEWAYS: Final = 5  # orientations from here on are transposed


@dataclass(frozen=True)
class Stored:
    """What the header of a file says of the array in it, and how to read that."""

    height: int
    width: int
    channels: int
    dtype: str
    read: Callable[[], Array]  # while the file is open
    pillow: bool = False  # whether Pillow has the same numbers as those of a grey picture

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"it has {self.width} x {self.height} pixels")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise ValueError(
                f"it has {self.channels} channels; an image has 1 to {MOST_CHANNELS}, so choose "
                "some"
            )
        if self.dtype not in NUMBERS:
            raise ValueError(f"its numbers are {shown(self.dtype)}; use {', '.join(NUMBERS)}")
        most = MOST_BYTES // max(np.dtype(self.dtype).itemsize, 4)
        if self.height * self.width * self.channels > most:
            raise ValueError(
                f"it has more than {most // 10**6} million numbers; use a smaller copy"
            )

    def array(self) -> Array:
        """Its numbers ``[H, W, C]``.

        Raises:
            ValueError: If they are not as the header says, or float32 holds no finite ones.
        """
        with _one_line():
            array = self.read()
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        shape = (self.height, self.width, self.channels)
        if array.shape != shape or array.dtype.name != self.dtype:
            raise ValueError(
                f"its content is {array.dtype} of shape {array.shape}, not {self.dtype} of {shape}"
            )
        if array.dtype.kind == "f":
            _check_finite(array)
        return array


def _check_finite(array: Array) -> None:
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(array.astype(np.float32))
    if wrong.any():
        channel = 1 + int(np.flatnonzero(wrong.any(axis=(0, 1)))[0])  # as reports count them
        raise ValueError(
            f"{int(wrong.sum())} of its numbers are NaN, infinite or beyond the 3.4e38 that "
            f"float32 holds, some in channel {channel}; replace them, such as by the mean"
        )


def stored_array(file: IO[bytes]) -> Stored | None:
    """The array of an open file; None where it is an 8-bit picture, or no image.

    Raises:
        ValueError: If the array is not one of an image.
    """
    start = file.read(_SNIFFED)
    file.seek(0)
    with _one_line():
        if start.startswith(_TIFF):
            return _tiff(file)
        if start.startswith(_NPY):
            return _npy(file)
        if start.startswith(_ZIP):
            return _npz(file)
        if start.startswith(_PNG):
            return _png(file, start)
    return None


def _npy(file: IO[bytes]) -> Stored:
    """The array of an NPY file, which is never unpickled."""
    headers: dict[tuple[int, int], Callable[..., tuple[Any, bool, Any]]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    shape, _, dtype = headers[version](file)
    axis = channel_axis(shape)
    channels = 1 if axis is None else shape[axis]
    height, width = shape[1:] if axis == 0 else shape[:2]

    def read() -> Array:
        file.seek(0)
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array[..., None] if axis is None else np.moveaxis(array, axis, -1)

    return Stored(height, width, channels, dtype.name, read)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of an array that has the channels, 0 or 2; None for one of two axes.

    It is the first or the last, whichever is shorter than both other axes.

    Raises:
        ValueError: If neither is, or there are other numbers of axes.

    Example:
        >>> channel_axis((5, 64, 48)), channel_axis((64, 48, 5)), channel_axis((64, 48))
        (0, 2, None)
    """
    if len(shape) == 2:
        return None
    if len(shape) != 3:
        raise ValueError(
            f"it has the shape {shown(shape)}; use [H, W], [H, W, channels] or [channels, H, W]"
        )
    first, middle, last = shape
    if first < min(middle, last):
        return 0
    if last < min(first, middle):
        return 2
    raise ValueError(
        f"its shape {shown(shape)} does not tell which axis has the channels, as neither the "
        "first nor the last is shorter than both others; save it as TIFF"
    )


def _npz(file: IO[bytes]) -> Stored:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if len(names) != 1:
        raise ValueError(f"it has the arrays {listed(names) or 'none'}; use files of one array")
    return _npy(archive.open(names[0]))


def _png(file: IO[bytes], start: bytes) -> Stored | None:
    """The array of a PNG file of 16 bits, with its alpha, if it has one, as a channel."""
    depth, colour = start[24], start[25]
    if depth != 16 or colour not in _PNG_CHANNELS:
        return None
    width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
    channels = _PNG_CHANNELS[colour]
    if channels > 1 and not find_spec("imagecodecs"):  # Pillow would cut it to 8 bits
        raise missing(
            "reading PNG files of 16 bits with several channels", "imagecodecs", "images"
        )

    def read() -> Array:
        if channels == 1:
            with Image.open(file, formats=("PNG",)) as image:
                return np.asarray(image)[..., None]
        from imagecodecs import png_decode

        decoded: Array = png_decode(file.read())
        return decoded

    return Stored(height, width, channels, "uint16", read)


def _tiff(file: IO[bytes]) -> Stored | None:
    """The array of a TIFF file: the bands of its pages, one page after another.

    Smaller copies of pages, and masks, do not count. Of other files that it names none is opened.
    """
    from tifffile import TiffFile

    pages = list["TiffPage"]()
    for page in TiffFile(file, is_ome=False, _multifile=False).pages:
        full = page.aspage()
        if not full.subfiletype & (_REDUCED | _MASK):
            pages.append(full)
        if len(pages) > MOST_CHANNELS:
            break
    file.seek(0)
    if not pages:
        raise ValueError("it has no page of full size")
    first = pages[0]
    if len(pages) == 1 and _is_picture(first):
        return None
    forms = {(page.imagelength, page.imagewidth, page.samplesperpixel) for page in pages}
    kinds = {_type_of(page) for page in pages}
    if len(forms) > 1 or len(kinds) > 1:
        sizes = sorted(f"{w} x {h} x {bands}" for h, w, bands in forms)
        raise ValueError(
            f"its pages differ: {listed(sizes)} of {listed(sorted(kinds))}; save those of the "
            "image alone"
        )
    if first.imagedepth > 1:
        raise ValueError("it has volumes; save each of their layers as a page")
    height, width, bands = forms.pop()
    tag = first.tags.get(_ORIENTATION)
    orientation = 1 if tag is None else tag.value

    def read() -> Array:
        return _upright(np.concatenate([_bands(page) for page in pages], axis=-1), orientation)

    sides = (width, height) if orientation in range(_SIDEWAYS, 9) else (height, width)
    dtype = kinds.pop()
    plain = len(pages) == 1 and dtype == "uint8"
    return Stored(*sides, bands * len(pages), dtype, read, pillow=plain)


def _is_picture(page: "TiffPage") -> bool:
    """Whether a page is a picture: of 1 bit, a palette, or 8-bit RGB, CMYK, YCbCr or CIELab."""
    if page.bitspersample == page.samplesperpixel == 1:
        return True
    colours = int(page.photometric) if page.photometric is not None else -1
    few = page.bitspersample == 8 or (colours == 3 and page.bitspersample in (1, 2, 4))
    return few and page.samplesperpixel == _COLOURS.get(colours) and page.sampleformat == 1


def _type_of(page: "TiffPage") -> str:
    if page.dtype is None:
        return f"{page.bitspersample} bits of format {page.sampleformat}"
    return page.dtype.name


def _bands(page: "TiffPage") -> Array:
    array = page.asarray()
    if page.samplesperpixel == 1:
        return array.reshape(page.imagelength, page.imagewidth, 1)
    separate = page.planarconfig is not None and int(page.planarconfig) == 2
    return np.moveaxis(array, 0, -1) if separate else array


def _upright(array: Array, orientation: int) -> Array:
    """An array turned as an orientation says, whose rows and columns are mirrored in some."""
    array = array.swapaxes(0, 1) if orientation in range(_SIDEWAYS, 9) else array
    array = array[::-1] if orientation in (3, 4, 7, 8) else array
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array


@contextmanager
def _one_line() -> Iterator[None]:
    """Raise what a library finds wrong with a file as a ValueError of one line."""
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # libraries raise nearly anything on damaged files
        raise ValueError(first_line(error)) from error
