"""Does a search by a dozen or two short trainings find better networks than other ways?

On one set of images and under one cap of multiply-adds: what ``asvit search --controller
predictor`` ends in, the most accurate of as many random draws, what a search by measures ends in,
plain random draws, and networks made by hand after DeiT, PiT and Swin. The searches see a part of
the images. Every architecture is then made as wide as the cap allows, trained from scratch for
longer on the same part, and tested on images that no search saw.

Run from a checkout: ``python -m experiments.compare_designs --data digits``. Searches are
ordinary run folders, and every training is kept in ``designs_digits.csv``, so a stopped
comparison continues when the command is given again; with ``--print`` it only prints.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.models import SwinTransformer, VisionTransformer
from timm.models.pit import PoolingVisionTransformer
from torch import nn

import asvit
from asvit.data import FractalDataset, load_images
from asvit.data.base import LabelledImages
from asvit.data.sources import open_dataset
from asvit.executors import Workers, one_thread
from asvit.genotype import Genotype
from asvit.reference.build import Training
from asvit.reference.intervals import Estimate, around
from asvit.search import SearchSettings
from asvit.search.limits import Limits
from asvit.spaces import build, load_space
from asvit.training.short import LabelledTensors, Recipe, draw_linear_weights, fit
from experiments import compare_outcomes
from experiments.compare_outcomes import (
    RANDOM,
    RECIPE,
    SIZED,
    Kinds,
    Row,
    accuracies,
    architectures,
    points,
    points_more,
    sized_line,
    train_missing,
    training_parser,
)
from experiments.growing import markdown, read_rows
from proxies import Cost, count
from proxies.evaluation import seed_for
from proxies.messages import unknown

PREDICTED, BEST, FREE = "predictor", "best of as many random", "by measures"
SHORTER, AT_CAP = "predictor, shorter trainings", "predictor at the cap"
BEST_AT_CAP = "best of as many random at the cap"
SEARCHES = PREDICTED, BEST, FREE, SHORTER, AT_CAP, BEST_AT_CAP
TRAININGS = 24  # of each search
RESAMPLES = 10_000
STEPS = 1_400  # of the trainings that judge
CAP = 1_720_000  # multiply-adds at 32 px: all of the space stay below at the width of the searches
SIDE = RECIPE.image_size
CLASSES = 40  # of the fractals, and of networks whose cost is counted
SEARCHED, TESTED = 8_000, 5_000  # images


def _swin(classes: int, width: int) -> nn.Module:
    network: nn.Module = SwinTransformer(
        img_size=SIDE,
        num_classes=classes,
        patch_size=4,
        window_size=4,
        embed_dim=width,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 4, 8),
    )
    return network


def _swin_without_positions(classes: int, width: int) -> nn.Module:
    """The same without its only knowledge of where a token is: every bias stays at 0."""
    network = _swin(classes, width)
    for name, parameter in network.named_parameters():
        if name.endswith("relative_position_bias_table"):
            nn.init.zeros_(parameter)
            parameter.requires_grad = False
    return network


#: Name of a network made by hand -> makes it. Each is the widest below the cap.
BY_HAND: Mapping[str, Callable[[int], nn.Module]] = {
    "DeiT-like": lambda classes: VisionTransformer(
        img_size=SIDE, num_classes=classes, patch_size=8, embed_dim=48, depth=3, num_heads=2
    ),
    "PiT-like": lambda classes: PoolingVisionTransformer(
        img_size=SIDE,
        num_classes=classes,
        patch_size=4,
        stride=4,
        stem_type="overlap",
        base_dims=(11, 11, 11),
        depth=(1, 1, 1),
        heads=(2, 4, 8),
        mlp_ratio=4,
    ),
    "Swin-like": partial(_swin, width=20),
    "Swin-like without position bias": partial(_swin_without_positions, width=20),
}


class ScatteredDigits(LabelledImages):
    """Scikit-learn's handwritten digits in random places, sizes and angles on black.

    Where it lies in the middle at full size, every architecture reads a digit; here they differ.
    The first :data:`SEARCHED` images are made from two thirds of the digits, the others from the
    rest.
    """

    def __init__(self) -> None:
        self._digits = open_dataset("digits")
        rng = np.random.default_rng(0)
        parts = np.split(rng.permutation(len(self._digits)), [2 * len(self._digits) // 3])
        sizes = SEARCHED, TESTED
        drawn = [rng.choice(part, size) for part, size in zip(parts, sizes, strict=True)]
        self._drawn = np.concatenate(drawn)
        source = "scikit-learn's digits, scattered"
        super().__init__(source, self._digits.classes, self._digits.labels[self._drawn])

    def picture(self, index: int) -> Image.Image:
        """Return image ``index``: the digit turned by up to 20°, 12 to 22 pixels before that."""
        rng = np.random.default_rng([1, index])
        size = int(rng.integers(12, 23))
        digit = self._digits.picture(int(self._drawn[index])).resize((size, size))
        digit = digit.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, expand=True)
        x, y = (int(rng.integers(SIDE - length + 1)) for length in digit.size)
        whole = Image.new("RGB", (SIDE, SIDE))
        whole.paste(digit, (x, y))
        return whole


def _fractals(classes: int) -> LabelledImages:
    return FractalDataset(classes, (SEARCHED + TESTED) // classes, SIDE, seed=1)


@dataclass(frozen=True)
class Task:
    """A set of images, and how networks are trained on it."""

    images: Callable[[], LabelledImages]  # first what a search sees, then what tests
    learning_rate: float  # of the trainings that judge
    settings: Mapping[str, Any]  # of the searches by trainings
    #: Kind -> controller and settings of it.
    others: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)


_BRIEF = {"training_steps": 350, "learning_rate": 1e-3, "train_images": 4_000}
_LONG = {"training_steps": STEPS, "learning_rate": 2e-3, "train_images": 7_000}
_SHORT = {"training_steps": 700, "learning_rate": 2e-3, "train_images": 4_000}
_CAPPED = {**_LONG, "max_macs": CAP}

TASKS: Mapping[str, Task] = {
    "fractals": Task(partial(_fractals, CLASSES), 1e-3, _BRIEF),
    "hard-fractals": Task(
        partial(_fractals, 100),
        2e-3,
        _LONG,
        others={
            SHORTER: ("predictor", _SHORT),
            AT_CAP: ("predictor", _CAPPED),
            BEST_AT_CAP: ("random", _CAPPED),
        },
    ),
    "digits": Task(
        ScatteredDigits,
        2e-3,
        _BRIEF,
        others={AT_CAP: ("predictor", _CAPPED), BEST_AT_CAP: ("random", _CAPPED)},
    ),
}


def main() -> None:
    """Run the missing searches and trainings, then print the tables."""
    options = _options()
    table = options.table or table_of(options.data)
    if options.print:
        rows = read_rows(table, Row)
    else:
        folder, train = prepared(TASKS[options.data], options.out / options.data)
        kinds = _kinds_of(options, folder)
        chosen = options.kinds or kinds
        for kind in chosen:
            if kind not in kinds:
                raise SystemExit(unknown("kind", kind, kinds))
        kinds = {kind: (n if kind in chosen else 0, find) for kind, (n, find) in kinds.items()}
        rows = train_missing(table, options.trainings, kinds, train)
    print(tables(rows))


def table_of(data: str) -> Path:
    """Where the trainings on a set of images are kept."""
    return Path(__file__).with_name(f"designs_{data.replace('-', '_')}.csv")


def _options() -> argparse.Namespace:
    parser = training_parser(__doc__, "compare-designs")
    parser.add_argument("--data", choices=TASKS, default="hard-fractals")
    parser.add_argument("--searches", type=int, default=5, help="seeds 0, 1, ... of each kind")
    parser.add_argument("--random", type=int, default=10, help="plain random draws")
    parser.add_argument("--jobs", type=int, default=1, help="workers of each search")
    parser.add_argument("--kinds", nargs="+", help="train only these, such as 'random'")
    return parser.parse_args()


def prepared(task: Task, out: Path) -> tuple[Path, Callable[[Training], float]]:
    """A folder of images for the searches, and what trains longer on all of them."""
    parts = loaded_parts(task, out)
    recipe = replace(RECIPE, steps=STEPS, learning_rate=task.learning_rate).recipe
    return out / "search", partial(_train, recipe, parts["search"], parts["test"])


def loaded_parts(task: Task, out: Path) -> dict[str, LabelledTensors]:
    """The images to search and train with, and those to test on, after writing them to ``out``."""
    images = task.images()
    parts = {"search": range(SEARCHED), "test": range(SEARCHED, len(images))}
    loaded = {}
    for part, places in parts.items():
        _write(images, places, out / part)
        read = load_images(str(out / part), count=len(places), image_size=SIDE, seed=0)
        loaded[part] = read.pixels, read.labels
    return loaded


def _write(images: LabelledImages, places: Sequence[int], folder: Path) -> None:
    """Write the images at ``places`` to a folder of their classes."""
    for place in places:
        label = images.classes[images.labels[place]]
        path = folder / label / f"{place:05d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            images.picture(place).save(path)


def _train(
    recipe: Recipe, train: LabelledTensors, test: LabelledTensors, training: Training
) -> float:
    """Test accuracy of a network after a longer training, per cent."""
    seed = seed_for(1, training.architecture, training.seed)
    classes = int(train[1].max()) + 1
    with one_thread("cpu"), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = _network(training.architecture, classes)
        draw_linear_weights(network)
        return fit(network, train, test, recipe, seed=seed).accuracy


def _network(text: str, classes: int) -> nn.Module:
    """A fresh network of an architecture's text, or one made by hand."""
    if text not in BY_HAND:
        return build(text, SIDE, classes)
    return BY_HAND[text](classes)


