"""Networks, inputs and values made with the released As-ViT code (float32, circle of radius 1)."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

import asvit
from proxies import Circle

FILES = sorted((Path(__file__).parents[1] / "data" / "golden").glob("*.safetensors"))


@dataclass(frozen=True)
class Golden:
    """A network with the inputs and the values that the released code gives for it."""

    model: nn.Module
    circle: Circle
    images: Tensor
    speed_sum: float
    curvature_sum: float
    gauss_map_speed_sum: float
    condition_number: float


def load_golden(path: Path) -> Golden:
    """Build the network of a golden file and load its weights."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    genotype = asvit.Genotype.parse(about["arch"])
    depths = tuple(json.loads(about["depths"]))
    genotype = replace(genotype, depths=depths, width=int(about["width"]))
    model = asvit.build(genotype, image_size=int(about["image_size"]))
    prefix = "weights."
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    )
    return Golden(
        model,
        Circle(tensors["circle_basis"], torch.linspace(0, 2 * math.pi, int(about["n_theta"]))),
        tensors["images"].float(),
        float(about["length_distortion_unit_circle"]),
        float(about["extrinsic_curvature"]),
        float(about["gauss_map_length"]),
        float(about["ntk_condition_number"]),
    )
