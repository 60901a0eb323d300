"""How many pictures a network was trained on; tests/asvit/runs has those of trainings."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import asvit
from asvit.data import open_dataset
from asvit.use.trained_on import count_trained


@pytest.fixture(scope="module", autouse=True)
def _quick_figures(quick_figures: None) -> None: ...


def test_of_inherited_weights_those_of_the_supernet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"photos/{label}/{number}.png")
    small = {"image_size": 16, "width": 24, "epochs": 1, "batch_size": 5, "device": "cpu"}
    sizes = {"train_images": 12, "validation_images": 4, "test_images": 4}
    asvit.train_supernet(data="photos", out="supernet", **small, **sizes)
    few = {"population": 4, "generations": 1, "keep": 2, "crossovers": 1, "mutations": 1}
    asvit.evolve_supernet("supernet", out="evolved", device="cpu", **few)
    images = open_dataset("photos")
    assert count_trained("evolved", images) == 12
    shutil.copytree("photos", "copies")
    assert count_trained("evolved/inherited.safetensors", open_dataset("copies")) == 12
    shutil.rmtree("photos")
    with caplog.at_level(logging.WARNING):
        assert count_trained("evolved", open_dataset("copies")) == 0
    assert "there is no photos here, which supernet was trained on" in caplog.text
