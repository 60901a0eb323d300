"""python predict.py MODEL.onnx PICTURE...   classifies pictures; needs onnxruntime and Pillow.

MODEL.onnx is a copy by asvit export --with-preprocessing, or of a design. Each picture gives a
line of JSON. One that cannot be read is named on stderr, and the exit code is then 3.
"""

# asvit copies this file beside such models: it must not need asvit.

import json
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np  # comes with onnxruntime
import onnxruntime
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

warnings.simplefilter("ignore")  # of damaged data beside the pixels
# Drawing programs store their own data and large profiles in PNG files.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
MOST_PIXELS = Image.MAX_IMAGE_PIXELS = 120_000_000
FORMATS = (  # others may start programs
    *("JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF", "TIFF", "PPM"),
    *("QOI", "PSD", "DDS", "ICO", "DIB", "PCX", "TGA"),
)
OF_16_BITS = (";16B", ";16L", ";16N")  # Pillow gives 8 of them; these marks are how it decodes


def open_image(file: Any) -> Any:
    """An image by Pillow, whose pixels are not read yet."""
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:  # its own text names an object of Python's
        raise ValueError("it is no picture, or one of another format") from None


def read_picture(path: str, reading: str, ground: str) -> Any:
    """A picture as 8-bit RGB or grey, ``[height, width, channels]``, upright, over a ground."""
    with Path(path).open("rb") as file:  # by a name, Pillow turns some TIFF files wrongly
        picture = open_image(file)
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"it has more than {MOST_PIXELS:,} pixels; use a smaller copy")
        deep = picture.mode[0] in "IF" or any(mark in str(picture.tile) for mark in OF_16_BITS)
        if deep and reading != "rgb":
            raise ValueError("its pixels are not 8-bit numbers; this model takes those")
        if not reading and picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
            raise ValueError("it has several pages; this model takes one picture")
        picture.load()
        with suppress(Exception):  # damaged EXIF data: the picture stays as it is stored
            ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode[0] in "IF":
        numbers = np.asarray(picture)
        if picture.mode == "F" or (numbers >> 16).any():
            raise ValueError("its pixels are not 8 or 16-bit integers; this model takes those")
        picture = Image.fromarray((numbers >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    picture = picture.convert("RGB")
    return np.atleast_3d(np.array(picture.convert("L") if reading == "grey" else picture))


def read_array(path: str, numbers: str, channels: int) -> Any:
    """The numbers of an NPY file, or of a grey picture that Pillow reads as it is stored."""
    with Path(path).open("rb") as file:
        if file.peek(2)[:2] == b"\x93N":  # as NPY begins
            array = np.load(file)
        else:
            picture = open_image(file)
            inverted = getattr(picture, "tag_v2", {}).get(262) == 0  # 0 is white
            several = getattr(picture, "n_frames", 1) > 1
            if picture.mode not in ("L", "I;16", "I;16B", "F") or inverted or several:
                raise ValueError("its numbers are not those of the file; save it as NPY")
            array = np.array(picture)
    if array.ndim == 3 and array.shape[0] < min(array.shape[1:]):
        array = np.moveaxis(array, 0, -1)
    array = np.atleast_3d(array)
    if array.shape[2] != channels or array.dtype.name != numbers:
        raise ValueError(
            f"it has {array.shape[2]} channel(s) of {array.dtype}; this model takes {channels} of "
            f"{numbers}"
        )
    if not np.isfinite(np.float32(array)).all():
        raise ValueError("it has numbers that are not finite, or above 3.4e38")
    return array.astype(numbers)  # in this machine's order of bytes


def read(path: str, about: Mapping[str, Any], channels: int) -> Any:
    """The array that a model takes, by what it says of its pictures."""
    facts = about.get("facts", {})
    numbers, _, reading = facts.get("pixels", "").partition(" ")
    if numbers and not reading:
        return read_array(path, numbers, channels)
    return read_picture(path, reading, facts.get("ground", "black"))


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error) or type(error).__name__).splitlines()[0]


def main(model_path: str, *paths: str) -> int:
    """Classify the pictures at ``paths``; the exit code."""
    try:
        model = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
        if "probabilities" not in [output.name for output in model.get_outputs()]:
            raise ValueError("it takes prepared pictures; export it --with-preprocessing")
        about = json.loads(model.get_modelmeta().custom_metadata_map.get("asvit.json", "{}"))
    except Exception as error:  # noqa: BLE001  # of any library
        sys.stderr.write(f"cannot use {model_path}: {first_line(error)}\n")
        return 3
    channels = model.get_inputs()[0].shape[2]
    bad = 0
    for path in paths:
        try:
            image = read(path, about, channels)
            ((shares,),) = model.run(["probabilities"], {"image": image})
            if not np.isfinite(shares).all():
                raise ValueError("its numbers are so large that the model gives NaN or infinity")
        except Exception as error:  # noqa: BLE001
            sys.stderr.write(f"cannot read {path}: {first_line(error)}\n")
            bad += 1
            continue
        names = about.get("classes") or map(str, range(len(shares)))
        row = {"image": path, "probabilities": dict(zip(names, map(float, shares), strict=True))}
        sys.stdout.write(f"{json.dumps(row)}\n")
    return 3 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.stderr.write(__doc__ or "")
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
