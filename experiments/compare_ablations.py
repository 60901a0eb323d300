"""Do the papers' ablations show at toy scale?

Small networks and variants of them that differ in one part are trained on hard fractals as
``experiments.compare_designs`` trains its networks, for fewer steps. Those of a seed see the same
batches, so variants are compared with the network itself seed by seed.

Run from a checkout: ``python -m experiments.compare_ablations``. Every training is kept in
``ablations.csv``, so a stopped comparison continues when the command is run again; with
``--print`` it only prints. A training takes one to two minutes of one core.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

from asvit.networks import Network
from experiments.kinds import Row, kinds_study
from experiments.study import Study, gain_cell, grouped
from experiments.tables import markdown
from experiments.tasks import fit_fresh, load_task
from proxies import count
from proxies.evaluation import seed_for

TABLE = Path(__file__).with_name("ablations.csv")
STEPS = 1_000
TRAININGS = 6
SIDE, CLASSES = 32, 100

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
        "compact": _ASVIT(ffn="compact", branches=2),
        "compact, one branch": _ASVIT(ffn="compact", branches=1),
        "compact in the first layer": _ASVIT(ffn="compact(factored=first)", branches=2),
    },
}


def train(variant: str, training: int) -> float:
    """The accuracy of a variant, as GROUP: NAME, trained with a seed."""
    group, _, name = variant.partition(": ")
    network = partial(GROUPS[group][name].build, drop_path=0.0)
    task, parts = load_task("hard-fractals")
    seed = seed_for(2, "ablations", training)
    return fit_fresh(network, parts, task.recipe(STEPS), seed=seed)


def table(rows: Sequence[Row]) -> str:
    """Every variant with its cost, and how much better it is than the network itself."""
    known = grouped(rows, ["kind"])
    lines: list[tuple[object, ...]] = []
    for group, variants in GROUPS.items():
        for name, network in variants.items():
            if not (own := known.get((f"{group}: {name}",))):
                continue
            macs = count(network.build(), SIDE).macs
            mean = fmean(row.accuracy for row in own)
            cell = ""
            if name != "itself":
                cell = gain_cell(own, known[f"{group}: itself",], pair=["training"])
            lines.append((group, name, f"{macs:,}", f"{mean:.1f}", cell))
    columns = {"network": "l", "variant": "l", "multiply-adds": "r", "mean accuracy": "r"}
    columns |= {"points more than itself (95 % interval)": "r"}
    return markdown(columns, lines)


def study() -> Study[Row]:
    """The trainings of all variants."""
    variants = [f"{group}: {name}" for group, own in GROUPS.items() for name in own]
    kinds = {key: (1, lambda _, key=key: key) for key in variants}
    return kinds_study(TABLE, kinds, train, TRAININGS)


if __name__ == "__main__":
    print(table(study().main(__doc__)))
