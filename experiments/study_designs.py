"""Does a design end in a network that none made by hand beats, trained for as long?

On each set of pictures and within each limit: ``asvit design`` over all families, also without the
first of them, without fractals first as well, and over vision transformers alone; and the
networks that a user would take by hand, as wide as the limit allows, each of which is trained on
all pictures, by the recipe of the design, for the whole time that a design takes. All are tested
on pictures that none has seen.

Run from a checkout: ``python -m experiments.study_designs``; a design takes --hours on one core.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import ArrayLike

import asvit
from asvit.core.estimates import Estimate
from asvit.designs.recipe import recipe_for
from asvit.executors import one_thread
from asvit.measuring.timing import processor
from asvit.runs.training import TRAIN
from asvit.spaces import UnionSpace, load_space
from asvit.statistics.intervals import contrast
from asvit.training.recipes import RECIPES
from asvit.training.result import TrainResult
from asvit.use.predicting import predict
from experiments.study import (
    Study,
    cases,
    grouped,
    in_a_cell,
    mean_cell,
    paired_differences,
    pivot,
)
from experiments.tables import markdown
from experiments.tasks import PICTURES, load_task, widest_by_hand

HOURS = 0.25
SETS = ("drawn-300", "drawn-3000", "digits", "hard-fractals", "textures")
LIMITS: Mapping[str, Mapping[str, Any]] = {
    "1.5 M parameters": {"max_params": 1_500_000},
    "10 M multiply-adds": {"max_macs": 10_000_000},
}
_FAMILIES = cast("UnionSpace", load_space("families")).members
_OTHERS = ",".join(name for name in _FAMILIES if name != "resnet-parts")
_LIMIT = "10 M multiply-adds"  # of the tables
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    "design": {},
    "without resnet-parts": {"space": _OTHERS},
    "without resnet-parts and fractals": {"space": _OTHERS, "warm_start": "none"},
    "design of transformers": {"space": "shiftvit-parts,asvit-parts,swin,deit"},
}
BY_HAND = (
    *("resnet", "resnet-parts", "mobilenet", "convnext", "repvit", "starnet"),
    *("swin", "deit", "shiftvit", "shiftvit-parts"),
)
#: The recipe of designs before they had Muon, as other studies of designs have it.
ADAMW: Mapping[str, Any] = {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.05}
FOLDER = Path("runs/designs")
#: Recipes of the rows of a table: those with Muon have the weight decay of now, or that of before.
_OPTIMIZERS = {"muon": ("muon, decay 0.5", "muon"), "adamw": ("adamw",)}
_MOST = 10_000  # epochs


@dataclass(frozen=True)
class Row:
    """A design, or the training of a network made by hand.

    A case has a row for each processor that it ran on and each optimiser; as only missing cases
    are computed, further rows come from a file of their own (``--table``) and are added by hand.
    """

    pictures: str
    limit: str
    network: str
    seed: int
    architecture: str
    accuracy: float  # of the test pictures, per cent
    seconds: float  # in all
    processor: str = ""  # name and instructions; of the first 152 neither, of 93 more the name
    optimizer: str = "adamw"  # that designs had, searches too; with its weight decay, unless 0.05


def compare(pictures: str, limit: str, network: str, seed: int) -> Mapping[str, object]:
    """The outcome of a design, or of the training of a network made by hand."""
    task, _ = load_task(pictures)  # writes them
    folder = FOLDER / f"{pictures}-{limit}-{network}-{seed}".replace(" ", "-")
    with one_thread("cpu"):
        if network not in DESIGNS:
            values = _by_hand(network, pictures, limit, folder, seed)
        else:
            options = {**DESIGNS[network], **LIMITS[limit], "image_size": task.side}
            result = run_design(pictures, HOURS, folder, seed, **options)
            values = {
                "architecture": result.architecture,
                "accuracy": result.accuracy,
                "seconds": result.wall_seconds,
            }
    # Processors of one name may differ in the instructions that they have, and so in speed.
    kind = torch.backends.cpu.get_cpu_capability()
    recipe = RECIPES["small"]
    optimizer = f"{recipe['optimizer']}, decay {recipe['weight_decay']:g}"
    return {**values, "processor": f"{processor()}, {kind}", "optimizer": optimizer}


def run_design(
    pictures: str, hours: float, folder: Path, seed: int, **options: Any
) -> asvit.DesignResult:
    """A design for a set of pictures, of so many hours in all."""
    options |= {"hours": hours, "seed": seed, "out": folder, "device": "cpu"}
    return asvit.design(PICTURES / pictures, **options)


def _by_hand(
    network: str, pictures: str, limit: str, folder: Path, seed: int
) -> Mapping[str, object]:
    """The network of a family made by hand, trained for the time of a design."""
    text = made_by_hand(network, pictures, **LIMITS[limit])
    trained, accuracy = train_on_all(pictures, text, 3600 * HOURS, folder, seed)
    return {"architecture": text, "accuracy": accuracy, "seconds": trained.wall_seconds}


def made_by_hand(family: str, pictures: str, *, side: int | None = None, **limits: Any) -> str:
    """The network of a family made by hand, as wide as limits allow for a set of pictures.

    They are seen at their own ``side`` in pixels, unless another is given.
    """
    task, images = load_task(pictures)
    return widest_by_hand(family, side or task.side, images.classes, **limits)


def train_on_all(
    pictures: str,
    architecture: str,
    seconds: float,
    folder: Path,
    seed: int,
    *,
    side: int | None = None,
    **options: Any,
) -> tuple[TrainResult, float]:
    """Train a network for so long on all pictures of a set, and test it; per cent.

    It sees them at their own ``side`` in pixels, unless another is given; further options replace
    those of the recipe.
    """
    task, images = load_task(pictures)
    trained = train_for(
        seconds,
        architecture,
        PICTURES / pictures / "train",
        folder,
        pictures=task.train,
        classes=images.classes,
        image_size=side or task.side,
        seed=seed,
        **options,
    )
    return trained, test(folder, PICTURES / pictures / "test")


def train_for(
    seconds: float,
    architecture: str,
    data: Path,
    folder: Path,
    *,
    pictures: int,
    classes: int,
    **options: Any,
) -> TrainResult:
    """Train a network on all pictures of a folder for so long, by the recipe of a design."""
    options = {
        **recipe_for(pictures),
        "architecture": architecture,
        "data": str(data),
        "train_on_validation": True,
        "validation_images": classes,  # their accuracy says nothing, and takes time
        "recipe": "small",
        "device": "cpu",
        **options,
    }
    run = TRAIN.make(epochs=_MOST, hours=seconds / 3600, out=folder, **options)
    result: TrainResult = run.run()
    return result


def updates_of(epochs: int, pictures: str) -> int:
    """The updates of so many epochs on all pictures of a set, about."""
    train = load_task(pictures)[0].train
    return train // int(recipe_for(train)["batch_size"]) * epochs


def test(folder: Path, pictures: Path) -> float:
    """The accuracy of a trained network on the pictures of a folder, per cent."""
    tested = sorted(pictures.rglob("*.png"))
    guesses = predict(folder, tested, top=1, device="cpu")
    right = [
        guess.guesses[0].label == path.parent.name
        for guess, path in zip(guesses, tested, strict=True)
    ]
    return 100 * statistics.fmean(right)


STUDY = Study(
    Row,
    Path(__file__).with_name("designs.csv"),
    cases(seed=range(5), limit=LIMITS, pictures=SETS, network=(*DESIGNS, *BY_HAND)),
    compare,
    repeat="seed",
)


def table(limit: str = _LIMIT, optimizer: str = "adamw") -> str:
    """The accuracies within a limit on each processor, or by each recipe with an optimiser."""
    rows = _rows(limit, optimizer)
    rows.sort(key=lambda row: (row.optimizer, row.processor))
    by = "optimizer" if len(_OPTIMIZERS[optimizer]) > 1 else "processor"
    return pivot(rows, ("network", by), "pictures", mean_cell)


def ahead(limit: str = _LIMIT, design: str = "design", optimizer: str = "adamw") -> str:
    """Points that designs are ahead of others and of those by hand, as Markdown.

    Rows are paired by seed, weight decay, and processor where they name it; a seed with two decays
    counts once. The last column has the mean over the sets of pictures.
    """
    known = _known(limit, optimizer)
    sets = [one for one in SETS if (design, one) in known]
    others = [network for network in (*DESIGNS, *BY_HAND) if network != design]
    lines = [[network, *_ahead(known, design, network, sets)] for network in others]
    return markdown(
        {f"{design}, points more than": "l", **dict.fromkeys(sets, "r"), "all": "r"},
        [line for line in lines if any(line[1:])],
    )


def short() -> str:
    """Points that designs are ahead of the ResNet made by hand within each limit, as Markdown.

    Only where there are pairs on every set of pictures.
    """
    lines, kinds = [], {"": "design", "transformers ": "design of transformers"}
    for optimizer, (kind, design), limit in itertools.product(_OPTIMIZERS, kinds.items(), LIMITS):
        points = _ahead(_known(limit, optimizer), design, "resnet", SETS)
        lines.append([optimizer, f"{kind}within {limit}", *points])
    first = {"optimizer": "l", "points more than resnet": "l"}
    columns = {**first, **dict.fromkeys(SETS, "r"), "all": "r"}
    return markdown(columns, [line for line in lines if line[-1]])


_Known = Mapping[tuple[Any, ...], Sequence[Row]]  # by network and pictures


def _rows(limit: str, optimizer: str) -> list[Row]:
    recipes = _OPTIMIZERS[optimizer]
    return [row for row in STUDY.rows() if row.limit == limit and row.optimizer in recipes]


def _known(limit: str, optimizer: str) -> _Known:
    return grouped(_rows(limit, optimizer), ("network", "pictures"))


def _ahead(known: _Known, design: str, other: str, sets: Sequence[str]) -> list[str]:
    """Cells of the difference on each set of pictures, and of the mean over them."""
    pairs = [(known.get((design, one), []), known.get((other, one), [])) for one in sets]
    return [*(_cell([pair]) for pair in pairs), _cell(pairs)]


def _cell(pairs: Sequence[tuple[Sequence[Row], Sequence[Row]]]) -> str:
    """The mean over sets of pictures of the differences there; unknown processors count as one."""
    differences = [_differences(*sides) for sides in pairs]
    if not differences or not all(differences):
        return ""
    return in_a_cell(mean_over_sets(differences))


def _differences(rows: Sequence[Row], others: Sequence[Row]) -> list[float]:
    """One for each seed and processor with rows of the same recipes on both sides."""
    alike = ("seed", "processor", "optimizer")
    sides = grouped(rows, alike), grouped(others, alike)
    both = sides[0].keys() & sides[1].keys()
    left, right = ([row for key in side if key in both for row in side[key]] for side in sides)
    return paired_differences(left, right, pair=("seed", "processor"))


def mean_over_sets(differences: Sequence[ArrayLike]) -> Estimate:
    """The mean over sets of pictures of the mean differences there, ``[pairs]`` of each set."""
    return contrast(*((1 / len(differences), of) for of in differences))


if __name__ == "__main__":
    STUDY.main(__doc__)
    for limit, optimizer in itertools.product(LIMITS, _OPTIMIZERS):
        for design in DESIGNS:
            print(ahead(limit, design, optimizer))
        print(table(limit, optimizer))
