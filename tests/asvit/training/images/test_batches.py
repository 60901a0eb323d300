import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asvit.training.images.augmentation import Augmentation
from asvit.training.images.batches import Mixing


def mixed(augmentation: Augmentation, seed: int, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Four images, each of its own grey: 0, 1, 2, 3."""
    mixing = Mixing(augmentation, classes=4, label_smoothing=smoothing)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16).clone()
    return mixing(images, torch.arange(4), seed=seed)


@settings(deadline=None)  # timm is imported with the first
@given(st.integers(0, 2**63 - 1), st.floats(0, 0.9))
def test_targets_sum_to_one(seed: int, smoothing: float) -> None:
    _, targets = mixed(Augmentation(), seed, smoothing)
    assert targets.sum(1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_by_hand(seed: int) -> None:
    images, targets = mixed(Augmentation(cutmix=0), seed)
    share_of_0 = float(targets[0, 0])
    assert targets[0].tolist() == pytest.approx([share_of_0, 0, 0, 1 - share_of_0], abs=1e-6)
    assert images[0].flatten().tolist() == pytest.approx([3 * (1 - share_of_0)] * 768, abs=1e-6)
    assert targets[1].tolist() == pytest.approx([0, share_of_0, 1 - share_of_0, 0], abs=1e-6)
    assert float(images[1, 0, 0, 0]) == pytest.approx(share_of_0 + 2 * (1 - share_of_0))


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_by_hand(seed: int) -> None:
    """An image holds as much of its mirror image as its target says."""
    images, targets = mixed(Augmentation(mixup=0), seed)
    assert set(images[0].unique().tolist()) <= {0.0, 3.0}
    assert float((images[0] == 3).float().mean()) == pytest.approx(float(targets[0, 3]), abs=1e-6)


def test_label_smoothing_by_hand() -> None:
    """A tenth over four classes: 0.025 each, 0.925 for a label, mixed in proportion."""
    share_of_0 = float(mixed(Augmentation(cutmix=0), 0)[1][0, 0])
    _, targets = mixed(Augmentation(cutmix=0), 0, smoothing=0.1)
    expected = [0.025 + 0.9 * share_of_0, 0.025, 0.025, 0.025 + 0.9 * (1 - share_of_0)]
    assert targets[0].tolist() == pytest.approx(expected)


def test_the_seed_mixes_and_nothing_else_does() -> None:
    before = torch.get_rng_state()
    first, again, other = (mixed(Augmentation(), seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
