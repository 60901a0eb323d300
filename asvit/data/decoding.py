"""Image files as they are read: of which kind they are, by their headers, and their pixels."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from asvit.core.preparing_settings import BLACK
from asvit.data.arrays import Stored, stored_array
from asvit.data.base import UNREADABLE, naming
from asvit.data.kinds import CONVERTED, GREY, PICTURES, RGB, ImageKind, Picture, the_same
from asvit.data.reading import PART, in_parts

#: Formats that are decoded, whatever the name of a file: Pillow would pass others to external
#: programs, such as PostScript to Ghostscript, cut their numbers to 8 bits without a word, as of
#: JPEG 2000, or know nothing of them but their name. Those of weak signatures are last.
FORMATS = (
    *("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "AVIF"),
    *("QOI", "PSD", "DDS", "SGI", "SUN", "ICO", "CUR", "ICNS", "MSP", "XBM", "XPM", "DIB"),
    *("PCX", "TGA"),
)
_USUAL = FORMATS[:8]
_MULTIPLE = {"MPO": "JPEG"}  # formats of several pictures, of which the first is read as another

#: Endings of files that are images: of these formats, as Pillow knows them, and of arrays.
ENDINGS = {".npy", ".npz"} | {
    end
    for end, form in Image.registered_extensions().items()
    if _MULTIPLE.get(form, form) in FORMATS
}

#: Pixels of the largest image that is read: 120 million, which take up to 2 GB. A small file may
#: hold any number of equal ones; photographs have up to 108 million.
MOST_PIXELS = 120_000_000

#: Marks of Pillow's tiles, which say how a file is decoded: of 16 bits a colour 8 are left. Those
#: of 16 bits a pixel, as BMP may have, lose none.
CUT_TILES = (";16B", ";16L", ";16N", "SGI16")

# Endings of files that are 8-bit pictures, so that their headers need not be read early. A file
# of another format with such a name is refused when it is read.
_ALWAYS_PICTURES = (".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".avif", ".bmp")
_TOO_LARGE = f"it has more than {MOST_PIXELS // 10**6} million pixels; use a smaller copy"

# MOST_PIXELS raises an error instead. What else Pillow and tifffile write on the console is about
# damaged data beside the pixels, such as EXIF tags; damaged pixels are errors.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# Drawing programs store their own data and large colour profiles in PNG files, compressed: Pillow
# refuses more than 1 MB of each, and more than 64 MB in all.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


def read_image(path: Path) -> Image.Image:
    """Read any image file as 8-bit RGB, the right way up; a ValueError names what is unreadable.

    16-bit grey keeps its upper byte; :func:`read_as` cuts nothing.
    """
    return cast("Image.Image", read_as(path, CONVERTED[RGB]))


def read_as(path: Path, kind: ImageKind, ground: str | None = BLACK) -> Picture:
    """Read an image file, the right way up; a ValueError names one that is not of this kind.

    A transparent picture is laid over ``ground``, one of ``GROUNDS``; None leaves it transparent,
    as RGBA or LA.
    """
    with naming(f"image {str(path)!r}"), image_file(path) as file:
        return read_open(file, kind, ground)


def check_as(path: Path, kind: ImageKind) -> None:
    """Read the header of an image file; a ValueError names one that is not of this kind."""
    with naming(f"image {str(path)!r}"), image_file(path) as file:
        if _stored_as(file, kind) is None:
            with open_image(file):
                pass


def read_open(file: IO[bytes], kind: ImageKind, ground: str | None = BLACK) -> Picture:
    """The image in an open file, which has to be of this kind; ``ground`` as of read_as."""
    if (stored := _stored_as(file, kind)) is not None:
        return stored.array()
    with open_image(file) as image:
        return as_kind(image, kind, ground)


def _stored_as(file: IO[bytes], wanted: ImageKind) -> Stored | None:
    """The array in an open file, or None where it is a picture; of a kind that is checked.

    Where pictures are wanted, pages of TIFF files that are arrays elsewhere will do, as grey ones.
    """
    if wanted.reading in CONVERTED:
        return None
    stored = stored_array(file)
    if wanted.picture and (stored is None or stored.pillow):
        file.seek(0)
        return None
    if (own := _kind_of(stored)) != wanted:
        if stored is None:
            with open_image(file):  # which says what is wrong with a file of no image
                pass
        raise ValueError(f"it is {own}, not {wanted}")
    return stored


def kind_in(file: IO[bytes], reading: str = "") -> ImageKind:
    """The kind of the image in an open file, from its header."""
    return CONVERTED.get(reading) or _kind_of(stored_array(file))


def _kind_of(stored: Stored | None) -> ImageKind:
    return PICTURES if stored is None else ImageKind(stored.channels, stored.dtype, picture=False)


def kind_of_images(
    names: Sequence[str],
    opened: Callable[[str], AbstractContextManager[IO[bytes]]],
    reading: str,
    source: str,
) -> ImageKind:
    """The kind of the images of these names, from their headers.

    Those that cannot be read are left out.

    Raises:
        ValueError: If there are several kinds.
    """
    if reading in CONVERTED:
        return CONVERTED[reading]

    def kind(name: str) -> ImageKind | None:
        with suppress(*UNREADABLE), opened(name) as file:
            return kind_in(file)
        return None

    open_ones = [name for name in names if not name.lower().endswith(_ALWAYS_PICTURES)]
    certain = next((n for n in names if n.lower().endswith(_ALWAYS_PICTURES)), None)
    first = [] if certain is None else [(certain, PICTURES)]
    read = zip(open_ones, in_parts(kind, open_ones, PART), strict=True)
    return the_same(chain(first, ((name, own) for name, own in read if own)), source)


def as_kind(image: Image.Image, kind: ImageKind, ground: str | None = BLACK) -> Picture:
    """An opened picture as RGB, or as grey where the kind is that; ``ground`` as of read_as."""
    if kind.reading != RGB and (image.mode[0] in "IF" or _is_cut(image)):
        raise ValueError(f"its pixels have more than 8 bits, {kind} has 8")
    colours = to_rgb(image, ground)
    if kind.reading != GREY:
        return colours
    return colours.convert("LA") if ground is None else np.asarray(colours.convert("L"))[..., None]


def _is_cut(image: Image.Image) -> bool:
    """Whether an opened file has more bits a colour than the 8 that Pillow gives of them."""
    tiles: Sequence[Any] = getattr(image, "tile", ())
    if image.format == "PPM" and image.mode == "RGB" and tiles[0][0] != "raw":
        return int(tiles[0][3][1]) > 255  # its largest number
    return any(mark in str(tiles) for mark in CUT_TILES)


@contextmanager
def image_file(path: Path) -> Iterator[IO[bytes]]:
    """An image file, open for reading; a ValueError if it is no file."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise ValueError("it is not a file")
    # Pillow is not given its name: Pillow 13 maps some TIFF files into memory, and then turns them
    # wrongly.
    with path.open("rb") as file:
        yield file


@contextmanager
def open_image(file: IO[bytes]) -> Iterator[Image.Image]:
    """An image of which the header alone has been read."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"it is not a {', '.join(_USUAL[:-1])} or {_USUAL[-1]} image, nor of a rarer format"
        ) from error
    except Image.DecompressionBombError as error:  # twice the pixels that Pillow allows
        raise ValueError(_TOO_LARGE) from error
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(_TOO_LARGE)
        yield image


def to_rgb(image: Image.Image, ground: str | None = BLACK) -> Image.Image:
    """Turn an image as its EXIF orientation says, and convert any kind of it to 8-bit RGB.

    An image whose EXIF data cannot be read stays as it is stored. 16-bit grey keeps its upper
    byte. Transparent pixels are blended with the ground; with None they stay, as RGBA.
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
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image if ground is None else on_ground(image, ground)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def is_transparent(image: Image.Image) -> bool:
    """Whether a picture as it is read has pixels that are not opaque."""
    return image.mode in ("RGBA", "LA") and image.getextrema()[-1] != (255, 255)


def on_ground(image: Image.Image, ground: str) -> Image.Image:
    """A picture in RGBA or LA, laid over a ground, as RGB."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
