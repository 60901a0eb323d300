"""Images that are no 8-bit pictures are read with every number that is in their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from asvit.data import load_images, open_dataset, open_training_sets
from asvit.data.decoding import channel_axis, check_as, kind_in, read_as, read_image
from asvit.data.kinds import GREY, NUMBERS, PICTURES, RGB, ImageKind
from asvit.data.sources import channel_count, open_whole
from tests.asvit.data.array_sets import WRITERS, write
from tests.hostile import FIXED, changed_bytes, refused_or


def kind_of(path: Path) -> ImageKind:
    with path.open("rb") as file:
        return kind_in(file)


def values(shape: tuple[int, int, int], dtype: str) -> np.ndarray[Any, Any]:
    """Numbers over the whole range of a type, such that cutting any of their bits shows."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    about = np.iinfo(dtype)
    return rng.integers(about.min, about.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("form", [form for form in WRITERS if form != "png"])
def test_every_number_of_a_file_is_read(
    tmp_path: Path, form: str, channels: int, dtype: str
) -> None:
    array = values((20, 33, channels), dtype)
    path = write(tmp_path / "a", array, form)
    kind = kind_of(path)
    assert kind == ImageKind(channels, dtype, picture=False)
    check_as(path, kind)
    found = read_as(path, kind)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_png_of_16_bits(tmp_path: Path) -> None:
    for channels in (1, 2, 3, 4):
        array = values((20, 33, channels), "uint16")
        path = write(tmp_path / "a", array, "png")
        if channels == 1:
            assert kind_of(path) == ImageKind(1, "uint16", picture=False)
            np.testing.assert_array_equal(read_as(path, kind_of(path)), array)
        else:  # Pillow cuts these to 8 bits
            with pytest.raises(ValueError, match="its pixels have more than 8 bits"):
                read_as(path, PICTURES)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_type_of_numbers_in_either_order_of_bytes(
    tmp_path: Path, dtype: str, order: str
) -> None:
    array = values((20, 33, 2), dtype)
    np.save(tmp_path / "a.npy", array.astype(np.dtype(dtype).newbyteorder(order)))
    np.save(tmp_path / "b.npy", np.asfortranarray(array))
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    for path in tmp_path.iterdir():
        found = read_as(path, ImageKind(2, dtype, picture=False))
        np.testing.assert_array_equal(found, array)


# What stays an 8-bit picture, bit for bit.

PICTURE_MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
    "tif": ("1", "P", "RGB", "CMYK", "YCbCr", "LAB"),
    "ppm": ("L", "RGB"),
}


@pytest.mark.parametrize(
    ("ending", "mode"),
    [(ending, mode) for ending in PICTURE_MODES for mode in PICTURE_MODES[ending]],
)
def test_8_bit_pictures_stay_as_they_were(tmp_path: Path, ending: str, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    path = tmp_path / f"a.{ending}"
    source = Image.fromarray(noise)
    if mode == "LAB":
        from PIL import ImageCms

        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        image = ImageCms.profileToProfile(source, *profiles, outputMode="LAB")
    else:
        image = source.convert(mode)
    image.save(path)
    assert kind_of(path) == PICTURES
    found = read_as(path, PICTURES)
    assert found.mode == "RGB"
    assert found.tobytes() == read_image(path).tobytes()


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    """One of 16 bits that is called a JPEG is never cut to 8."""
    array = values((8, 8, 1), "uint16")
    path = write(tmp_path / "a", array, "png")
    path.rename(tmp_path / "a.jpg")
    folder = open_dataset(str(tmp_path))
    assert folder.kind == PICTURES
    for call in (folder.picture, folder.check):
        with pytest.raises(ValueError, match=r"a\.jpg': it is 1 channel of uint16, not 8-bit RGB"):
            call(0)


# Where the channels of an NPY file are.


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((32, 32), None), ((5, 32, 32), 0), ((32, 32, 5), 2), ((64, 64, 63), 2), ((1, 9, 9), 0),
        ((3, 100, 2), 2), ((2, 100, 3), 0),
    ],
)  # fmt: skip
def test_the_shorter_end_has_the_channels(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis


@pytest.mark.parametrize(
    "shape", [(32, 32, 32), (5, 32, 5), (32, 5, 32), (5, 5, 32), (64, 64, 64)]
)
def test_shapes_that_do_not_tell_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"does not tell which axis has the channels.*as TIFF"):
        channel_axis(shape)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array + 1)
    refused = open_dataset(str(tmp_path))
    with pytest.raises(ValueError, match=r"a\.npy': its shape .* does not tell"):
        refused.check(0)


# Bad input: one line each.


def _tiff(path: Path, *arrays: np.ndarray[Any, Any]) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for array in arrays:
            tiff.write(array, metadata=None)


