"""A photograph lies the right way up wherever images are read, for all eight orientations."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_folders import fill
from PIL import ExifTags, Image

from asvit.data import load_images, open_dataset, open_training_sets
from asvit.data.decoding import read_image
from asvit.training.augmentation import Augmentation
from asvit.training.loaders import Batching, train_loader, validation_loader

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


@pytest.fixture(params=STORED)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two classes of pictures of one orientation."""
    root = tmp_path / "photographs"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(photograph(request.param) + name.encode())  # no two are equal
    return root


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


def test_measuring(folder: Path) -> None:
    images = load_images(str(folder), count=2, image_size=32, seed=0)
    plain = folder.parent / "plain"
    fill(plain, a=0, b=0)
    for name in NAMES:
        upright().save(plain / name)
    assert images.digest == load_images(str(plain), count=2, image_size=32, seed=0).digest


def test_training_and_validating(folder: Path) -> None:
    sets = open_training_sets(str(folder), held_out=0.5, image_size=32, seed=0)
    none = dict.fromkeys(("color_jitter", "erasing", "mixup", "cutmix", "flip"), 0.0)
    plain = Augmentation(auto_augment="none", **none, crop_scale=1.0, crop_pct=1.0)
    batching = Batching(image_size=32, batch_size=2, augmentation=plain)
    for loader in (
        train_loader(sets.train, batching),
        validation_loader(sets.validation, batching),
    ):
        for images, _ in loader:
            grey = images.mean(1)
            assert (grey[:, :12].mean((1, 2)) > grey[:, -12:].mean((1, 2))).all()
    assert (grey[:, :, :8].mean((1, 2)) > grey[:, :, -8:].mean((1, 2))).all()  # not mirrored


@pytest.mark.usefixtures("network_calls")
def test_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image()})
    rows = {"image": [{"bytes": (folder / "a/1.png").read_bytes(), "path": None}]}
    table = datasets.Dataset.from_dict(rows, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": table})
    assert_upright(open_dataset("hf:me/set").picture(0))


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
