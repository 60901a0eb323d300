"""Images as they are read: 8-bit pictures by Pillow, others with every number of their files."""

import logging
import math
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from asvit.core.shared_settings import BLACK
from asvit.data.kinds import CONVERTED, GREY, PICTURES, RGB, Array, ImageKind, Picture
from proxies.messages import first_line
from proxies.text import shown

#: Formats that are decoded, whatever the name of a file: Pillow would pass others to external
#: programs, such as PostScript to Ghostscript, or cut their numbers to 8 bits without a word, as
#: of JPEG 2000 and SGI.
_USUAL: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "AVIF")
FORMATS: Final = (*_USUAL, "QOI", "PSD", "DDS", "ICO", "DIB", "PCX", "TGA")

#: Endings of files that are images: of these formats, as Pillow knows them, and of arrays.
ENDINGS = {".npy"} | {
    end for end, form in Image.registered_extensions().items() if form in FORMATS
}

#: Pixels of the largest image that is read, which take up to 2 GB.
MOST_PIXELS: Final = 120_000_000
_TOO_LARGE: Final = f"it has more than {MOST_PIXELS // 10**6} million pixels; use a smaller copy"
_LONGEST: Final = 100  # longer over shorter side, else resizing by the shorter takes gigabytes
_MOST_BYTES: Final = 2_000_000_000  # of an array, as stored or as float32

#: Exceptions of Pillow and its readers for damaged or mislabelled image files.
UNREADABLE = (
    *(OSError, SyntaxError, TypeError, ValueError, EOFError, IndexError, RuntimeError),
    *(struct.error, Image.DecompressionBombError),
)

# MOST_PIXELS raises an error instead. What else Pillow and tifffile write on the console is about
# damaged data beside the pixels, such as EXIF tags; damaged pixels are errors.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# Drawing programs store their own data and large colour profiles in PNG files, compressed: Pillow
# refuses more than 1 MB of each, and more than 64 MB in all.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


@contextmanager
def naming(image: str) -> Iterator[None]:
    """Raise errors of reading an image as a ValueError or MemoryError that names it."""
    try:
        yield
    except UNREADABLE as error:
        raise ValueError(f"cannot read {image}: {first_line(error)}") from error
    except MemoryError as error:
        raise MemoryError(f"reading {image}") from error


def read_image(path: Path) -> Image.Image:
    """Read any image file as 8-bit RGB, the right way up; a ValueError names a bad one."""
    return cast("Image.Image", read_as(path, CONVERTED[RGB]))


def read_as(path: Path, kind: ImageKind, ground: str | None = BLACK) -> Picture:
    """Read an image file, the right way up; a ValueError names one that is not of this kind.

    A transparent picture is laid over ``ground``, one of ``GROUNDS``; None leaves it transparent,
    as RGBA or LA.
    """
    with naming(f"image {str(path)!r}"), path.open("rb") as file:
        return read_open(file, kind, ground)


def check_as(path: Path, kind: ImageKind) -> None:
    """Read the header of an image file; a ValueError names one that is not of this kind."""
    with naming(f"image {str(path)!r}"), path.open("rb") as file:
        _opened(file, kind)


def read_open(file: IO[bytes], kind: ImageKind, ground: str | None = BLACK) -> Picture:
    """The image in an open file, which has to be of this kind; ``ground`` as of read_as."""
    image = _opened(file, kind)
    return image.array() if isinstance(image, _Stored) else as_kind(image, kind, ground)


def _opened(file: IO[bytes], wanted: ImageKind) -> "_Stored | Image.Image":
    """The image in an open file, of which the header has been read, of a kind that is checked.

    Where pictures are wanted, a TIFF file that is an array elsewhere will do, as a grey one.
    """
    stored = None if wanted.reading == RGB else _stored_array(file)
    by_pillow = wanted.picture or wanted.reading == GREY
    if stored is None or (by_pillow and stored.pillow):
        image = open_image(file)  # or what is wrong with a file of no image
        if by_pillow:
            return image
    elif stored.kind == wanted:
        return stored
    raise ValueError(f"it is {PICTURES if stored is None else stored.kind}, not {wanted}")


