"""Images that are no 8-bit pictures are read with every number that is in their files."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from asvit.core.files import split_reading, with_reading
from asvit.data import load_images, open_dataset, open_training_sets
from asvit.data.arrays import channel_axis
from asvit.data.decoding import check_as, kind_in, read_as, read_image
from asvit.data.files import FolderDataset
from asvit.data.kinds import GREY, MOST_CHANNELS, NUMBERS, PICTURES, RGB, ImageKind
from asvit.data.training_sets import PartedPictures, channel_count
from tests.asvit.data.array_sets import WRITERS, make_set, write
from tests.hostile import FIXED, changed_bytes, refused_or


def kind_of(path: Path, reading: str = "") -> ImageKind:
    with path.open("rb") as file:
        return kind_in(file, reading)


def values(shape: tuple[int, int, int], dtype: str) -> np.ndarray[Any, Any]:
    """Numbers over the whole range of a type, such that cutting any of their bits shows."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    about = np.iinfo(dtype)
    return rng.integers(about.min, about.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 5, 13])
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


@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_type_of_numbers(tmp_path: Path, dtype: str) -> None:
    array = values((20, 33, 2), dtype)
    for form in ("npy", "bands"):
        found = read_as(write(tmp_path / form, array, form), ImageKind(2, dtype, picture=False))
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(tmp_path: Path, channels: int) -> None:
    array = values((20, 33, channels), "uint16")
    path = write(tmp_path / "a", array, "png")
    assert kind_of(path) == ImageKind(channels, "uint16", picture=False)
    np.testing.assert_array_equal(read_as(path, kind_of(path)), array)


