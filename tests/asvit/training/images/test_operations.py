"""RandAugment on a device gives what Pillow gives. The CPU stands for a GPU."""

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor

from asvit.data import FractalDataset
from asvit.training.images import operations
from asvit.training.images.augmentation import Augmentation
from asvit.training.images.operations import Operation, Recorder, apply
from tests.asvit.training.images.test_loaders import Batches, epoch, training
from tests.host_reads import HostReads

CPU = torch.device("cpu")
MEAN = (0.485, 0.456, 0.406)
SIDE = 24
MOVES = ["Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"]
NAMES = sorted({*auto_augment._RAND_TRANSFORMS, *auto_augment._RAND_INCREASING_TRANSFORMS})


def picture(seed: int) -> Image.Image:
    """Smooth, noisy, of few values, or of one colour."""
    rng = np.random.default_rng(seed)
    if seed % 4 == 0:
        return Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))
    size = (SIDE, SIDE, 3) if seed % 4 == 1 else (5, 6, 3)
    pixels = rng.integers(0, 4, size) * 20 + 90 if seed % 4 == 2 else rng.integers(0, 256, size)
    small = Image.fromarray(pixels.astype(np.uint8))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def as_batch(images: list[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in images])


def operation(name: str, magnitude: float, function: Any) -> auto_augment.AugmentOp:
    own = auto_augment.AugmentOp(name, 1.0, magnitude, {"img_mean": (124, 116, 104)})
    own.aug_fn = function
    return own


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_that_of_pillow(name: str) -> None:
    pictures, recorder = [picture(seed) for seed in range(16)], Recorder()
    functions = auto_augment.NAME_TO_OP
    expected, rng = [], random.Random(0)
    for place, one in enumerate(pictures):
        magnitude = rng.uniform(0, 9.9 if name.startswith("Posterize") else 10)
        if name == "Posterize":  # Pillow refuses to keep no bit
            magnitude = max(magnitude, 2.6)
        random.seed(place)
        expected.append(operation(name, magnitude, functions[name])(one))
        recorder.begin(place)
        random.seed(place)
        recorded = recorder.standing_for(functions)[name]
        assert operation(name, magnitude, recorded)(one) is one
    batch = as_batch(pictures)
    apply(batch, recorder.take())
    errors = (batch.int() - as_batch(expected).int()).abs()
    assert (batch != as_batch(pictures)).any()
    if name in MOVES:
        assert errors.max() <= 1
        assert (errors > 0).double().mean() < 0.005
    else:
        assert not errors.any()


def test_operations_follow_one_another_and_leave_other_images() -> None:
    batch = as_batch([picture(1), picture(3), picture(5)])
    before = batch.clone()
    halved, inverted = bytes(n // 2 for n in range(256)), bytes(255 - n for n in range(256))
    queue = [
        Operation(2, 1, "table", inverted),
        Operation(0, 0, "table", inverted),
        Operation(2, 0, "table", halved),
        Operation(0, 1, "table", halved),
    ]
    apply(batch, queue)
    assert torch.equal(batch[0], (255 - before[0]) // 2)
    assert torch.equal(batch[1], before[1])
    assert torch.equal(batch[2], 255 - before[2] // 2)


@pytest.mark.parametrize(
    ("policy", "workers"),
    [
        *(("rand-m9-mstd0.5-inc1", workers) for workers in (0, 2)),
        *((policy, 0) for policy in ("rand-m6-n3-mstd1", "rand-m15-p1")),
    ],
)
def test_batches_are_those_of_workers_but_for_rounding(policy: str, workers: int) -> None:
    fractals = FractalDataset(4, 7, SIDE)
    options: dict[str, Any] = {"image_size": SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    options["augmentation"] = Augmentation(auto_augment=policy, mixup=0.0, cutmix=0.0)
    expected = epoch(training(fractals, **options), 1)
    options["augmentation"] = Augmentation(
        auto_augment=policy, mixup=0.0, cutmix=0.0, on_device=True
    )
    loader = training(fractals, **options, device=CPU, workers=workers)
    assert differing(epoch(loader, 1), expected) < 0.01
    loader.close()
    layers, kinds = zip(*recorded_in(fractals, options), strict=True)
    assert max(layers) > 0
    assert {"table", "bicubic"} <= {*kinds}


def differing(some: Batches, others: Batches) -> float:
    """The share of values that differ by more than what a few steps of 256 come to."""
    shares = []
    for (images, targets), (expected, labels) in zip(some, others, strict=True):
        assert torch.equal(targets, labels)
        shares.append(((images - expected).abs() > 4 / 255).double().mean().item())
    return max(shares)


def recorded_in(fractals: FractalDataset, options: dict[str, Any]) -> set[tuple[int, str]]:
    """The layers and kinds of the operations that are drawn in an epoch."""
    return {
        (one.layer, one.kind)
        for _, parts in training(fractals, **options, device=CPU).prepared()
        for part in parts
        for one in part.operations
    }


def test_without_a_device_workers_apply_it() -> None:
    fractals = FractalDataset(4, 7, SIDE)
    seen = [
        epoch(training(fractals, image_size=SIDE, augmentation=Augmentation(on_device=there)))
        for there in (False, True)
    ]
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(*seen, strict=True))


@pytest.mark.parametrize("policy", ["original", "3a", "augmix-m5-w4-d2", "v0r-mstd0.5"])
def test_other_policies_are_for_workers(policy: str) -> None:
    augmentation = Augmentation(auto_augment=policy)
    message = f"auto_augment '{policy}' cannot be applied on a device; use a RandAugment such as"
    with pytest.raises(ValueError, match=message):
        augmentation.train_transform(SIDE, mean=MEAN, recorder=Recorder())


def test_a_recorded_transform_survives_pickling() -> None:
    """Workers that are not forks get it pickled, and read from the copy of the recorder."""
    recorder = Recorder()
    transform = Augmentation(auto_augment="rand-m9-p1").train_transform(
        SIDE, mean=MEAN, recorder=recorder
    )
    copy, own = pickle.loads(pickle.dumps((transform, recorder)))
    own.begin(3)
    copy(picture(3))
    assert [(one.image, one.layer) for one in own.take()] == [(3, 0), (3, 1)]
    assert not own.take()
    assert not recorder.take()


def test_the_host_waits_for_no_operation() -> None:
    kinds = enumerate(operations._CHANGES)
    queue = [Operation(0, layer, kind, values(kind)) for layer, kind in kinds]
    images = torch.empty(2, 3, SIDE, SIDE, dtype=torch.uint8, device="meta")
    with HostReads() as seen:
        apply(images, queue)
    assert seen.reads == 0
    assert seen.copies == 2 * len(queue)


def values(kind: str) -> bytes | list[float]:
    if kind == "table":
        return bytes(range(256))
    return [1, 0, 0, 0, 1, 0, 9, 9, 9] if kind.startswith("bi") else [0.5]
