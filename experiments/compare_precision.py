"""Do the measures rank architectures in the same order in bfloat16?

Random architectures are measured in float32 with two initialisations, and the first one again with
weights and activations in bfloat16. The agreement of the two initialisations is what to compare
with: it shows how stable the order is in float32.

Run from a checkout: ``python -m experiments.compare_precision``.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

import asvit
import proxies
from asvit.data import load_images
from experiments.study import Case, Study, cases
from experiments.tables import markdown

SIDE, IMAGES, ARCHITECTURES = 224, 8, 30


@dataclass(frozen=True)
class Row:
    """An architecture's measures; NaN where one failed."""

    number: int
    architecture: str
    length: float
    length_again: float  # of another initialisation
    length_bfloat16: float
    kappa: float
    kappa_again: float
    kappa_bfloat16: float


@cache
def images() -> Tensor:
    """Fractals, ``[n, 3, S, S]``."""
    return load_images("fractal", count=IMAGES, image_size=SIDE, seed=0).pixels


def compare(number: int) -> Case:
    """The measures of a random architecture."""
    space = asvit.load_space("asvit")
    text = str(space.sample(np.random.default_rng([0, number])))
    networks = []
    for repeat in range(2):
        torch.manual_seed(proxies.seed_for(0, text, repeat))
        networks.append(space.build(text, image_size=SIDE).eval())
    first, again = (values(network) for network in networks)
    with patch("proxies.functional.NARROW", ()), patch("proxies.features.NARROW", ()):
        low = values(networks[0].bfloat16())  # not widened to float32
    measures = dict(zip(("length", "kappa"), zip(first, again, low, strict=True), strict=True))
    return {"architecture": text} | {
        f"{name}{suffix}": value
        for name, each in measures.items()
        for suffix, value in zip(("", "_again", "_bfloat16"), each, strict=True)
    }


def values(model: nn.Module) -> tuple[float, float]:
    """L^E and the condition number of the raw spectrum.

    The measure itself reports a kernel as singular if the precision cannot tell its smallest
    eigenvalue from 0.
    """
    generator = torch.Generator().manual_seed(proxies.seed_for(0, "circle"))
    circle = proxies.Circle.random((3, SIDE, SIDE), 10, generator=generator)
    spectrum = proxies.ntk_spectrum(model, images())
    smallest, largest = float(spectrum[0]), float(spectrum[-1])
    kappa = largest / smallest if smallest > 0 else math.nan
    return proxies.length_distortion(model, circle), kappa


TABLE = Path(__file__).with_name("precision.csv")
STUDY = Study(Row, TABLE, cases(number=range(ARCHITECTURES)), compare)


def table() -> str:
    """How each measure agrees with itself in float32."""
    lines = []
    for name, label in (("length", "L^E"), ("kappa", "κ_Θ")):
        for suffix, other in (("again", "another initialisation"), ("bfloat16", "bfloat16")):
            pairs = [(vars(row)[name], vars(row)[f"{name}_{suffix}"]) for row in STUDY.rows()]
            known = np.array([pair for pair in pairs if all(map(math.isfinite, pair))])
            tau = kendalltau(*known.T).statistic
            ratio = np.median(known[:, 1] / known[:, 0])
            lines.append((label, other, f"{tau:.2f}", f"{ratio:.2f}", len(pairs) - len(known)))
    columns = {"measure": "l", "float32 and": "l", "τ": "r", "median ratio": "r", "failed": "r"}
    return markdown(columns, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())