@pytest.mark.parametrize("head", [b"P5 3 2 65535 ", b"P2\n#a\n3 2\n4095\n", b"P6 3 2 256 "])
def test_pnm_of_16_bits_is_refused_as_pillow_would_scale_it(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(head + bytes(36))
    for kind in (PICTURES, ImageKind(1, "uint16", picture=False)):
        with pytest.raises(ValueError, match="it has 16 bits a number, which PGM and PPM are not"):
            read_as(path, kind)
    path.write_bytes(b"P5" + b" " * 400)  # which is no PGM file, and is known at once
    with pytest.raises(ValueError, match="cannot read image"):
        read_as(path, PICTURES)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes(tmp_path: Path, order: str) -> None:
    array = values((20, 33, 5), "uint16")
    np.save(tmp_path / "a.npy", array.astype(f"{order}u2"))
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    np.save(tmp_path / "b.npy", np.asfortranarray(array))
    for path in tmp_path.iterdir():
        found = read_as(path, ImageKind(5, "uint16", picture=False))
        np.testing.assert_array_equal(found, array)


# What stays an 8-bit picture, bit for bit.

PICTURE_MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
    "tif": ("P", "RGB", "CMYK", "YCbCr", "LAB"),
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


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_tiff_files_of_other_bands_than_3_are_arrays(tmp_path: Path, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)
    image = Image.fromarray(noise, "RGBA").convert(mode)
    image.save(tmp_path / "a.tif")
    kind = kind_of(tmp_path / "a.tif")
    assert kind == ImageKind(len(mode), "uint8", picture=False)
    found = read_as(tmp_path / "a.tif", kind)
    np.testing.assert_array_equal(found, np.asarray(image).reshape(9, 12, len(mode)))


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    """One of 16 bits that is called a JPEG is never cut to 8."""
    array = values((8, 8, 1), "uint16")
    path = write(tmp_path / "a", array, "png")
    path.rename(tmp_path / "a.jpg")
    folder = FolderDataset(tmp_path)
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


@given(st.lists(st.integers(0, 70), max_size=5))
def test_any_shape_has_an_axis_or_is_refused_in_a_line(shape: list[int]) -> None:
    axis = refused_or(lambda: (channel_axis(tuple(shape)),))
    if axis is not None and axis[0] is not None:
        others = [side for place, side in enumerate(shape) if place != axis[0]]
        assert shape[axis[0]] < min(others)


# Bad input: one line each.


def bad_files(folder: Path) -> dict[str, str]:
    """Files that are refused, with what is said of them."""
    good = np.arange(180, dtype=np.uint16).reshape(6, 6, 5)
    nan = good.astype(np.float32)
    nan[0, 0, 1] = np.nan
    np.save(folder / "nan.npy", nan)
    np.save(folder / "infinite.npy", np.full((4, 4), np.inf, np.float32))
    np.save(folder / "wide.npy", np.where(np.eye(4) > 0, np.finfo(np.float64).min, 1.0))
    np.save(folder / "none.npy", np.zeros((8, 8, 0), np.float32))
    np.save(folder / "empty.npy", np.zeros((0, 8), np.float32))
    np.save(folder / "many.npy", np.zeros((90, 90, 65), np.uint8))
    np.save(folder / "four.npy", np.zeros((2, 3, 4, 5), np.uint8))
    np.save(folder / "one.npy", np.zeros(9, np.uint8))
    np.save(folder / "bool.npy", np.zeros((4, 4), bool))
    np.save(folder / "long.npy", np.zeros((4, 4), np.int64))
    np.save(folder / "complex.npy", np.zeros((4, 4), complex))
    np.save(folder / "text.npy", np.array([["a", "b"]]))
    np.save(folder / "object.npy", np.array([[{}, {}]], object), allow_pickle=True)
    np.save(folder / "fields.npy", np.zeros((4, 4), [("a", "f4")]))
    (folder / "cut.npy").write_bytes((folder / "nan.npy").read_bytes()[:-9])
    (folder / "head.npy").write_bytes((folder / "nan.npy").read_bytes()[:30])
    np.savez(folder / "two.npz", a=good, b=good)
    zipfile.ZipFile(folder / "nothing.npz", "w").close()
    with zipfile.ZipFile(folder / "notes.npz", "w") as archive:
        archive.writestr("image.npy", b"no array")
    (folder / "deep.pgm").write_bytes(b"P5 3 2 70000 " + bytes(24))
    Image.fromarray(np.eye(8) > 0).save(folder / "bits.tif")
    with tifffile.TiffWriter(folder / "sizes.tif") as tiff:
        for side in (16, 32):
            tiff.write(np.zeros((side, side), np.uint16), metadata=None)
    with tifffile.TiffWriter(folder / "types.tif") as tiff:
        for dtype in (np.uint16, np.float32):
            tiff.write(np.zeros((16, 16), dtype), metadata=None)
    tifffile.imwrite(folder / "pages.tif", np.zeros((65, 8, 8), np.uint16), metadata=None)
    tifffile.imwrite(folder / "long.tif", np.zeros((16, 16), np.int64), metadata=None)
    (folder / "cut.tif").write_bytes((folder / "types.tif").read_bytes()[:200])
    return {
        "nan.npy": "1 of its numbers are NaN or infinite, some in channel 2; replace them",
        "infinite.npy": "16 of its numbers are NaN or infinite, some in channel 1",
        "wide.npy": r"4 of its numbers are beyond the 3\.4e38 that float32 holds, some in",
        "none.npy": "it has 0 channels; an image has 1 to 64",
        "empty.npy": "it has 8 x 0 pixels",
        "many.npy": "it has 65 channels; an image has 1 to 64, so choose some",
        "four.npy": r"it has the shape \(2, 3, 4, 5\); use \[H, W\]",
        "one.npy": r"it has the shape \(9,\); use",
        "bool.npy": "its numbers are 'bool'; use uint8,",
        "long.npy": "its numbers are 'int64'; use uint8,",
        "complex.npy": "its numbers are 'complex128'",
        "text.npy": "its numbers are 'str32'",
        "object.npy": "its numbers are 'object'",
        "fields.npy": "its numbers are 'void32'",
        "cut.npy": ".",
        "head.npy": ".",
        "two.npz": "it has the arrays a, b; use files of one array",
        "nothing.npz": "is",
        "notes.npz": ".",
        "deep.pgm": "it has 16 bits a number, which PGM and PPM are not read with; use PNG",
        "bits.tif": "it has 1 bit a pixel; use 8 or 16 bits, or floating-point numbers",
        "sizes.tif": "its pages differ: 16 x 16 x 1, 32 x 32 x 1 of uint16; save those of the im",
        "types.tif": "its pages differ: 16 x 16 x 1 of float32, uint16",
        "pages.tif": "it has 65 channels",
        "long.tif": "its numbers are 'int64'",
        "cut.tif": ".",
    }


def test_bad_files_are_refused_in_a_line(tmp_path: Path) -> None:
    for name, words in bad_files(tmp_path).items():
        path = tmp_path / name

        def read(path: Path = path) -> object:
            with path.open("rb") as file:
                return read_as(path, kind_in(file))

        with pytest.raises(ValueError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value), name
        with pytest.raises(ValueError, match=rf"^cannot read image '.*{name}': [^\n]+$"):
            read_as(path, ImageKind(1, "float32", picture=False))


@pytest.mark.parametrize("form", ["bands", "pages", "deflate", "npy", "npz", "png"])
@settings(FIXED, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes(tmp_path: Path, form: str, data: st.DataObject) -> None:
    path = write(tmp_path / "a", values((12, 9, 1), "uint16"), form)
    path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
    found = refused_or(lambda: read_as(path, ImageKind(1, "uint16", picture=False)))
    assert found is None or (isinstance(found, np.ndarray) and found.shape[-1] == 1)


def test_claims_of_huge_arrays_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    head = {"descr": "<f8", "fortran_order": False, "shape": (20_000, 20_000)}
    np.lib.format.write_array_header_1_0(buffer, head)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", buffer.getvalue())
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(
        ">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0
    )
    (tmp_path / "a.png").write_bytes(png)
    for name, millions in (("a.npy", 250), ("a.npz", 250), ("a.png", 500)):
        with pytest.raises(ValueError, match=f"it has more than {millions} million numbers"):
            kind_of(tmp_path / name)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "run",)

    for name in ("a.npy", "b.npz"):
        save = np.save if name.endswith("npy") else np.savez
        save(tmp_path / name, np.array([[Payload()]], object), allow_pickle=True)
        assert refused_or(lambda name=name: kind_of(tmp_path / name)) is None
    assert not (tmp_path / "run").exists()


def test_a_tiff_file_opens_no_other(tmp_path: Path) -> None:
    """OME metadata may name files with the other channels of an image."""
    array = values((16, 16, 1), "uint16")[..., 0]
    ome = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="16"'
        ' SizeY="16" SizeC="2" SizeZ="1" SizeT="1"><Channel ID="Channel:0:0"/>'
        '<TiffData FirstC="1"><UUID FileName="b.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, array, description=ome, metadata=None)
    assert kind_of(path) == ImageKind(1, "uint16", picture=False)
    np.testing.assert_array_equal(read_as(path, kind_of(path)), array[..., None])


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_files_lie_the_right_way_up(tmp_path: Path, orientation: int) -> None:
    array = values((6, 9, 1), "uint16")
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", array[..., 0], extratags=tag, metadata=None)
    with (tmp_path / "a.tif").open("rb") as file, Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    kind = kind_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(read_as(tmp_path / "a.tif", kind))[..., 0], expected)


