"""Images that are no 8-bit pictures: TIFF of any bands and numbers, NPY, NPZ, PNG of 16 bits.

Nothing is cut or scaled: an array has the numbers of its file, ``[H, W, C]``.
"""

import re
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
    from tifffile import TiffFile, TiffPage

#: The largest array that is read, as stored or as float32.
MOST_BYTES: Final = 2_000_000_000

_EXTRA: Final = "images"  # has the library of most codecs
_SNIFFED: Final = 512  # bytes at the start of a file that tell its format
_NPY, _ZIP, _PNG = b"\x93NUMPY", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A gap of one character at a time: "\s+" in a repeated group takes exponential time to fail.
_GAP: Final = rb"(?:\s|#[^\n]*\n)+"
_PNM: Final = re.compile(rb"P[2356]%b\d+%b\d+%b(\d+)\s" % (_GAP, _GAP, _GAP))

_PNG_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type

# Of TIFF: photometric interpretations that are colours -> their samples, and kinds of pages.
_COLOURS: Final = {2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
_REDUCED, _MASK = 1, 4
_SIDEWAYS: Final = 5  # orientations from here on are transposed
_ORIENTATION: Final = 274


@dataclass(frozen=True)
class Stored:
    """What the header of a file says of the array in it, and how to read that."""

    height: int
    width: int
    channels: int
    dtype: str
    read: Callable[[], Array]  # while the file is open

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
        array = self.read()
        shape = (self.height, self.width, self.channels)
        if array.shape != shape or array.dtype.name != self.dtype:
            raise ValueError(
                f"its content is {array.dtype} of shape {array.shape}, not {self.dtype} of {shape}"
            )
        if array.dtype.kind == "f":
            _check_finite(array, "NaN or infinite")
        if array.dtype == np.float64:
            with np.errstate(over="ignore"):
                single = array.astype(np.float32)
            _check_finite(single, "beyond the 3.4e38 that float32 holds")
        return array


def _check_finite(array: Array, fault: str) -> None:
    wrong = ~np.isfinite(array)
    if wrong.any():
        channel = 1 + int(np.flatnonzero(wrong.any(axis=(0, 1)))[0])  # as reports count them
        raise ValueError(
            f"{int(wrong.sum())} of its numbers are {fault}, some in channel {channel}; replace "
            "them, such as by the mean"
        )


@contextmanager
def stored_array(file: IO[bytes]) -> Iterator[Stored | None]:
    """The array of an open file; None where it is an 8-bit picture, or no image.

    Raises:
        ValueError: If the array is not one of an image.
    """
    start = file.read(_SNIFFED)
    file.seek(0)
    if start.startswith(_TIFF):
        with _tiff(file) as stored:
            yield stored
    elif start.startswith(_NPY):
        yield _npy(file)
    elif start.startswith(_ZIP):
        with _npz(file) as stored:
            yield stored
    elif start.startswith(_PNG):
        yield _png(file, start)
    else:
        _refuse_deep_pnm(start)
        yield None


# NPY and NPZ.


def _npy(file: IO[bytes]) -> Stored:
    """The array of an NPY file, which is never unpickled."""
    headers: dict[tuple[int, int], Callable[..., tuple[Any, bool, Any]]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with _one_line():
        version = np.lib.format.read_magic(file)
        shape, _, dtype = headers[version](file)
    axis = channel_axis(shape)
    channels = 1 if axis is None else shape[axis]
    height, width = shape[1:] if axis == 0 else shape[:2]

    def read() -> Array:
        file.seek(0)
        with _one_line():
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
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


@contextmanager
def _npz(file: IO[bytes]) -> Iterator[Stored]:
    """The only array of an NPZ file."""
    with _one_line():
        archive = zipfile.ZipFile(file)
    with archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if len(names) != 1:
            raise ValueError(
                f"it has the arrays {listed(names) or 'none'}; use files of one array"
            )
        with _one_line():
            member = archive.open(archive.namelist()[0])
        with member:
            yield _npy(member)


# PNG and PNM.


def _png(file: IO[bytes], start: bytes) -> Stored | None:
    """The array of a PNG file of 16 bits, with its alpha, if it has one, as a channel."""
    depth, colour = start[24:25], start[25:26]
    if depth != b"\x10" or colour[0] not in _PNG_CHANNELS:
        return None
    width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
    channels = _PNG_CHANNELS[colour[0]]
    if channels > 1 and not find_spec("imagecodecs"):  # Pillow would cut it to 8 bits
        raise missing("reading PNG files of 16 bits with several channels", "imagecodecs", _EXTRA)

    def read() -> Array:
        with _one_line():
            if channels == 1:
                return _by_pillow(file, "PNG")
            from imagecodecs import png_decode

            decoded: Array = png_decode(file.read())
            return decoded

    return Stored(height, width, channels, "uint16", read)


def _refuse_deep_pnm(start: bytes) -> None:
    """Raise a ValueError for PGM and PPM files of 16 bits, whose numbers Pillow cuts or scales."""
    match = _PNM.match(start)
    if match is not None and int(match[1]) > 255:
        raise ValueError("it has 16 bits a number, which PGM and PPM are not read with; use PNG")


# TIFF.


@contextmanager
def _tiff(file: IO[bytes]) -> Iterator[Stored | None]:
    """The array of a TIFF file: the bands of its pages, one page after another.

    Smaller copies of pages, and masks, do not count. Of other files that it names none is opened.
    """
    from tifffile import TiffFile

    with _one_line():
        tiff = TiffFile(file, is_ome=False, _multifile=False)
    with tiff:
        with _one_line():
            pages = _full_pages(tiff)
            described = (tiff.imagej_metadata or {}).get("images", 0) if tiff.is_imagej else 0
        if not pages:
            raise ValueError("it has no page of full size")
        if len(pages) <= MOST_CHANNELS and described > len(pages):
            raise ValueError(
                f"it is an ImageJ stack of {described} images with {len(pages)} page(s); save "
                "each image as a page"
            )
        with _one_line():
            colours = _is_picture(pages)
        yield None if colours else _of_pages(pages, file)
        file.seek(0)


def _full_pages(tiff: "TiffFile") -> "list[TiffPage]":
    """The pages of full size of a TIFF file, no more than one too many."""
    pages = []
    for page in tiff.pages:
        full = page.aspage()
        if full.subfiletype & (_REDUCED | _MASK):
            continue
        pages.append(full)
        if len(pages) > MOST_CHANNELS:
            break
    return pages


def is_page_of_8_bits(file: IO[bytes]) -> bool:
    """Whether an open file is a TIFF of one page with numbers of 8 bits at most.

    Pillow reads such a page as a picture: grey, black and white, or with an alpha channel, too.
    """
    start = file.read(4)
    file.seek(0)
    if start not in _TIFF:
        return False
    from tifffile import TiffFile

    try:
        with _one_line(), TiffFile(file, is_ome=False, _multifile=False) as tiff:
            pages = _full_pages(tiff)
            return len(pages) == 1 and pages[0].bitspersample <= 8 and pages[0].sampleformat == 1
    except ValueError:  # reading it says what is wrong
        return False
    finally:
        file.seek(0)


def _is_picture(pages: "list[TiffPage]") -> bool:
    """Whether a TIFF file is an 8-bit picture: one page of RGB, palette, CMYK, YCbCr or CIELab."""
    page = pages[0]
    samples = _COLOURS.get(int(page.photometric), 0) if page.photometric is not None else 0
    bits = page.bitspersample
    few = bits == 8 or (bits in (1, 2, 4) and int(page.photometric) == 3)
    return len(pages) == 1 and few and samples == page.samplesperpixel and page.sampleformat == 1


def _of_pages(pages: "list[TiffPage]", file: IO[bytes]) -> Stored:
    """The bands of pages of one size and one type of numbers."""
    first = pages[0]
    if first.bitspersample == 1:
        raise ValueError("it has 1 bit a pixel; use 8 or 16 bits, or floating-point numbers")
    forms = {(page.imagelength, page.imagewidth, page.samplesperpixel) for page in pages}
    kinds = {_type_of(page) for page in pages}
    if len(forms) > 1 or len(kinds) > 1:
        sizes = sorted(f"{w} x {h} x {bands}" for h, w, bands in forms)
        raise ValueError(
            f"its pages differ: {listed(sizes)} of {listed(sorted(kinds))}; save those of the "
            "image alone"
        )
    if any(page.imagedepth > 1 for page in pages):
        raise ValueError("it has volumes; save each of their layers as a page")
    height, width, bands = forms.pop()
    alone = len(pages) == 1 and bands == 1
    unread = _lacking_codec(first)
    if unread and not alone:
        raise missing(f"reading TIFF files with {unread}", "imagecodecs", _EXTRA)

    def read() -> Array:
        with _one_line():
            if unread:  # Pillow turns it, widens int16 and inverts 8 bits whose 0 is white
                array = _by_pillow(file, "TIFF").astype(_type_of(first))
                return 255 - array if first.photometric == 0 and array.dtype == np.uint8 else array
            array = np.concatenate([_bands(page) for page in pages], axis=-1)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return _upright(array, first)

    sides = (width, height) if _orientation(first) >= _SIDEWAYS else (height, width)
    return Stored(*sides, bands * len(pages), kinds.pop(), read)


def _type_of(page: "TiffPage") -> str:
    if page.dtype is None:
        return f"{page.bitspersample} bits of format {page.sampleformat}"
    return page.dtype.name


def _bands(page: "TiffPage") -> Array:
    """The pixels of a page, ``[H, W, bands]``."""
    array = page.asarray()
    if page.samplesperpixel == 1:
        return array.reshape(page.imagelength, page.imagewidth, 1)
    separate = page.planarconfig is not None and int(page.planarconfig) == 2
    return np.moveaxis(array, 0, -1) if separate else array


def _lacking_codec(page: "TiffPage") -> str:
    """What of the compression of a page needs a library that is not installed, or nothing."""
    from tifffile import TIFF

    try:
        _ = TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1:
            _ = TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        return f"compression {getattr(page.compression, 'name', page.compression)}"
    return ""


def _by_pillow(file: IO[bytes], form: str) -> Array:
    """The pixels of a file of one channel, of which Pillow cuts none."""
    file.seek(0)
    with Image.open(file, formats=(form,)) as image:
        return np.asarray(image)[..., None]


def _orientation(page: "TiffPage") -> int:
    tag = page.tags.get(_ORIENTATION)
    value = 1 if tag is None else tag.value
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(array: Array, page: "TiffPage") -> Array:
    """An array turned as the orientation of its page says."""
    orientation = _orientation(page)
    if orientation >= _SIDEWAYS:
        array = array.swapaxes(0, 1)
    # Which axes are mirrored then.
    rows = orientation in (3, 4, 7, 8)
    columns = orientation in (2, 3, 6, 7)
    array = array[::-1] if rows else array
    return array[:, ::-1] if columns else array


@contextmanager
def _one_line() -> Iterator[None]:
    """Raise what a library finds wrong with a file as a ValueError of one line."""
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # libraries raise nearly anything on damaged files
        raise ValueError(first_line(error)) from error