def kind_in(file: IO[bytes]) -> ImageKind:
    """The kind of the image in an open file, from its header."""
    stored = _stored_array(file)
    return PICTURES if stored is None else stored.kind


def open_image(file: IO[bytes]) -> Image.Image:
    """A picture of which the header alone has been read."""
    try:
        # Given a name, Pillow 13 maps some TIFF files into memory, and then turns them wrongly.
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"it is not a {', '.join(_USUAL[:-1])} or {_USUAL[-1]} image, nor of a rarer format"
        ) from error
    except Image.DecompressionBombError as error:  # twice the pixels that Pillow allows
        raise ValueError(_TOO_LARGE) from error
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(_TOO_LARGE)
    _check_sides(*image.size)
    return image


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > _LONGEST * min(width, height):
        raise ValueError(f"it has {width} x {height} px; use sides of a ratio up to {_LONGEST}")


def as_kind(image: Image.Image, kind: ImageKind, ground: str | None = BLACK) -> Picture:
    """An opened picture as RGB, or as grey where the kind is that; ``ground`` as of read_as."""
    if kind.reading != RGB and _is_deep(image):
        raise ValueError(f"its pixels have more than 8 bits, {kind} has 8")
    colours = to_rgb(image, ground)
    if kind.reading != GREY:
        return colours
    return colours.convert("LA") if ground is None else np.asarray(colours.convert("L"))[..., None]


def _is_deep(image: Image.Image) -> bool:
    """Whether the numbers of an opened picture have more than 8 bits, which Pillow may cut."""
    tiles: Any = getattr(image, "tile", ())
    if image.format == "PPM" and image.mode == "RGB" and tiles and tiles[0][0] != "raw":
        return int(tiles[0][3][1]) > 255  # the largest number
    return image.mode[0] in "IF" or ";16" in str(tiles)


def to_rgb(image: Image.Image, ground: str | None = BLACK) -> Image.Image:
    """Turn an image as its EXIF orientation says, and convert any kind of it to 8-bit RGB.

    16-bit grey keeps its upper byte. Transparent pixels are blended with the ground; with None
    they stay, as RGBA.
    """
    image.load()  # so that damaged pixels are not mistaken for damaged EXIF data
    with suppress(*UNREADABLE):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # Pillow's own conversion would clip these at 255
        deep, clear = np.asarray(image), image.info.get("transparency")
        if image.mode == "F" or deep.min() < 0 or deep.max() >= 1 << 16:
            raise ValueError("its pixels are not 8 or 16-bit integers")
        image = Image.fromarray((deep >> 8).astype(np.uint8))
        if clear is not None:
            image.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    image = image.convert("RGBA")
    if ground is None:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


