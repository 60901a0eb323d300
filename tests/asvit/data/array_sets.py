"""Small sets of images with any channels and numbers, in any format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

Array = np.ndarray[Any, Any]
_CONTIG = {"photometric": "minisblack", "planarconfig": "contig"}


def _png(path: Path, array: Array) -> None:
    if array.shape[-1] == 1:
        Image.fromarray(array[..., 0]).save(path)
    else:
        path.write_bytes(imagecodecs.png_encode(array))


def _tiff(**options: Any) -> Callable[[Path, Array], None]:
    def write(path: Path, array: Array) -> None:
        alone = array.shape[-1] == 1
        more = {"photometric": "minisblack"} if alone else _CONTIG
        tifffile.imwrite(path, array[..., 0] if alone else array, metadata=None, **more, **options)

    return write


def _separate(path: Path, array: Array) -> object:
    if array.shape[-1] == 1:
        return _tiff()(path, array)
    how = {"photometric": "minisblack", "planarconfig": "separate"}
    return tifffile.imwrite(path, np.moveaxis(array, -1, 0), metadata=None, **how)


#: Name -> ending, and what writes an array ``[H, W, C]`` with it.
WRITERS: dict[str, tuple[str, Callable[[Path, Array], object]]] = {
    "bands": ("tif", _tiff()),
    "separate": ("tiff", _separate),
    "deflate": (
        "tif",
        _tiff(compression="zlib", predictor=True, tile=(16, 16)),
    ),
    "big": ("tif", _tiff(bigtiff=True)),
    "npy": ("npy", np.save),
    "npy-first": ("npy", lambda path, array: np.save(path, np.moveaxis(array, -1, 0))),
    "png": ("png", _png),
}  # fmt: skip


def write(path: Path, array: Array, form: str = "bands") -> Path:
    """Write an array in a format, to a path without an ending, and return the file."""
    ending, writer = WRITERS[form]
    file = path.with_name(f"{path.name}.{ending}")
    file.parent.mkdir(parents=True, exist_ok=True)
    writer(file, array)
    return file


def bright_spots(
    rng: np.random.Generator, label: int, channels: int, side: int, dtype: str
) -> Array:
    """An image with a bright quarter in one of four places, one for each label."""
    top = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max // 16)
    image = rng.uniform(0, 0.3, (side, side, channels))
    row, column = divmod(label % 4, 2)
    half = side // 2
    image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 0.6
    image *= 1 + 0.1 * np.arange(channels)
    return np.asarray(image / image.max() * top).astype(dtype)


def make_set(
    folder: Path,
    channels: int,
    dtype: str = "uint16",
    *,
    form: str = "bands",
    classes: int = 2,
    each: int = 6,
    side: int = 32,
) -> Path:
    """Class folders of such images, ``each`` of every class, no two of them equal."""
    rng = np.random.default_rng(channels)
    for label in range(classes):
        for number in range(each):
            image = bright_spots(rng, label, channels, side, dtype)
            write(folder / f"class{label}" / f"{number:03d}", image, form)
    return folder