def test_compressed_files_without_the_library_of_their_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of one band are read by Pillow, others say what to install."""
    one, two = values((16, 16, 1), "uint16"), values((16, 16, 2), "uint16")
    tifffile.imwrite(tmp_path / "one.tif", one[..., 0], compression="lzw", predictor=True)
    tifffile.imwrite(tmp_path / "two.tif", two, compression="lzw", photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    for name, array in (("one", one), ("two", two)):
        path = tmp_path / f"{name}.tif"
        np.testing.assert_array_equal(read_as(path, kind_of(path)), array)
    monkeypatch.setattr("asvit.data.arrays._lacking_codec", lambda _page: "compression LZW")
    np.testing.assert_array_equal(
        read_as(tmp_path / "one.tif", ImageKind(1, "uint16", picture=False)), one
    )
    with pytest.raises(
        ImportError, match=r"TIFF files with compression LZW needs imagecodecs: .*"
    ):
        kind_of(tmp_path / "two.tif")


@pytest.mark.parametrize(
    ("dtype", "photometric"),
    [("uint8", "miniswhite"), ("uint8", "minisblack"), ("int16", "minisblack")],
)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pillow_reads_the_same_numbers_as_a_codec(
    dtype: str,
    photometric: str,
    orientation: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, kind = tmp_path / "a.tif", ImageKind(1, dtype, picture=False)
    how = {"photometric": photometric, "extratags": [(274, "H", 1, orientation, True)]}
    tifffile.imwrite(path, values((16, 24, 1), dtype)[..., 0], compression="lzw", **how)
    expected = read_as(path, kind)
    monkeypatch.setattr("asvit.data.arrays._lacking_codec", lambda _page: "compression LZW")
    np.testing.assert_array_equal(read_as(path, kind), expected)


# Sets of one kind.


def test_a_mixed_set_is_refused_and_names_two_images(tmp_path: Path) -> None:
    for channels in (2, 5):
        array = values((16, 16, channels), "uint16")
        write(tmp_path / "set" / f"c{channels}" / "a", array)
        write(tmp_path / "set" / f"c{channels}" / "b", array + 1)
    words = (
        r"^folder set, .* mixes kinds of images: 'c2/a\.tif' \(2 channels of uint16\) and "
        r"'c5/a\.tif' \(5 channels of uint16\); use one kind$"
    )
    for call in (
        lambda: open_dataset(str(tmp_path / "set")).kind,
        lambda: load_images(str(tmp_path / "set"), count=2, image_size=16, seed=0),
        lambda: open_training_sets(str(tmp_path / "set"), image_size=16, seed=0),
        lambda: channel_count(str(tmp_path / "set")),
        lambda: PartedPictures(tmp_path / "set").kind,
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_numbers_of_other_types_are_another_kind(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a", values((16, 16, 2), "uint16"))
    write(tmp_path / "set" / "b", values((16, 16, 2), "uint8"))
    with pytest.raises(
        ValueError, match=r"\(2 channels of uint16\) and 'b\.tif' \(2 channels of u"
    ):
        _ = FolderDataset(tmp_path / "set").kind


def test_pictures_beside_arrays_can_all_be_taken_as_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (9, 8, 7)).save(tmp_path / "b.jpg")
    Image.new("L", (16, 16), 77).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"\(8-bit RGB\) .*, or :rgb after its name to take all"):
        _ = FolderDataset(tmp_path).kind
    whole = open_dataset(f"{tmp_path}:rgb")
    assert whole.kind == ImageKind(reading=RGB)
    picture = whole.picture(0)
    assert picture.getpixel((0, 0)) == (77, 77, 77)


def test_parts_of_other_kinds_are_refused(tmp_path: Path) -> None:
    make_set(tmp_path / "set" / "train", 2)
    make_set(tmp_path / "set" / "val", 5)
    with pytest.raises(
        ValueError, match=r"training mixes kinds of images: .*2 channels.*5 channels"
    ):
        open_training_sets(str(tmp_path / "set"), image_size=32, seed=0)


def test_parts_of_one_kind_may_be_read_in_several_ways(tmp_path: Path) -> None:
    plain, deep = tmp_path / "plain", tmp_path / "deep"
    for label in ("a", "b"):
        (plain / label).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(plain / label / "0.png")
        write(deep / label / "0", values((16, 16, 1), "uint16"), "png")
    sets = open_training_sets(str(plain), validation=f"{deep}:rgb", image_size=16, seed=0)
    assert (sets.kind, sets.validation.kind) == (ImageKind(), ImageKind(reading=RGB))
    with pytest.raises(ValueError, match=r"8-bit RGB\) and .*\(1 channel of uint16\); use one"):
        open_training_sets(str(plain), validation=str(deep), image_size=16, seed=0)


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
    with pytest.raises(
        ValueError, match=r"deep\.png': its pixels have more than 8 bits, 8-bit grey"
    ):
        open_dataset(f"{tmp_path}:grey").picture(2)


def test_digits_as_one_channel() -> None:
    assert channel_count("digits") == 3
    assert channel_count("digits:grey") == 1
    images = load_images("digits:grey", count=10, image_size=16, seed=0)
    assert images.pixels.shape == (10, 1, 16, 16)


@pytest.mark.parametrize("spec", ["a:grey", "a:rgb", "/x/y:grey", "hf:a/b:rgb"])
def test_a_reading_is_the_end_of_a_text(spec: str) -> None:
    before, reading = split_reading(spec)
    assert with_reading(before, reading) == spec
    assert reading == spec.rpartition(":")[2]


def test_other_texts_have_no_reading(tmp_path: Path) -> None:
    (tmp_path / "a:grey").mkdir()
    for spec in ("a", "a:b", "fractal:5", ":grey", "torchvision:CIFAR10:download", "a:grey"):
        assert split_reading(spec) == (spec, "")


@pytest.mark.parametrize(
    "kind",
    [
        PICTURES,
        ImageKind(reading=RGB),
        ImageKind(1, picture=False, reading=GREY),
        ImageKind(5, "uint16", picture=False),
        ImageKind(64, "float32", picture=False),
        ImageKind(3, "uint8", picture=False),
    ],
)
def test_a_stored_kind_is_read_back(kind: ImageKind) -> None:
    assert ImageKind.of(kind.stored, kind.channels) == kind


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"channels": MOST_CHANNELS + 1}, {"dtype": "int64"}, {"reading": "x"}],
)
def test_there_are_no_other_kinds(wrong: dict[str, Any]) -> None:
    assert refused_or(lambda: ImageKind(**wrong)) is None


def test_pictures_of_libraries_keep_16_bits() -> None:
    from asvit.data.libraries import LibraryDataset

    array = values((9, 12, 1), "uint16")
    labels = np.zeros(2, np.int64)
    deep = Image.fromarray(array[..., 0])
    images = LibraryDataset("a set", ("a",), labels, [(deep,), (deep.convert("RGB"),)])
    assert images.kind == ImageKind(1, "uint16", picture=False)
    np.testing.assert_array_equal(images.picture(0), array)
    with pytest.raises(
        ValueError, match="image 1 of a set: it is 8-bit RGB, not 1 channel of uint"
    ):
        images.picture(1)
