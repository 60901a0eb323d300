"""Values that the released As-ViT code gives (float32, circle of radius 1)."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import asvit
from proxies import Circle, curve_speed, extrinsic_curvature, gauss_map_speed, ntk_condition_number

FILES = sorted((Path(__file__).parents[1] / "data" / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_released_numbers(path: Path) -> None:
    with safe_open(path, "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    depths, width = tuple(json.loads(about["depths"])), int(about["width"])
    genotype = replace(asvit.Genotype.parse(about["arch"]), depths=depths, width=width)
    model = asvit.build(genotype, image_size=int(about["image_size"]))
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if "weights." in k}
    model.load_state_dict(weights)
    angles = torch.linspace(0, 2 * math.pi, int(about["n_theta"]))
    circle = Circle(tensors["circle_basis"], angles)
    for name, found, rel in (
        ("length_distortion_unit_circle", curve_speed(model, circle).sum(), 1e-4),
        ("extrinsic_curvature", extrinsic_curvature(model, circle).sum(), 1e-4),
        ("gauss_map_length", gauss_map_speed(model, circle).sum(), 1e-3),
        ("ntk_condition_number", ntk_condition_number(model, tensors["images"].float()), 1e-3),
    ):
        assert float(found) == pytest.approx(float(about[name]), rel=rel), name