# Images that are no 8-bit pictures

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLOURS: Final = {2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # of TIFF: photometric interpretation -> samples
_SMALLER_OR_MASK: Final = 1 | 4  # kinds of pages
_ORIENTATION: Final = 274


class _Stored(NamedTuple):
    """What the header of a file says of the array in it, and how to read that."""

    kind: ImageKind
    read: Callable[[], Array]  # numbers ``[H, W, C]``, while the file is open
    pillow: bool = False  # whether Pillow has the same numbers, as those of a grey picture

    def array(self) -> Array:
        """Its numbers; a ValueError if some are not finite as float32."""
        with _one_line():
            array = self.read()
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        with np.errstate(over="ignore"):
            bad = array.dtype.kind == "f" and ~np.isfinite(array.astype(np.float32))
        if np.any(bad):
            raise ValueError(
                f"{np.sum(bad)} of its numbers are NaN, infinite or beyond the 3.4e38 of float32; "
                "replace them, such as by the mean"
            )
        return array


def _stored(
    shape: tuple[int, int, int], dtype: str, read: Callable[[], Array], *, pillow: bool = False
) -> _Stored:
    """An array of such a header, if it is not too large; its shape is ``[H, W, C]``."""
    kind = ImageKind(shape[2], dtype, picture=False)
    most = _MOST_BYTES // max(np.dtype(dtype).itemsize, 4)
    if not 0 < math.prod(shape) <= most:
        raise ValueError(f"its shape is {shape}; use 1 to {most // 10**6} million numbers")
    _check_sides(shape[1], shape[0])
    return _Stored(kind, read, pillow)


def _stored_array(file: IO[bytes]) -> _Stored | None:
    """The array of an open file; None where it is an 8-bit picture, or no image."""
    start = file.read(26)
    file.seek(0)
    with _one_line():
        try:
            if start.startswith(_TIFF):
                return _tiff(file)
            if start.startswith(b"\x93NUMPY"):
                return _npy(file)
            return _png(file) if start.startswith(_PNG) and start[24:25] == b"\x10" else None
        finally:
            file.seek(0)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # libraries raise nearly anything on damaged files
        raise ValueError(first_line(error)) from error


def _npy(file: IO[bytes]) -> _Stored:
    """The array of an NPY file, which is never unpickled."""
    form = np.lib.format
    first = form.read_magic(file) == (1, 0)
    shape, _, dtype = (form.read_array_header_1_0 if first else form.read_array_header_2_0)(file)
    axis = channel_axis(shape)

    def read() -> Array:
        array: Array = form.read_array(file, allow_pickle=False)
        return array[..., None] if axis is None else np.moveaxis(array, axis, -1)

    height, width = shape[1:] if axis == 0 else shape[:2]
    return _stored((height, width, 1 if axis is None else shape[axis]), dtype.name, read)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of an array that has the channels, 0 or 2; None for one of two axes.

    It is the first or the last, whichever is shorter than both other axes.
    """
    if len(shape) == 2:
        return None
    for axis in (0, 2) if len(shape) == 3 else ():
        if shape[axis] < min(shape[1], shape[2 - axis]):
            return axis
    raise ValueError(
        f"its shape {shown(shape)} does not tell which axis has the channels: use [H, W], or three"
        " axes of which the first or last is shorter than both others; or save it as TIFF"
    )


def _png(file: IO[bytes]) -> _Stored | None:
    """The array of a PNG file of 16 bits, if it is grey; others are refused as pictures."""
    image = open_image(file)
    if image.mode[0] != "I":
        return None

    def read() -> Array:
        return np.asarray(open_image(file)).astype(np.uint16)[..., None]

    return _stored((image.height, image.width, 1), "uint16", read)


def _tiff(file: IO[bytes]) -> _Stored | None:
    """The bands of the one page of a TIFF file, smaller copies and masks aside."""
    from tifffile import TiffFile

    every = [page.aspage() for page in TiffFile(file, is_ome=False, _multifile=False).pages]
    pages = [page for page in every if not page.subfiletype & _SMALLER_OR_MASK]
    if len(pages) != 1:
        raise ValueError(f"it has {len(pages)} pages of full size; save all bands in one")
    page, bands = pages[0], pages[0].samplesperpixel
    dtype = f"{page.bitspersample} bits" if page.dtype is None else page.dtype.name
    colours = -1 if page.photometric is None else int(page.photometric)
    if page.bitspersample == bands == 1 or (dtype == "uint8" and bands == _COLOURS.get(colours)):
        return None  # of 1 bit, or of 8-bit RGB, CMYK, YCbCr, CIELab or a palette
    shape = (page.imagelength, page.imagewidth, bands)

    def read() -> Array:
        turned = page.tags.get(_ORIENTATION)
        if turned is not None and turned.value != 1:
            raise ValueError(f"its orientation is {turned.value}; turn it and save it as 1")
        array = page.asarray()
        if page.planarconfig is not None and int(page.planarconfig) == 2:
            array = np.moveaxis(array.reshape(bands, *shape[:2]), 0, -1)
        return array.reshape(shape)

    return _stored(shape, dtype, read, pillow=dtype == "uint8")
