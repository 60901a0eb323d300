import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor

from asvit.data.kinds import PICTURES, ImageKind
from asvit.data.preparation import square
from asvit.training.images.augmentation import Augmentation
from asvit.training.images.order import preserved_random_state, seed_all

MEAN = (0.485, 0.456, 0.406)


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("text", ["nonsense", "rand-m9-x3"])
def test_unknown_policies(text: str) -> None:
    with pytest.raises(ValueError, match=f"timm cannot read auto_augment '{text}'"):
        Augmentation(auto_augment=text).train_transform(32, mean=MEAN)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(),
        Augmentation(auto_augment="none"),
        Augmentation(auto_augment="3a"),
        Augmentation(auto_augment="augmix-m5-w4-d2"),
        Augmentation(auto_augment="original-mstd0.5"),
        Augmentation(auto_augment="none", color_jitter=0.0, flip=0.0, interpolation="bilinear"),
        Augmentation(resizing="torch"),
    ],
)
def test_a_transform_follows_the_seed_and_survives_pickling(
    augmentation: Augmentation, picture: Image.Image
) -> None:
    """Workers that are not forks get it pickled."""
    transform = augmentation.train_transform(32, mean=MEAN)
    seen = []
    for one in (transform, pickle.loads(pickle.dumps(transform))):
        with preserved_random_state():
            seed_all(7)
            seen.append(one(picture))
    assert torch.equal(*seen)
    assert seen[0].shape == (3, 32, 32)
    assert seen[0].dtype == torch.uint8


@pytest.mark.parametrize("policy", [None, "3a"])  # the two that timm jitters with
@pytest.mark.parametrize("strength", [0.2, 1.5])  # factors of 0 and above 2, too
def test_colours_are_varied_as_timm_varies_them(
    picture: Image.Image, policy: str | None, strength: float
) -> None:
    from timm.data import create_transform

    ours = Augmentation(auto_augment=policy, color_jitter=strength, scale=0.5)
    theirs: Any = create_transform(
        32,
        is_training=True,
        auto_augment=policy,
        color_jitter=strength,
        scale=(0.5, 1.0),
        interpolation="bicubic",
        mean=MEAN,
        use_prefetcher=True,
    )
    pixels = []
    for transform in (ours.train_transform(32, mean=MEAN), theirs):
        with preserved_random_state():
            seed_all(3)
            pixels.append(torch.stack([torch.as_tensor(transform(picture)) for _ in range(60)]))
    assert torch.equal(*pixels)
    assert pixels[0].unique(dim=0).shape == pixels[0].shape


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_torch_resizes_the_same_crops_but_for_rounding(
    picture: Image.Image, interpolation: str
) -> None:
    options: dict[str, Any] = {"auto_augment": None, "color_jitter": 0.0}
    smooth = picture.resize((240, 160), Image.Resampling.BICUBIC)
    pixels = []
    for resizing in ("pillow", "torch"):
        augmentation = Augmentation(**options, interpolation=interpolation, resizing=resizing)
        transform = augmentation.train_transform(32, mean=MEAN)
        with preserved_random_state():
            seed_all(7)
            pixels.append(torch.stack([transform(smooth) for _ in range(20)]).int())
    difference = (pixels[0] - pixels[1]).abs()
    assert 0 < difference.max() <= 2
    assert difference.float().mean() < 0.1


def test_what_is_switched_off() -> None:
    augmentation = Augmentation(erasing=0.0, mixup=0.0, cutmix=0.0)
    assert augmentation.on_normalised() is None
    assert augmentation.mixing(4, 0.1) is None
    assert augmentation.copies == 1


def test_validation_cuts_the_middle(picture: Image.Image) -> None:
    """The shorter side becomes 20 / 0.5 = 40, as it is; of 40 × 60 the middle 20 × 20 stays."""
    transform = Augmentation(crop_pct=0.5).preparation(20).crop
    middle = np.asarray(picture)[10:30, 20:40].transpose(2, 0, 1)
    assert (transform(picture).numpy() == middle).all()


@pytest.mark.parametrize("size", [(500, 375), (330, 33), (7, 3), (64, 64)])
def test_validation_is_timm_s(size: tuple[int, int]) -> None:
    assert unlike_timm(noise(size)) == 0


@pytest.mark.parametrize("size", [(375, 500), (33, 330), (21, 43)])
def test_tall_images_are_resized_alike_by_every_version_of_pillow(size: tuple[int, int]) -> None:
    """Pillow 13 begins with the height of some; both round to 8 bits in between."""
    picture = noise(size)
    assert unlike_timm(picture) < 0.5
    filter = Image.Resampling.BICUBIC
    high = 27 * size[1] // size[0]
    wide = picture.resize((27, size[1]), filter).resize((27, high), filter)
    top = round((high - 24) / 2)
    middle = np.asarray(wide)[top : top + 24, 2:26].transpose(2, 0, 1)  # 1.5 is rounded to 2
    assert (Augmentation().preparation(24).crop(picture).numpy() == middle).all()


