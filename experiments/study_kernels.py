"""What do condition numbers of features, and of tangent kernels of their projections, rank?

The gradient of a summed feature behind a fresh layer norm vanishes for all weights but the gain of
the norm. Kernels of four random projections of the feature do without the sum, behind the final
norm and before it. Images are noise.

Run from a checkout: ``python -m experiments.study_kernels``.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import asvit
from asvit.reference import load_reference
from asvit.reference.correlate import correlate
from experiments.ranking import tau_cell
from experiments.study import Case, Study, cases, grouped
from experiments.tables import markdown
from proxies import ntk_condition_number, seed_for
from proxies.features import evaluating, measured, pooled_feature
from proxies.ntk import condition_number

IMAGES, PROJECTIONS = 16, 4
#: Table -> pixels per side, networks of each architecture, architectures, and accuracies.
RANKED: Mapping[str, tuple[int, int, int, tuple[str, ...]]] = {
    "asvit-fractal": (32, 2, 60, ("accuracy",)),
    "vitbench101-pit": (56, 1, 50, ("c100_base_acc", "flower_base_acc", "chaoyang_base_acc")),
}
MEASURES = {
    "gram_behind": "the features' Gram matrix, behind the final norm",
    "gram_before": "the features' Gram matrix, before it",
    "kernel_behind": "the kernel of four projections, behind the final norm",
    "kernel_before": "the kernel of four projections, before it",
    "kappa": "the kernel of the sum, before it: κ_Θ",
}


@dataclass(frozen=True)
class Row:
    """The condition numbers of a network; NaN where a smallest eigenvalue is rounding error."""

    reference: str
    architecture: str
    repeat: int
    gram_behind: float
    gram_before: float
    kernel_behind: float
    kernel_before: float
    kappa: float


def compare(reference: str, architecture: str, repeat: int) -> Case:
    """The condition numbers of a network."""
    side = RANKED[reference][0]
    torch.manual_seed(seed_for(0, architecture, repeat))
    model = asvit.build(architecture, side, load_reference(reference).num_classes)
    generator = torch.Generator().manual_seed(seed_for(0, "noise", repeat))
    images = torch.randn(IMAGES, 3, side, side, generator=generator)
    states: Mapping[str, Callable[[nn.Module], AbstractContextManager[nn.Module]]] = {
        "behind": evaluating,
        "before": partial(measured, norms="kept"),
    }
    values = {"kappa": ntk_condition_number(model, images)}
    for place, state in states.items():
        with state(model):
            values[f"gram_{place}"] = _condition(_gram(pooled_feature(model, images).detach()))
            values[f"kernel_{place}"] = _condition(_kernel(model, images, generator))
    return values


def _kernel(model: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    """Sum of the tangent kernels of random projections of the feature, ``[n, n]`` float64."""
    weights = [p for name, p in model.named_parameters() if "weight" in name]
    features = pooled_feature(model, images)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)
    for outputs in torch.randn(PROJECTIONS, features.shape[1], generator=generator) @ features.T:
        each = [
            torch.autograd.grad(out, weights, retain_graph=True, materialize_grads=True)
            for out in outputs
        ]
        for parts in zip(*each, strict=True):
            kernel += _gram(torch.stack(parts).flatten(1))
    return kernel


def _gram(rows: Tensor) -> Tensor:
    return rows.double() @ rows.double().T


def _condition(gram: Tensor) -> float:
    return condition_number(torch.linalg.eigvalsh(gram), torch.float32)


EVERY = [
    case
    for name, (_, repeats, count, _) in RANKED.items()
    for case in cases(
        reference=[name],
        architecture=load_reference(name).architectures[:count],
        repeat=range(repeats),
    )
]
STUDY = Study(Row, Path(__file__).with_name("kernels.csv"), EVERY, compare)


def table() -> str:
    """Kendall's tau of each condition number with the accuracies of each table."""
    lines: dict[str, list[str]] = {name: [label] for name, label in MEASURES.items()}
    columns = {"condition number of": "l"}
    for (reference,), rows in grouped(STUDY.rows(), ["reference"]).items():
        known = load_reference(reference)
        by_text = {text: own for (text,), own in grouped(rows, ["architecture"]).items()}
        for target in RANKED[reference][-1]:
            columns[f"{reference}, {target}"] = "r"
            truth = dict(zip(known.architectures, known.accuracies[target], strict=True))
            accuracies = [truth[text] for text in by_text]
            for name, line in lines.items():
                values = [np.mean([vars(row)[name] for row in own]) for own in by_text.values()]
                line.append(tau_cell(correlate(values, accuracies, better="lower")))
    return markdown(columns, list(lines.values()))


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())