_WIDE = np.where(np.eye(4) > 0, np.finfo(np.float64).min, 1.0)
_OBJECTS = np.array([[{}, {}]], object)
_DEEP = b"P5 6 6 65535 " + bytes(72)
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nan.npy": (lambda p: np.save(p, np.array([[np.nan]])), "1 of its numbers are NaN, infinite"),
    "wide.npy": (lambda p: np.save(p, _WIDE), r"4 of .* or beyond the 3\.4e38 of float32"),
    "none.npy": (lambda p: np.save(p, np.zeros((8, 8, 0))), "0 channels; an image has 1"),
    "empty.npy": (lambda p: np.save(p, np.zeros((0, 8))), "its shape is .0, 8, 1.; use 1 to"),
    "many.npy": (lambda p: np.save(p, np.zeros((90, 90, 65))), "65 channels; .*, so choose some"),
    "four.npy": (
        lambda p: np.save(p, np.zeros((2, 3, 4, 5))),
        "does not tell which axis",
    ),
    "bool.npy": (lambda p: np.save(p, np.eye(4) > 0), "numbers of type 'bool'; use uint8,"),
    "long.npy": (lambda p: np.save(p, np.zeros((4, 4), np.int64)), "numbers of type 'int64'"),
    "text.npy": (lambda p: np.save(p, np.array([["a", "b"]])), "numbers of type 'str32'"),
    "object.npy": (lambda p: np.save(p, _OBJECTS, allow_pickle=True), "numbers of type 'object'"),
    "deep.pgm": (lambda p: p.write_bytes(_DEEP), "more than 8 bits|8-bit RGB, not"),
    "several.tif": (lambda p: _tiff(p, *[np.zeros((9, 9), np.uint8)] * 2), "it has 2 pages of"),
    "turned.tif": (
        lambda p: tifffile.imwrite(
            p, np.zeros((9, 9), np.uint16), extratags=[(274, "H", 1, 6, True)]
        ),
        "its orientation is 6; turn it",
    ),
    "colours.png": (
        lambda p: write(p.with_suffix(""), values((9, 9, 3), "uint16"), "png"),
        "8-bit|more than 8 bits",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_a_line(tmp_path: Path, name: str) -> None:
    path, (write_bad, words) = tmp_path / name, BAD[name]
    write_bad(path)

    def read() -> object:
        with path.open("rb") as file:
            return read_as(path, kind_in(file))

    with pytest.raises(ValueError, match=words) as caught:
        read()
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=rf"^cannot read image '.*{name}': [^\n]+$"):
        read_as(path, ImageKind(1, "float32", picture=False))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what it goes on without
@pytest.mark.parametrize("form", ["deflate", "npy", "png"])
@settings(FIXED, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes(tmp_path: Path, form: str, data: st.DataObject) -> None:
    path = write(tmp_path / "a", values((12, 9, 1), "uint16"), form)
    path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
    found = refused_or(lambda: read_as(path, ImageKind(1, "uint16", picture=False)))
    assert found is None or (isinstance(found, np.ndarray) and found.shape[-1] == 1)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "run",)

    np.save(tmp_path / "a.npy", np.array([[Payload()]], object), allow_pickle=True)
    assert refused_or(lambda: kind_of(tmp_path / "a.npy")) is None
    assert not (tmp_path / "run").exists()


def test_small_copies_and_masks_of_pages_do_not_count(tmp_path: Path) -> None:
    array = values((32, 32, 2), "uint16")
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        options: dict[str, Any] = {"metadata": None, "contiguous": False}
        tiff.write(array, photometric="minisblack", planarconfig="contig", **options)
        tiff.write(array[::2, ::2], photometric="minisblack", planarconfig="contig",
                   subfiletype=1, **options)  # fmt: skip
        tiff.write(np.zeros((32, 32), bool), subfiletype=4, **options)
    found = read_as(tmp_path / "a.tif", ImageKind(2, "uint16", picture=False))
    np.testing.assert_array_equal(found, array)


# Sets of one kind.


def test_a_mixed_set_is_refused_and_names_two_images(tmp_path: Path) -> None:
    for channels in (2, 5):
        array = values((16, 16, channels), "uint16")
        write(tmp_path / "set" / f"c{channels}" / "a", array)
        write(tmp_path / "set" / f"c{channels}" / "b", array + 1)
    words = (
        r"^folder set, .* mixes kinds of images: 'c2/a\.tif' \(2 channels of uint16\) and "
        r"'c5/a\.tif' \(5 channels of uint16\); use one kind, or :rgb"
    )
    for call in (
        lambda: open_dataset(str(tmp_path / "set")).kind,
        lambda: load_images(str(tmp_path / "set"), count=2, image_size=16, seed=0),
        lambda: open_training_sets(str(tmp_path / "set"), image_size=16, seed=0),
        lambda: channel_count(str(tmp_path / "set")),
        lambda: open_whole(str(tmp_path / "set")).kind,
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_pictures_beside_arrays_can_all_be_taken_as_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (9, 8, 7)).save(tmp_path / "b.jpg")
    Image.new("L", (16, 16), 77).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"\(8-bit RGB\) .*, or :rgb after its name to take all"):
        _ = open_dataset(str(tmp_path)).kind
    whole = open_dataset(f"{tmp_path}:rgb")
    assert whole.kind == ImageKind(reading=RGB)
    picture = whole.picture(0)
    assert picture.getpixel((0, 0)) == (77, 77, 77)


def test_grey_pictures_as_one_channel(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 16, 12), np.uint8)
    for place, image in enumerate(grey):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    images = open_dataset(f"{tmp_path}:grey")
    assert images.kind == ImageKind(1, "uint8", picture=False, reading=GREY)
    assert (images.kind.scale, str(images.kind)) == (255.0, "8-bit grey")
    np.testing.assert_array_equal(images.picture(1), grey[1][..., None])
    loaded = load_images(f"{tmp_path}:grey", count=2, image_size=8, seed=0)
    assert loaded.pixels.shape == (2, 1, 8, 8)
    write(tmp_path / "deep", values((16, 16, 1), "uint16"), "png")
    with pytest.raises(ValueError, match=r"deep\.png': it is 1 channel of uint16, not 8-bit grey"):
        open_dataset(f"{tmp_path}:grey").picture(2)