@pytest.mark.parametrize("size", [(1000, 40), (41, 1001), (3, 64)])
def test_validation_of_long_images_is_timm_s_to_a_pixel(size: tuple[int, int]) -> None:
    smooth = noise((size[0] // 40 + 1, size[1] // 40 + 1)).resize(size, Image.Resampling.BICUBIC)
    assert unlike_timm(smooth) < 4  # of 255: half a pixel aside


def noise(size: tuple[int, int]) -> Image.Image:
    shape = (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def unlike_timm(image: Image.Image) -> float:
    """The mean difference between our image to validate with, and timm's."""
    from timm.data import create_transform

    theirs: Any = create_transform(
        24, is_training=False, interpolation="bicubic", crop_pct=0.875, use_prefetcher=True
    )
    ours = Augmentation().preparation(24).crop(image)
    return float((ours.float() - theirs(image).float()).abs().mean())


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 1_000_000)])
def test_an_image_of_one_line_is_not_made_gigabytes(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, resize = [], Image.Image.resize

    def note(image: Image.Image, wanted: tuple[int, int], *given: Any, **how: Any) -> Image.Image:
        sizes.append(wanted)
        assert math.prod(wanted) < 10**6
        return resize(image, wanted, *given, **how)

    monkeypatch.setattr(Image.Image, "resize", note)
    image = Image.new("RGB", size, (9, 8, 7))
    augmentation = Augmentation(auto_augment="none", color_jitter=0.0)
    with preserved_random_state():
        seed_all(0)
        for transform in (
            augmentation.preparation(24).crop,
            augmentation.train_transform(24, mean=MEAN),
            lambda image: torch.tensor(np.array(square(image, 24)).transpose(2, 0, 1)),
        ):
            assert (transform(image) == torch.tensor([9, 8, 7]).view(3, 1, 1)).all()
    assert len(sizes) == 4


def test_erasing() -> None:
    erase = Augmentation(erasing=1.0).on_normalised()
    image = torch.zeros(3, 32, 32)
    with preserved_random_state():
        seed_all(0)
        erase(image)
    changed = (image != 0).all(0)
    rows, columns = changed.any(1), changed.any(0)
    assert 0 < int(changed.sum()) == int(rows.sum()) * int(columns.sum())  # a rectangle
    assert len(image[:, changed].unique()) > 10  # of noise
    assert Augmentation(erasing=0.0).on_normalised() is None


def posterizing(augmentation: Augmentation) -> Callable[[Image.Image], object]:
    transform = augmentation.train_transform(32, mean=MEAN)
    random = next(step for step in transform.transforms if hasattr(step, "ops"))
    return next(op for op in random.ops if op.name == "PosterizeIncreasing")


def test_posterizing_to_no_bits_is_black(picture: Image.Image) -> None:
    """What the strongest level asks for, reached now and then with mstd; Pillow 13 refuses it."""
    known = dict(auto_augment.NAME_TO_OP)
    weak, strong = (
        np.asarray(posterizing(Augmentation(auto_augment=f"rand-{level}-inc1-p1"))(picture))
        for level in ("m5", "m10")
    )
    assert len(np.unique(weak)) == 4
    assert not strong.any()
    assert known == auto_augment.NAME_TO_OP  # timm's table is restored


def mixed(augmentation: Augmentation, seed: int, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Four images, each of its own grey: 0, 1, 2, 3."""
    mixing = augmentation.mixing(4, smoothing)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16).clone()
    with preserved_random_state():
        seed_all(seed)
        return mixing(images, torch.arange(4))


@pytest.mark.parametrize(("seed", "smoothing"), [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.5)])
def test_mixup_by_hand(seed: int, smoothing: float) -> None:
    """Smoothing by a tenth over four classes: 0.025 each, 0.925 for a label, in proportion."""
    images, targets = mixed(Augmentation(cutmix=0), seed, smoothing)
    off, on = smoothing / 4, 1 - smoothing
    own = (float(targets[0, 0]) - off) / on
    other = 1 - own
    expected = [off + on * own, off, off, off + on * other]
    assert targets[0].tolist() == pytest.approx(expected, abs=1e-6)
    expected = [off, off + on * own, off + on * other, off]
    assert targets[1].tolist() == pytest.approx(expected, abs=1e-6)
    assert images[0].flatten().tolist() == pytest.approx([3 * other] * 768, abs=1e-6)
    assert float(images[1, 0, 0, 0]) == pytest.approx(own + 2 * other, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_cutmix_by_hand(seed: int) -> None:
    """An image holds as much of its mirror image as its target says."""
    images, targets = mixed(Augmentation(mixup=0), seed)
    assert set(images[0].unique().tolist()) <= {0.0, 3.0}
    assert float((images[0] == 3).float().mean()) == pytest.approx(float(targets[0, 3]), abs=1e-6)


@pytest.mark.parametrize("resizing", ["pillow", "torch", "array"])
@pytest.mark.parametrize("sides", [(24, 72), (300, 40), (500, 40)])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_whole_pictures_are_augmented_where_they_are_fitted_so(
    fit: str, sides: tuple[int, int], resizing: str
) -> None:
    """Of the whole of a square picture, the largest crop is all: both of its ends are there."""
    pixels = np.full((*sides, 3), 120, np.uint8)
    longer = sides.index(max(sides))
    length = max(sides) // 8
    along = np.moveaxis(pixels, longer, 0)
    along[:length], along[-length:] = 0, 255
    is_array = resizing == "array"
    kind = ImageKind(3, "uint8", picture=False) if is_array else PICTURES
    augmentation = Augmentation(
        auto_augment="none", color_jitter=0.0, flip=0.0, scale=1.0, fit=fit,
        resizing="pillow" if is_array else resizing,
    )  # fmt: skip
    transform = augmentation.train_transform(32, mean=(0.5,) * 3, kind=kind)
    output = transform(pixels if is_array else Image.fromarray(pixels)).float()
    assert output.shape == (3, 32, 32)
    lines = output[0].movedim(longer, 0)
    assert (lines[:4].min() < 100 and lines[-4:].max() > 150) == (fit != "crop")
    if fit == "pad":
        assert float(lines[16, 0]) == pytest.approx(127.5, abs=1)