def _kinds_of(options: argparse.Namespace, folder: Path) -> Kinds:
    space, rng = load_space("asvit"), np.random.default_rng(2)
    draws = [str(space.sample(rng)) for _ in range(options.random)]

    def outcome(seed: int, controller: str, name: str, **settings: Any) -> str:
        result = asvit.run_search(
            controller=controller,
            data=str(folder),
            image_size=SIDE,
            seed=seed,
            out=options.out / options.data / f"{name}-seed{seed}",
            workers=Workers(jobs=options.jobs),
            **settings,
        )
        return result.seed_architecture

    task = TASKS[options.data]

    def trained(controller: str, name: str, more: Mapping[str, Any]) -> Callable[[int], str]:
        return partial(outcome, controller=controller, name=name, trainings=TRAININGS, **more)

    kinds: Kinds = {
        PREDICTED: (options.searches, trained("predictor", "predictor", task.settings)),
        BEST: (options.searches, trained("random", "random", task.settings)),
        FREE: (
            options.searches,
            partial(outcome, controller="reinforce", name="reinforce", preset="quick"),
        ),
        RANDOM: (options.random, draws.__getitem__),
        **{
            kind: (options.searches, trained(controller, kind.replace(" ", "-"), more))
            for kind, (controller, more) in task.others.items()
        },
    }
    wide = {kind: (n, lambda k, find=find: widest(find(k))) for kind, (n, find) in kinds.items()}
    return wide | {name: (1, lambda _, name=name: name) for name in BY_HAND}


