"""Uneven classes: is it better to sample them alike?

A ResNet made by hand and a ShiftViT of the published blocks are trained on pictures of which the
largest class has ten times as many as the smallest. Balanced accuracy is the mean over classes;
``as_trained`` weighs classes as they were trained on. Seeds pair trainings.

Run from a checkout: ``python -m experiments.study_balance``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from asvit.executors import one_thread
from asvit.spaces import build
from asvit.training.short import draw_linear_weights, fit
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import AUGMENTATION, load_task, widest_published

MACS, STEPS, UNEVEN = 1_720_000, 600, 10
FAMILIES = ("resnet", "shiftvit-parts")
#: Pictures -> task, and how many of the largest class.
SETS: Mapping[str, tuple[str, int]] = {"digits": ("digits", 100), "drawn": ("drawn-3000", 300)}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    family: str
    balance: str
    seed: int
    balanced: float  # accuracy of the test pictures, per cent, each class alike
    as_trained: float  # the same with each class as often as in the training


def uneven(labels: Tensor, classes: int, most: int) -> Tensor:
    """Indices of fewer images of each class than of the one before, by a constant factor."""
    sizes = [round(most * UNEVEN ** (-label / (classes - 1))) for label in range(classes)]
    chosen = [torch.nonzero(labels == label)[:size, 0] for label, size in enumerate(sizes)]
    return torch.cat(chosen).sort().values


def train(pictures: str, family: str, balance: str, seed: int) -> Mapping[str, object]:
    """The accuracies of a training."""
    name, most = SETS[pictures]
    task, parts = load_task(name)
    images, labels = parts.train
    chosen = uneven(labels, parts.classes, most)
    changes = {**AUGMENTATION, "flip": name != "digits", "balance": balance}
    recipe = task.recipe(STEPS, batch_size=32, **changes)
    text = widest_published(family, 32, 100, max_macs=MACS)
    with one_thread("cpu"), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(text, 32, parts.classes)
        draw_linear_weights(network)
        fit(network, (images[chosen], labels[chosen]), parts.test, recipe, seed=seed)
        shares = _by_class(network, *parts.test, parts.classes)
    sizes = labels[chosen].bincount(minlength=parts.classes).double()
    return {
        "balanced": round(100 * float(shares.mean()), 2),
        "as_trained": round(100 * float((shares * sizes).sum() / sizes.sum()), 2),
    }


@torch.inference_mode()
def _by_class(network: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The accuracy of each class, ``[classes]``."""
    taken = torch.cat([network(part).argmax(1) for part in images.split(256)])
    right = labels[taken == labels].bincount(minlength=classes)
    return right.double() / labels.bincount(minlength=classes)


STUDY = Study(
    Row,
    Path(__file__).with_name("balance.csv"),
    cases(seed=range(3), family=FAMILIES, pictures=SETS, balance=("none", "sampling")),
    train,
    repeat="seed",
)


def table(value: str = "balanced") -> str:
    """Points that balanced classes are ahead of none over families and seeds, as Markdown."""
    rows, pair = STUDY.rows(), ("family", "seed")
    return gains(rows, "balance", "none", lines=(), column="pictures", pair=pair, value=value)


if __name__ == "__main__":
    rows = STUDY.main(__doc__)
    for value in ("balanced", "as_trained"):
        cell = partial(mean_cell, value=value)
        print(f"{value}\n{pivot(rows, ('family', 'balance'), 'pictures', cell)}")
        print(table(value))
