import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from asvit.training.augmentation import Augmentation
from asvit.training.loaders import preserved_random_state, seed_all

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
        Augmentation(auto_augment="none", color_jitter=0.0, flip=0.0, shift=2, fit="pad"),
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


@pytest.mark.parametrize("sides", [(24, 72), (300, 40), (500, 40)])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_whole_pictures_are_augmented_where_they_are_fitted_so(
    fit: str, sides: tuple[int, int]
) -> None:
    """Of the whole of a square picture, the largest crop is all: both of its ends are there."""
    pixels = np.full((*sides, 3), 120, np.uint8)
    longer = sides.index(max(sides))
    length = max(sides) // 8
    along = np.moveaxis(pixels, longer, 0)
    along[:length], along[-length:] = 0, 255
    augmentation = Augmentation(
        auto_augment="none", color_jitter=0.0, flip=0.0, crop_scale=1.0, fit=fit
    )
    transform = augmentation.train_transform(32, mean=(0.5,) * 3)
    output = transform(Image.fromarray(pixels)).float()
    assert output.shape == (3, 32, 32)
    lines = output[0].movedim(longer, 0)
    assert (lines[:4].min() < 100 and lines[-4:].max() > 150) == (fit != "crop")
    if fit == "pad":
        assert float(lines[16, 0]) == pytest.approx(127.5, abs=1)