def widest(text: str) -> str:
    """The architecture as wide as the cap allows."""
    below = SearchSettings(trainings=1, image_size=SIDE, classes=CLASSES, max_macs=CAP)
    return str(Limits(load_space("asvit"), below).network(Genotype.parse(text)))


def tables(rows: Sequence[Row]) -> str:
    """The kinds, their differences, and every architecture, as Markdown."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    pairs = [(PREDICTED, kind) for kind in kinds if kind != PREDICTED]
    pairs += [(BEST, FREE), (BEST, RANDOM), (SHORTER, RANDOM)]
    pairs += [(AT_CAP, kind) for kind in kinds if kind != AT_CAP]
    pairs = [pair for pair in pairs if {*pair} <= {*kinds}]
    compared = {f"{one} than {other}": [(one, other)] for one, other in pairs}
    found = [_each(rows, kinds), points_more(compared, rows, paired=SEARCHES)]
    drawn = accuracies(rows, RANDOM)
    trainings = {len(values) for values in drawn.values()}
    if AT_CAP in kinds and len(trainings) == 1 and trainings != {1}:
        best, apart = than_best_drawn(rows)
        columns = f"best of {len(drawn)} random draws by one training", f"{AT_CAP}, points more"
        cells = f"{best:.1f}", *points(apart)
        found.append(markdown(dict.fromkeys((*columns, "95 % interval"), "r"), [cells]))
    return "\n\n".join(found)


def difference(rows: Sequence[Row], kind: str, other: str) -> Estimate:
    """Mean accuracy of one kind minus that of another; searches of one seed are paired."""
    return compare_outcomes.difference(rows, [(kind, other)], paired=SEARCHES)


def than_best_drawn(rows: Sequence[Row]) -> tuple[float, Estimate]:
    """Accuracy of the best random draw by one training, and how far outcomes are ahead of it.

    The other trainings judge that one, since what is picked by a training is lucky in it. The
    outcomes are those of searches at the cap. The interval is Welch's, with the variance of the
    best of resampled draws.
    """
    outcomes = [*accuracies(rows, AT_CAP).values()]
    drawn = np.array([*accuracies(rows, RANDOM).values()])
    rng = np.random.default_rng(0)

    def best(places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Accuracy of the best of the draws at ``places``, ``[resamples, draws]``."""
        seeds = rng.integers(drawn.shape[1], size=places.shape)
        picked = drawn[places, seeds].argmax(axis=1)[:, None]
        place, seed = (np.take_along_axis(one, picked, axis=1)[:, 0] for one in (places, seeds))
        others = drawn[place].sum(axis=1) - drawn[place, seed]
        judged: NDArray[np.float64] = others / (drawn.shape[1] - 1)
        return judged

    count = len(drawn)
    theirs = float(best(np.tile(np.arange(count), (RESAMPLES, 1))).mean())
    again = best(rng.integers(count, size=(RESAMPLES, count)))
    means = [statistics.fmean(values) for values in outcomes]
    errors = (statistics.variance(means) / len(means), len(means) - 1), (again.var(), count - 1)
    return theirs, around(statistics.fmean(means) - theirs, *errors)


def _each(rows: Sequence[Row], kinds: Sequence[str]) -> str:
    lines: list[tuple[object, ...]] = []
    for kind in kinds:
        for search, text, values in architectures(rows, kind):
            lines.append(sized_line(kind, search, text, _size(text), values, digits=2))
        means = [statistics.fmean(values) for values in accuracies(rows, kind).values()]
        if len(means) > 1:
            lines.append((f"**{kind}**", "", "", "", "", "", f"**{statistics.fmean(means):.1f}**"))
    return markdown(SIZED, lines)


def _size(text: str) -> Cost:
    if text not in BY_HAND:
        return asvit.cost(text, SIDE, CLASSES)
    return count(_network(text, CLASSES), SIDE)


if __name__ == "__main__":
    main()
