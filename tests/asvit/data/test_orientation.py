"""A photograph lies the right way up wherever images are read, for all eight orientations."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from asvit.data.decoding import read_image

_FLIP = Image.Transpose
# How the stored picture follows from the upright one.
STORED = {
    1: None,
    2: _FLIP.FLIP_LEFT_RIGHT,
    3: _FLIP.ROTATE_180,
    4: _FLIP.FLIP_TOP_BOTTOM,
    5: _FLIP.TRANSPOSE,
    6: _FLIP.ROTATE_90,
    7: _FLIP.TRANSVERSE,
    8: _FLIP.ROTATE_270,
}
WIDTH, HEIGHT = 48, 32
NAMES = ("a/1.png", "a/2.png", "b/1.png", "b/2.png")


def upright(mode: str = "RGB") -> Image.Image:
    """A dark picture, bright in its upper left and half as bright in its upper right corner."""
    grey = np.zeros((HEIGHT, WIDTH), np.uint8)
    grey[:16, :16], grey[:16, -16:] = 240, 120
    return Image.fromarray(grey).convert(mode)


def photograph(orientation: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """The bytes of a file that shows the picture with an orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    how = STORED[orientation]
    stored = upright(mode) if how is None else upright(mode).transpose(how)
    buffer = io.BytesIO()
    stored.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def assert_upright(picture: Image.Image) -> None:
    assert picture.size == (WIDTH, HEIGHT)
    found = np.asarray(picture).astype(int)
    assert np.abs(found - np.asarray(upright())).mean() < 4  # as JPEG is not exact


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "P")),
        *(("PNG", "I;16"), ("TIFF", "RGB"), ("TIFF", "L"), ("TIFF", "CMYK")),
        ("WEBP", "RGB"),
    ],
)
def test_a_file(tmp_path: Path, kind: str, mode: str, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(photograph(orientation, kind, mode))
    if mode == "I;16":  # Pillow converts 8-bit grey without scaling; the upper byte is what counts
        with Image.open(path) as image:
            deep, exif = np.asarray(image).astype(np.uint16) << 8, image.getexif()
        Image.fromarray(deep).save(path, "PNG", exif=exif)
    assert_upright(read_image(path))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # about what is damaged
@pytest.mark.parametrize(
    "damage",
    [
        lambda exif: exif[:4] + b"??" + exif[6:],  # no TIFF header
        lambda exif: exif[:-9],
        lambda exif: exif.replace(b"\x01\x12", b"\x01\x0f"),  # no orientation
        lambda exif: b"",
    ],
)
@pytest.mark.parametrize("orientation", [0, 9, 6])
def test_damaged_exif_data_leaves_a_picture_as_it_is(
    tmp_path: Path, damage: Callable[[bytes], bytes], orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright().save(tmp_path / "a.webp", exif=damage(exif.tobytes()), lossless=True)
    assert_upright(read_image(tmp_path / "a.webp"))
