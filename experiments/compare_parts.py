"""Which parts of an As-ViT pay: stem, head, local mixing, positions, initialisation, LayerScale.

Six random topologies, each as wide as a limit allows with its parts, are trained on three sets of
pictures: with the parts of the published network but weights drawn by width, with each other part
alone, with the parts together, and with all of these but one. Differences are paired by topology.

Run from a checkout: ``python -m experiments.compare_parts --jobs 2``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from asvit.architectures.genotype import Genotype
from asvit.architectures.parts import Parts
from asvit.executors import one_thread
from asvit.models.asvit import AsViT, asvit_cost
from asvit.spaces import load_space
from asvit.training.short import fit
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import load_task

BASE = "published"
TOGETHER = Parts(stem="conv", head="linear", mixing="both", init="width")
PUBLISHED = Parts(init="width")
#: Name -> what the network is made of.
MADE_OF: Mapping[str, Parts] = {
    BASE: PUBLISHED,
    "together": TOGETHER,
    "stem=conv": replace(PUBLISHED, stem="conv"),
    "head=linear": replace(PUBLISHED, head="linear"),
    "mixing=both": replace(PUBLISHED, mixing="both"),
    "together, stem=patch": replace(TOGETHER, stem="patch"),
    "together, head=mlp": replace(TOGETHER, head="mlp"),
    "together, mixing=none": replace(TOGETHER, mixing="none"),
    "together, mixing=block": replace(TOGETHER, mixing="block"),
    "together, mixing=ffn": replace(TOGETHER, mixing="ffn"),
    "together, positions=bias": replace(TOGETHER, positions="bias"),
    "together, init=0.02": replace(TOGETHER, init="0.02"),
    "together, init=mimetic": replace(TOGETHER, init="mimetic"),
    "together, scale=0.1": replace(TOGETHER, scale="0.1"),
    "together, scale=1e-4": replace(TOGETHER, scale="1e-4"),
    "together, stem=conv-ln": replace(TOGETHER, stem="conv-ln"),
    "mixing=block": replace(PUBLISHED, mixing="block"),
    "mixing=ffn": replace(PUBLISHED, mixing="ffn"),
    "positions=bias": replace(PUBLISHED, positions="bias"),
    "init=0.02": replace(PUBLISHED, init="0.02"),
    "init=mimetic": replace(PUBLISHED, init="mimetic"),
    "scale=0.1": replace(PUBLISHED, scale="0.1"),
    "scale=1e-4": replace(PUBLISHED, scale="1e-4"),
    "stem=conv-ln": replace(PUBLISHED, stem="conv-ln"),
}
TOPOLOGIES = 6
#: Pictures -> steps of a training, and limit of parameters or multiply-adds.
SETS: Mapping[str, tuple[int, str, int]] = {
    "drawn-300": (300, "params", 1_500_000),
    "digits": (1_400, "macs", 1_720_000),
    "hard-fractals": (1_400, "macs", 1_720_000),
}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    parts: str
    topology: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


@cache
def topologies() -> list[Genotype]:
    """The random topologies, of one block in each stage."""
    rng = np.random.default_rng(7)
    return [load_space("asvit").sample(rng) for _ in range(TOPOLOGIES)]


def widest(genotype: Genotype, side: int, classes: int, what: str, limit: int) -> Genotype:
    """``genotype`` as wide as the limit allows."""
    low, high = genotype.stage_heads[0], 1024
    while low < high:
        middle = (low + high + 1) // 2
        fits = getattr(asvit_cost(genotype.with_(width=middle), side, classes), what) <= limit
        low, high = (middle, high) if fits else (low, middle - 1)
    return genotype.with_(width=low)


def train(pictures: str, parts: str, topology: int) -> Mapping[str, object]:
    """The accuracy of a topology made of some parts."""
    (steps, what, limit), (task, images) = SETS[pictures], load_task(pictures)
    wanted = replace(topologies()[topology], parts=MADE_OF[parts])
    chosen = widest(wanted, task.side, images.classes, what, limit)
    with one_thread("cpu"), torch.random.fork_rng([]):
        torch.manual_seed(topology)
        network = AsViT(chosen, img_size=task.side, num_classes=images.classes)
        fitted = fit(network, *images, task.recipe(steps), seed=topology)
    return {"architecture": str(chosen), "accuracy": fitted.accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("parts.csv"),
    cases(parts=MADE_OF, pictures=SETS, topology=range(TOPOLOGIES)),
    train,
)

if __name__ == "__main__":
    rows = STUDY.main(__doc__)
    print(pivot(rows, ("parts",), "pictures", mean_cell))
    for base in (BASE, "together"):
        print(gains(rows, "parts", base, lines=(), column="pictures", pair=("topology",)))
