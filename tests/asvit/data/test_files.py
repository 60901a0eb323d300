from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asvit.data.files import FolderDataset, read_image, square, to_rgb


def make(path: Path, colour: tuple[int, int, int] = (10, 20, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), colour).save(path)
    return path


def test_class_folders(tmp_path: Path) -> None:
    images = ["a/1.PNG", "b/10.png", "b/2.png", "b/deep/er/3.jpg"]
    for name in (*images[::-1], ".hidden/x.png"):
        make(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    dataset = FolderDataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert [str(p.relative_to(tmp_path)) for p in dataset.paths] == images
    assert dataset.labels.tolist() == [0, 1, 1, 1]
    assert "4 images, 2 classes" in dataset.source
    picture, label = dataset[1]
    assert picture.getpixel((3, 3)) == (10, 20, 30)
    assert label == 1


def test_a_flat_folder_is_one_class(tmp_path: Path) -> None:
    for name in "ba":
        make(tmp_path / "holiday" / f"{name}.png")
    dataset = FolderDataset(tmp_path / "holiday", transform=lambda image: image.size)
    assert dataset[0] == ((12, 9), 0)
    assert dataset.classes == ("holiday",)
    assert dataset.labels.tolist() == [0, 0]
    assert [path.name for path in dataset.paths] == ["a.png", "b.png"]


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere'; give a folder of images"):
        FolderDataset(tmp_path / "nowhere")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"file.txt' is a file; give a folder"):
        FolderDataset(tmp_path / "file.txt")
    with pytest.raises(ValueError, match=r"no images in '.*'; use \.jpg, "):
        FolderDataset(tmp_path)
    make(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"no images in '.*b'"):
        FolderDataset(tmp_path)
    make(tmp_path / "b" / "1.png")
    make(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"both images \(0\.png\) and folders \(a\)"):
        FolderDataset(tmp_path)
    for part in ("train", "val"):
        make(tmp_path / "parts" / part / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"holds splits, not classes; give '.*train'"):
        FolderDataset(tmp_path / "parts")


@pytest.mark.parametrize("kept", [0, 4_000])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff", "webp"])
def test_an_unreadable_file_is_named(tmp_path: Path, kept: int, suffix: str) -> None:
    path = tmp_path / f"bad.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, quality=100)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"^cannot read image '.*bad\.{suffix}': [^\n]*$"):
        FolderDataset(tmp_path)[0]


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("RGB", (9, 9), (255, 255, 255)).convert("LA" if mode == "PA" else "RGB")
    assert to_rgb(image.convert(mode)).convert("RGB").getpixel((4, 4)) == (255, 255, 255)


def test_transparency_is_over_black(tmp_path: Path) -> None:
    assert to_rgb(Image.new("RGBA", (4, 4), (200, 100, 50, 0))).getpixel((0, 0)) == (0, 0, 0)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=b"\xff\x80")
    assert read_image(tmp_path / "p.png").getpixel((0, 0)) == pytest.approx((100, 50, 25), abs=1)


def test_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    deep = np.array([[0, 256 * 77], [256 * 128, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png"))[..., 0].tolist() == [[0, 77], [128, 255]]


@pytest.mark.parametrize("values", [np.float32([[0.5]]), np.int32([[-1]]), np.int32([[1 << 20]])])
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff': its pixels are not 8 or 16-bit integers"):
        read_image(tmp_path / "a.tiff")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 40))
def test_square_of_any_shape(width: int, height: int, size: int) -> None:
    assert square(Image.new("RGB", (width, height)), size).size == (size, size)


def test_square_keeps_the_middle() -> None:
    image = Image.new("RGB", (90, 30), (255, 0, 0))
    image.paste((0, 255, 0), (30, 0, 60, 30))
    assert (np.asarray(square(image, 30)) == (0, 255, 0)).all()
