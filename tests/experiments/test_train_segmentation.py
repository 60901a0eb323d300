"""UperNet learns classes of pixels on tiny pictures, from the command line."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from run_script import Script
from tiny_scenes import SHARED, make_ade
from torch import nn
from torchvision.transforms import v2

from asvit.networks.pyramid import Pyramid, backbone
from asvit.training.distributed import ProcessGroup
from experiments import train_segmentation
from experiments.train_segmentation import Segmentation, SegmentationSettings, UperNet, main
from experiments.transfer_run import read_weights

AS_VIT = SHARED["arch"]
LINE = (
    "--data data --image-size 64 --epochs 8 --batch-size 4 --learning-rate 2e-3 --warmup 2 "
    "--drop-path 0 --scale 1 1 --classes 3 --head 32 --device cpu"
)


def settings(**changes: object) -> SegmentationSettings:
    own = {"classes": 3, "train": "training", "validation": "validation", "head": 16}
    return SegmentationSettings(**{**SHARED, **own, **changes})


def make_data(*, train: int = 8, validation: int = 4) -> None:
    make_ade(Path("data"), "training", images=train)
    make_ade(Path("data"), "validation", images=validation, seed=1)


def upernet(arch: str = AS_VIT, classes: int = 3) -> UperNet:
    pyramid = cast("Pyramid", backbone(arch, 64))
    return UperNet(pyramid, classes, head=16, mean=(0.5,) * 3, std=(0.2,) * 3)


@pytest.mark.parametrize("arch", [AS_VIT, "shift:1,1,1,1|2|12|1|24"])
def test_loss_falls_and_mean_iou_rises_above_chance(arch: str, script: Script) -> None:
    make_data()
    lines = [json.loads(line) for line in script(main, f"{arch} {LINE} --out run").splitlines()]
    assert script.code == 0
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    # All pixels in the most frequent class give an IoU below 100 for it and 0 for two others.
    assert lines[-1]["mean_iou"] > 100 / 3
    assert lines[-1]["pixel_accuracy"] > lines[-1]["mean_iou"]
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 8
    assert any(n.startswith("decode_head") for n in read_weights(Path("run") / CHECKPOINT))


CHECKPOINT = "checkpoint.safetensors"


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    make_data()
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    words = f"experiments.train_segmentation {AS_VIT} {LINE} --epochs 2 --out {tmp_path / 'run'}"
    words = words.replace("--data data", f"--data {tmp_path / 'data'}")
    done = subprocess.run(
        [*launch, *words.split()],
        cwd=Path(train_segmentation.__file__).parent.parent,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    # What both found together is what one finds alone with the weights that were written.
    task = Segmentation(settings(head=32))
    task.model.load_state_dict(read_weights(tmp_path / "run" / CHECKPOINT))
    alone = task.evaluate(ProcessGroup("cpu"))
    assert alone == pytest.approx({name: lines[-1][name] for name in alone}, abs=0.02)


@pytest.mark.parametrize("arch", [AS_VIT, "psvit2d:b-----|b-----|b-----|16"])
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_logits_have_the_size_of_the_image(arch: str, size: tuple[int, int]) -> None:
    model = upernet(arch).train()
    image, labels = torch.rand(2, 3, *size), torch.randint(3, (2, *size))
    losses = model(image, labels)
    assert sorted(losses) == ["loss_auxiliary", "loss_decode"]
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(image).shape == (2, 3, *size)


def test_pixels_without_a_class_do_not_count() -> None:
    model = upernet().eval()
    image, labels = torch.rand(2, 3, 64, 64), torch.randint(3, (2, 64, 64))
    labels[:, 32:] = 255
    with torch.no_grad():
        loss = model(image, labels)["loss_decode"]
        logits = model(image)[:, :, :32]
        nothing = model(image, torch.full_like(labels, 255))
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels[:, :32]))
    assert [float(value) for value in nothing.values()] == [0, 0]


def test_images_are_normalised_inside() -> None:
    model = upernet().eval()
    with torch.no_grad():
        expected = model(torch.zeros(1, 3, 64, 64))
        model.mean += 0.3
        shifted = model(torch.full((1, 3, 64, 64), 0.3))
    torch.testing.assert_close(shifted, expected)


def test_evaluation_counts_what_it_says() -> None:
    make_data(train=1, validation=2)
    task = Segmentation(settings())

    class First(nn.Module):
        """Finds class 1 everywhere."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, *image.shape[-2:])

    task.model = First()
    stored = [np.asarray(Image.open(f)) for f in Path("data/annotations/validation").iterdir()]
    right = sum((classes == 1).sum() for classes in stored)
    counted = sum((classes > 0).sum() for classes in stored)
    values = task.evaluate(ProcessGroup("cpu"))
    assert values["pixel_accuracy"] == pytest.approx(100 * right / counted, abs=1e-3)
    assert values["mean_iou"] == pytest.approx(100 * right / counted / 3, abs=1e-3)


def test_evaluation_is_at_the_size_of_the_annotation() -> None:
    make_ade(Path("data"), "training", images=1)
    make_ade(Path("data"), "validation", images=1, side=100)
    values = Segmentation(settings()).evaluate(ProcessGroup("cpu"))
    assert all(math.isfinite(cast("float", value)) for value in values.values())


def test_training_images_are_square_and_their_frame_has_no_class() -> None:
    make_data(train=2, validation=1)
    task = Segmentation(settings(scale=(0.5, 0.5)))
    image, labels = task.transform(*task.images[0])
    assert (image.shape, image.dtype) == ((3, 64, 64), torch.float32)
    assert labels.shape == (1, 64, 64)
    assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
    assert (labels == 255).float().mean() > 0.7  # a quarter of it is image
    assert any(isinstance(step, v2.RandomPhotometricDistort) for step in task.transform.transforms)
