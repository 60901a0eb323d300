"""What a sample of pictures shows: the ground under transparent ones, oblong and flat ones."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asvit.core.shared_settings import GROUNDS
from asvit.data import load_images, open_dataset
from asvit.data.decoding import read_as
from asvit.data.kinds import GREY, RGB, ImageKind
from asvit.data.preparation import Preparation
from asvit.data.statistics import Look, Survey, survey

CLEAR, OPAQUE = 0, 255


def drawing(colour: tuple[int, int, int], alpha: int = OPAQUE) -> Image.Image:
    """A square of a colour in the middle, and nothing around it."""
    picture = Image.new("RGBA", (24, 24), (77, 88, 99, CLEAR))  # hidden, and no reason
    picture.paste((*colour, alpha), (6, 6, 18, 18))
    return picture


def in_palette(picture: Image.Image) -> Image.Image:
    indices = np.where(np.asarray(picture)[..., 3] > 0, 1, 0).astype(np.uint8)
    palette = Image.fromarray(indices, "P")
    palette.putpalette([77, 88, 99, *picture.getpixel((12, 12))[:3]])
    return palette


def deep(picture: Image.Image) -> Image.Image:
    """16-bit grey, of which a value stands for transparent pixels."""
    pixels = np.asarray(picture).astype(np.uint16)
    return Image.fromarray(
        np.where(pixels[..., 3] > 0, 257 * pixels[..., 0], 999).astype(np.uint16)
    )


#: Ways to store a drawing: of the picture, what Pillow saves, and with which options.
FORMS: Mapping[str, tuple[Callable[[Image.Image], Image.Image], str, Mapping[str, object]]] = {
    "RGBA": (lambda picture: picture, "png", {}),
    "LA": (lambda picture: picture.convert("LA"), "png", {}),
    "P": (in_palette, "png", {"transparency": 0}),
    "P with bytes": (in_palette, "png", {"transparency": bytes([CLEAR, OPAQUE])}),
    "GIF": (in_palette, "gif", {"transparency": 0}),
    "WebP": (lambda picture: picture, "webp", {"lossless": True}),
    "RGBA TIFF": (lambda picture: picture, "tif", {}),
    "I;16": (deep, "png", {"transparency": 999}),
}


def save(folder: Path, name: str, picture: Image.Image, form: str = "RGBA") -> None:
    change, ending, options = FORMS[form]
    for label in ("a", "b"):
        path = folder / label / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        change(picture).save(path, **options)


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (250, 10, 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reading", [RGB, GREY])
@pytest.mark.parametrize(
    ("colours", "ground"),
    [
        ([BLACK] * 3, "white"),
        ([WHITE] * 3, "black"),
        ([BLACK, WHITE], "grey"),
        ([BLACK] * 9 + [WHITE], "grey"),
        ([(128,) * 3, BLACK], "white"),
    ],
)
def test_the_ground_is_what_all_drawings_stand_out_from(
    colours: list[tuple[int, int, int]], ground: str, reading: str, form: str, tmp_path: Path
) -> None:
    if form == "I;16" and reading == GREY:
        pytest.skip("16 bits are not cut to 8-bit grey")
    for place, colour in enumerate(colours):
        save(tmp_path, str(place), drawing(colour), form)
    images = open_dataset(f"{tmp_path}:{reading}")
    assert survey(images).ground == ground
    laid = images.on(ground)
    colour = {"white": 255, "black": 0, "grey": 128}[ground]
    for index in range(len(laid)):
        pixels = np.asarray(laid.picture(index))
        assert (pixels[:4] == colour).all()
        assert abs(int(pixels[12, 12, 0]) - colour) > 60
    assert survey(images, seed=1, most=len(images)).ground == ground


@pytest.mark.parametrize(
    "picture",
    [
        drawing(RED, alpha=0).convert("RGB"),
        drawing(RED, OPAQUE).resize((4, 4), box=(9, 9, 13, 13)),
    ],
)
def test_opaque_pictures_have_no_ground(picture: Image.Image, tmp_path: Path) -> None:
    save(tmp_path, "x", picture)
    images = open_dataset(str(tmp_path))
    assert survey(images).ground == ""
    assert [np.asarray(images.on(name).picture(0)).tobytes() for name in GROUNDS] == [
        np.asarray(images.picture(0)).tobytes()
    ] * 3
    assert load_images(str(tmp_path), count=2, image_size=8, seed=0).source == images.source


def test_pictures_are_read_on_the_ground_of_the_preparation(tmp_path: Path) -> None:
    save(tmp_path, "x", drawing(BLACK))
    path = tmp_path / "a" / "x.png"
    for ground, level in (("white", 255), ("black", 0), ("grey", 128)):
        how = Preparation(24, crop_pct=1.0, ground=ground)
        assert int(how.read(path)[0, 0, 0]) == level
        assert Preparation.of(24, 3, how.facts).ground == ground
    as_stored = read_as(path, ImageKind(), None)
    assert isinstance(as_stored, Image.Image)
    assert as_stored.tobytes() == drawing(BLACK).tobytes()


@pytest.mark.parametrize(
    ("sides", "hidden", "fit"),
    [
        ([(50, 50)], 0.0, "crop"),
        ([(60, 40), (40, 60), (500, 333)], 1 / 3, "crop"),
        ([(90, 30)], 2 / 3, "squash"),
        ([(30, 90)] * 5, 2 / 3, "squash"),
        ([(90, 30), (30, 90)], 2 / 3, "pad"),
        ([(80, 40), (100, 40), (90, 40)], 0.55, "squash"),
        ([(200, 20), (40, 40)], 0.45, "pad"),
        ([], 0.0, "crop"),
    ],
)
def test_oblong_pictures_are_fitted_by_their_sides(
    sides: list[tuple[int, int]], hidden: float, fit: str
) -> None:
    found = Survey([Look(*pair) for pair in sides])
    assert found.hidden == pytest.approx(hidden, abs=0.005)
    assert found.fit == fit
