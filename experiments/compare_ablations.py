"""Do the papers' ablations show at toy scale?

Small networks and variants of them that differ in one part are trained on hard fractals as
``experiments.compare_designs`` trains its networks. Those of a seed see the same batches, so
variants are compared with the network itself seed by seed.

Run from a checkout: ``python -m experiments.compare_ablations``. Every training is kept in
``ablations.csv``, so a stopped comparison continues when the command is given again; with
``--print`` it only prints. A training takes one to two minutes of one core.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from asvit.executors import one_thread
from asvit.models.shiftvit import ShiftViT
from asvit.networks import Network
from asvit.reference.build import Training
from asvit.reference.intervals import contrast
from asvit.training.short import LabelledTensors, Recipe, draw_linear_weights, fit
from experiments.compare_designs import SIDE, TASKS, loaded_parts
from experiments.compare_outcomes import (
    RECIPE,
    Row,
    accuracies,
    in_a_cell,
    told,
    train_missing,
    training_parser,
)
from experiments.growing import markdown, read_rows
from proxies import count
from proxies.evaluation import seed_for

TABLE = Path(__file__).with_name("ablations.csv")
STEPS = 1_000
CLASSES = 100

_SHIFT = "timm:shiftvit_r2_tiny(depths=[1,1,3,1],width=24{})"
_ASVIT = partial(Network, "4,2,4|3,1,4|3,1,4|3,1,4|16,16", SIDE, CLASSES)


def _shift(changes: str = "") -> Network:
    return Network(_SHIFT.format(changes), SIDE, CLASSES)


#: Network -> its variants; the first one is the network itself.
GROUPS: Mapping[str, Mapping[str, Network]] = {
    "ShiftViT": {
        "itself": _shift(),
        "no shift": _shift(",step=0"),
        "a shift by two positions": _shift(",step=2"),
        "half of the channels shifted": _shift(",n_div=8"),
        "batch norm": _shift(",norm_layer=batchnorm2d"),
        "ReLU": _shift(",act_layer=relu"),
    },
    "As-ViT": {
        "itself": _ASVIT(),
        "half of the maps hallucinated": _ASVIT(attention="hallucinated"),
        "convolution across heads first": _ASVIT(attention="hallucinated(maps=across_within)"),
        "real maps copied": _ASVIT(attention="hallucinated(maps=copy)"),
        "compact": _ASVIT(ffn="compact", branches=2),
        "compact, one branch": _ASVIT(ffn="compact", branches=1),
        "compact in the first layer": _ASVIT(ffn="compact(factored=first)", branches=2),
    },
}


def main() -> None:
    """Run the missing trainings, then print the table."""
    parser = training_parser(__doc__, "compare-ablations", table=TABLE)
    options = parser.parse_args()
    if options.print:
        rows = read_rows(options.table, Row)
    else:
        task = TASKS["hard-fractals"]
        parts = loaded_parts(task, options.out / "images")
        recipe = replace(RECIPE, steps=STEPS, learning_rate=task.learning_rate).recipe
        kinds = {
            f"{group}: {name}": (1, lambda _, key=f"{group}: {name}": key)
            for group, variants in GROUPS.items()
            for name in variants
        }
        train = partial(_train, recipe, parts["search"], parts["test"])
        rows = train_missing(options.table, options.trainings, kinds, train)
    print(table(rows))


def _network(key: str) -> Network:
    group, _, name = key.partition(": ")
    return GROUPS[group][name]


def _train(
    recipe: Recipe, train: LabelledTensors, test: LabelledTensors, training: Training
) -> float:
    """Test accuracy of a variant, per cent."""
    seed = seed_for(2, "ablations", training.seed)
    with one_thread("cpu"), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = _network(training.architecture).build(drop_path=0.0)
        draw_linear_weights(network)
        if isinstance(network, ShiftViT):  # its linear layers are convolutions
            for module in network.modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                    nn.init.xavier_uniform_(module.weight)
        return fit(network, train, test, recipe, seed=seed).accuracy


def table(rows: Sequence[Row]) -> str:
    """Every variant with its size, and how much better it is than the network itself."""
    known = {row.kind: accuracies(rows, row.kind)[0] for row in rows}
    lines: list[tuple[object, ...]] = []
    for group, variants in GROUPS.items():
        for name, network in variants.items():
            if (key := f"{group}: {name}") not in known:
                continue
            size = count(network.build(), SIDE)
            costs = f"{size.params:,}", f"{size.macs:,}"
            more = "" if name == "itself" else _more(known[key], known[f"{group}: itself"])
            lines.append((group, name, *costs, *told(known[key]), more))
    columns = {"network": "l", "variant": "l", "parameters": "r", "multiply-adds": "r"}
    columns |= {"accuracies": "l", "mean": "r", "points more than itself (95 % interval)": "r"}
    return markdown(columns, lines)


def _more(values: Sequence[float], base: Sequence[float]) -> str:
    """Mean of the differences of seeds, with Student's interval."""
    return in_a_cell(contrast((1, np.subtract(values, base))))


if __name__ == "__main__":
    main()
