"""Images in files, also hostile ones."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_folders import fill, write_image
from PIL import Image, PngImagePlugin

from asvit.core.run_files import MARKER
from asvit.data import FractalDataset, load_images, open_dataset
from asvit.data.base import packed, subset, unpacked, unreadable_images
from asvit.data.decoding import ENDINGS, FORMATS, read_image, to_rgb
from tests.hostile import FIXED, changed_bytes, refused_or


def test_class_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What systems keep beside pictures is passed over, other files are counted."""
    images = ["a/1.PNG", "b/10.png", "b/2.png", "b/deep/er/3.jpg"]
    hidden = ["@eaDir/1.png/THUMB_M.jpg", "#recycle/2.png", ".hidden/x.png"]
    for name in (*images[::-1], *(f"{place}{name}" for name in hidden for place in ("", "a/"))):
        write_image(tmp_path / name)
    for name in ("a/2.dcm", "b/3.DCM", "b/deep/4", "a/.notes.txt", "Thumbs.db", "a/6.x\x1bb"):
        (tmp_path / name).touch()
    for _ in range(2):
        dataset = open_dataset(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert [str(p.relative_to(tmp_path)) for p in dataset.files] == images
    assert dataset.labels.tolist() == [0, 1, 1, 1]
    assert "4 images, 2 classes" in dataset.source
    picture, label = dataset[1]
    assert picture.getpixel((3, 3)) == (10, 20, 30)
    assert label == 1
    (line,) = caplog.messages  # once
    assert "left out are 4 files of endings that are not read (2 .dcm, 1 .x\\x1bb, 1 w" in line


@pytest.mark.parametrize("ending", sorted(ENDINGS - {".npy", ".pfm"}))
def test_pictures_of_any_ending_are_read(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    form = {".mpo": "JPEG"}.get(ending, Image.registered_extensions()[ending])
    for name in (f"x{ending}", f"y{ending.upper()}"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_bytes(ENCODED[form])
    dataset = open_dataset(str(tmp_path))
    assert [dataset.picture(index).mode for index in range(len(dataset))] == ["RGB"] * 2
    assert caplog.messages == []


def test_runs_beside_pictures_are_no_classes(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "runs/1.png"):
        write_image(tmp_path / name)
    assert open_dataset(str(tmp_path)).classes == ("a", "b", "runs")
    (tmp_path / "runs" / "1.png").unlink()
    for run in ("runs/train-x", "mine", "a/mine"):
        write_image(tmp_path / run / "predictions.jpg")
        (tmp_path / run / MARKER).write_text("training\n")
    dataset = open_dataset(str(tmp_path))
    assert [dataset.name(index) for index in range(len(dataset))] == ["a/1.png", "b/1.png"]


def test_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"file.txt' is a file; give a folder"):
        open_dataset(str(tmp_path / "file.txt"))
    with pytest.raises(ValueError, match=r"no images in '.*', but 1 \.txt; use \.jpg, "):
        open_dataset(str(tmp_path))
    write_image(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"no images in '.*b'"):
        open_dataset(str(tmp_path))
    write_image(tmp_path / "b" / "1.png")
    write_image(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"both images \(0\.png\) and folders \(a\)"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("kept", [0, 4_000])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff", "webp"])
def test_an_unreadable_file_is_named(tmp_path: Path, kept: int, suffix: str) -> None:
    path = tmp_path / f"bad.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, quality=100)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"^cannot read image '.*bad\.{suffix}': [^\n]*$"):
        open_dataset(str(tmp_path))[0]


def test_transparency_is_over_black(tmp_path: Path) -> None:
    assert to_rgb(Image.new("RGBA", (4, 4), (200, 100, 50, 0))).getpixel((0, 0)) == (0, 0, 0)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=b"\xff\x80")
    assert read_image(tmp_path / "p.png").getpixel((0, 0)) == pytest.approx((100, 50, 25), abs=1)


@pytest.mark.parametrize("values", [np.float32([[0.5]]), np.int32([[-1]]), np.int32([[1 << 20]])])
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff': its pixels are not 8 or 16-bit integers"):
        read_image(tmp_path / "a.tiff")


MANY = settings(
    FIXED, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def encoded(kind: str, size: tuple[int, int] = (12, 9)) -> bytes:
    """A picture of noise in a format that Pillow writes."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(
        buffer, kind, **({"sizes": [size], "bitmap_format": "bmp"} if kind == "ICO" else {})
    )
    return buffer.getvalue()


# Of formats that Pillow only reads, 12 x 9 pixels of one colour.
BY_HAND = {"PSD": b"8BPS" + struct.pack(">H6xHIIHH14x", 1, 3, 9, 12, 8, 3) + bytes(3 * 108)}
ENCODED = {kind: BY_HAND.get(kind) or encoded(kind) for kind in FORMATS}


def folder_of(root: Path, names: tuple[str, ...], per_class: int = 3) -> Path:
    """A folder with a class of each name, and images of these names in it; no two files equal."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            content = ENCODED["PNG"] + bytes([place, number])
            (root / name / f"{name[:50]}{number}.png").write_bytes(content)
    return root


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what it goes on without
@pytest.mark.parametrize("kind", FORMATS)
@MANY
@given(data=st.data())
def test_any_bytes(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path = tmp_path / "a.jpg"  # whatever they are called
    path.write_bytes(ENCODED[kind])
    assert read_image(path).size == (12, 9)
    path.write_bytes(data.draw(changed_bytes(ENCODED[kind])))
    found = refused_or(lambda: read_image(path))
    assert found is None or found.mode == "RGB"


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that claims to be that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0", b"\xff\xd8\xff", b"GIF89a", b"BM", b"P6", b"II*\0", b"RIFF\0\0\0\0WEBP"),
        *(bomb(60_000, 60_000), bomb(2**31 - 1, 2**31 - 1), bomb(0, 9), b"P6 99999 99999 255\n"),
        b"P6 " + b"9" * 5000,
    ],
    ids=lambda data: repr(data[:16]),
)
def test_files_that_are_no_images(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert refused_or(lambda: read_image(path)) is None


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "none")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    found = open_dataset(str(tmp_path))
    assert len(found) == 2
    for index in range(2):
        assert refused_or(lambda index=index: found.picture(index)) is None
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    assert refused_or(lambda: open_dataset(str(tmp_path))) is None


@pytest.mark.parametrize("target", [".", "..", "../..", "../b"])
def test_links_that_lead_back(tmp_path: Path, target: str) -> None:
    root = folder_of(tmp_path / "root", ("a", "b"))
    (root / "a" / "again").symlink_to(target)
    (root / "b" / "again").symlink_to("../a")
    assert refused_or(lambda: open_dataset(str(root))) is None


@pytest.mark.parametrize("where", ["zip", "plain", "profile", "later"])
@pytest.mark.parametrize("size", [1 << 21, 1 << 25])
def test_png_files_may_hold_much_text(tmp_path: Path, where: str, size: int) -> None:
    text, image, more = PngImagePlugin.PngInfo(), Image.new("RGB", (8, 8), (1, 2, 3)), {}
    if where == "profile":
        more = {"icc_profile": bytes(size)}
    else:
        text.add_text("x", "y" * size, zip=where != "plain")
    image.save(tmp_path / "a.png", pnginfo=text, **more)
    if where == "later":  # behind the pixels
        content = (tmp_path / "a.png").read_bytes()
        begin, data = content.index(b"zTXt") - 4, content.index(b"IDAT") - 4
        parts = content[:begin], content[data:-12], content[begin:data], content[-12:]
        (tmp_path / "a.png").write_bytes(b"".join(parts))
    assert open_dataset(str(tmp_path)).picture(0).getpixel((0, 0)) == (1, 2, 3)


def test_unreadable_images_are_named_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "all", a=10, b=10)
    bad = ["a/001.png", "a/005.png", "b/003.png", "b/009.png"]
    for name in bad:
        (folder / name).write_text("nothing")
    monkeypatch.setattr("asvit.data.base.HEADERS", 3)
    seen: list[tuple[int, int]] = []
    images = open_dataset(str(folder))
    found = unreadable_images(images, range(20), progress=lambda *step: seen.append(step))
    assert [name for name, _ in found] == bad
    assert all("it is not a BMP" in why for _, why in found)
    assert seen[-1] == (20, 20)
    some = subset(images, np.array([5, 6, 13]), "for training")
    assert [name for name, _ in unreadable_images(some, range(3))] == ["a/005.png", "b/003.png"]
    assert unreadable_images(FractalDataset(2, 3, 32), range(6)) == []
    words = r"^4 of 20 images cannot be read; repair or remove them: "
    with pytest.raises(ValueError, match=words):
        load_images(str(folder), count=20, image_size=32, seed=0)


@given(st.lists(st.text(st.characters(exclude_categories=(), exclude_characters="\0"))))
def test_every_name_comes_back(texts: list[str]) -> None:
    assert [*map(unpacked, pickle.loads(pickle.dumps(packed(texts))))] == texts


def test_lines_of_pixels_are_refused(tmp_path: Path) -> None:
    """Resized by the shorter side, they would take gigabytes."""
    for ratio, fits in ((99, True), (101, False)):
        path = tmp_path / f"{ratio}.png"
        Image.new("RGB", (4 * ratio, 4)).save(path)
        assert (refused_or(lambda path=path: read_image(path)) is not None) == fits
