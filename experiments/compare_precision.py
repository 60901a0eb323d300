"""Do measures rank architectures in the same order in lower precision?

Run from a checkout: ``OMP_NUM_THREADS=1 python -m experiments.compare_precision``. Random
architectures are measured in float32 with two initialisations. The first one is measured again
with weights and activations in bfloat16, and on a GPU also with TF32 products in the forward pass.
Ideally, the precision changes the order of no pair of architectures. The agreement of the two
initialisations is the reference: it shows how stable the order is in float32.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import ContextDecorator
from copy import deepcopy
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

import asvit
import proxies
from asvit.data import load_images
from asvit.spaces import SearchSpace
from experiments.bench import start
from experiments.tables import markdown, write_rows
from scaling.growth import DEFAULT_MEASURES
from scaling.ranking import best_places


@dataclass(frozen=True)
class Row:
    """One measure of one architecture; NaN where it failed or was not computed."""

    architecture: str
    measure: str
    float32: float
    other_seed: float
    bfloat16: float
    tf32: float


COMPARED = tuple(one.name for one in fields(Row))[3:]


def main() -> None:
    """Measure the architectures, write the values and print the table."""
    options = _options()
    device = start(options, f"{options.image_size} px, {options.images} images")
    space = asvit.load_space(options.space)
    rng = np.random.default_rng(options.seed)
    images = load_images(
        options.data, count=options.images, image_size=options.image_size, seed=options.seed
    )
    rows: list[Row] = []
    for _ in range(options.architectures):
        text = str(space.sample(rng))
        rows += _measured(text, space, images.pixels.to(device), options.seed)
    write_rows(options.out / "precision.csv", rows)
    print(table(rows))
    print(f"best by both measures: {best(rows)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, default=60)
    parser.add_argument("--space", default="asvit")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--data", default="fractal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    return parser.parse_args()


def _measured(text: str, space: SearchSpace, images: Tensor, seed: int) -> Iterator[Row]:
    """The rows of one architecture."""
    networks = []
    for repeat in range(2):
        torch.manual_seed(proxies.seed_for(seed, text, repeat))
        networks.append(space.build(text, image_size=images.shape[-1]).to(images.device).eval())
    generator = torch.Generator().manual_seed(proxies.seed_for(seed, "circle"))
    circle = proxies.Circle.random(tuple(images.shape[1:]), 10, generator=generator)
    first, second = (values(network, circle, images) for network in networks)
    fast = (math.nan, math.nan)
    if images.is_cuda:
        network: Any = deepcopy(networks[0])
        network.forward_features = TF32()(network.forward_features)
        fast = values(network, circle, images)
    with patch("proxies.functional.NARROW", ()), patch("proxies.features.NARROW", ()):
        low = values(networks[0].bfloat16(), circle, images)  # not widened to float32
    for name, *measured in zip(DEFAULT_MEASURES, first, second, low, fast, strict=True):
        yield Row(text, name, *measured)


def values(model: nn.Module, circle: proxies.Circle, images: Tensor) -> tuple[float, float]:
    """Length distortion and condition number.

    The condition number is computed from the raw spectrum: the measure itself reports a kernel as
    singular if the precision cannot distinguish its smallest eigenvalue from 0.
    """
    spectrum = proxies.ntk_spectrum(model, images)
    smallest, largest = float(spectrum[0]), float(spectrum[-1])
    return (
        proxies.length_distortion(model, circle),
        largest / smallest if smallest > 0 else math.nan,
    )


class TF32(ContextDecorator):
    """Computes products of float32 matrices in TF32, on GPUs that support it."""

    def __enter__(self) -> None:
        """Switch TF32 on."""
        matmul: Any = torch.backends.cuda.matmul
        self._before = matmul.fp32_precision
        matmul.fp32_precision = "tf32"

    def __exit__(self, *_: object) -> None:
        """Restore the setting."""
        matmul: Any = torch.backends.cuda.matmul
        matmul.fp32_precision = self._before


def swapped(first: Sequence[float], second: Sequence[float]) -> float:
    """Share of the pairs that the two lists order differently."""
    pairs = list(combinations(range(len(first)), 2))
    opposite = sum((first[i] - first[j]) * (second[i] - second[j]) < 0 for i, j in pairs)
    return opposite / len(pairs)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with one line per measure and comparison."""
    columns = {"measure": "l", "float32 and": "l", "τ": "r", "pairs in another order": "r"}
    columns |= {"median change": "r", "largest change": "r", "failed": "r"}
    cells: list[tuple[object, ...]] = []
    for name in DEFAULT_MEASURES:
        own = [row for row in rows if row.measure == name]
        for other in COMPARED:
            both = [(row.float32, float(getattr(row, other))) for row in own]
            known = [pair for pair in both if all(map(math.isfinite, pair))]
            if len(known) < 2:
                continue
            first, second = zip(*known, strict=True)
            changes = [abs(b / a - 1) for a, b in known]
            cells.append(
                (
                    name,
                    other.replace("_", " "),
                    f"{kendalltau(first, second).statistic:.4f}",
                    f"{swapped(first, second):.2%}",
                    f"{np.median(changes):.2%}",
                    f"{max(changes):.2%}",
                    len(both) - len(known),
                )
            )
    return markdown(columns, cells)


def best(rows: Sequence[Row]) -> str:
    """The architecture with the smallest sum of ranks, for each kind of value."""
    texts = list(dict.fromkeys(row.architecture for row in rows))
    better = {name: proxies.get_proxy(name).better for name in DEFAULT_MEASURES}
    found = []
    for kind in ("float32", *COMPARED):
        values = {
            name: [getattr(row, kind) for row in rows if row.measure == name]
            for name in DEFAULT_MEASURES
        }
        if all(math.isnan(value) for column in values.values() for value in column):
            continue
        found.append(f"{kind.replace('_', ' ')} {texts[best_places(values, better)[0]]}")
    return ", ".join(found)


if __name__ == "__main__":
    main()
