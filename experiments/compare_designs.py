"""Does a search by a dozen or two short trainings find better networks than other ways?

On one set of images and under one cap of multiply-adds: what ``asvit search --controller
predictor`` ends in, the most accurate of as many random draws, what a search by measures ends in,
plain random draws, and networks made by hand after DeiT, PiT and Swin. The searches see a part of
the images. Every architecture is then made as wide as the cap allows, trained from scratch for
longer on the same part, and tested on images that no search saw.

Run from a checkout: ``python -m experiments.compare_designs digits``. Searches are
ordinary run folders, and every training is kept in ``designs_digits.csv``, so a stopped
comparison continues when the command is run again; with ``--print`` it only prints.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timm.models import SwinTransformer, VisionTransformer
from timm.models.pit import PoolingVisionTransformer
from torch import nn

import asvit
from asvit.architectures.genotype import Genotype
from asvit.core.estimates import Estimate
from asvit.executors import Workers
from asvit.spaces import build, load_space
from asvit.statistics.intervals import around
from experiments.kinds import (
    RANDOM,
    Kinds,
    Row,
    accuracies,
    differences,
    kinds_study,
)
from experiments.study import Study, points
from experiments.tables import markdown
from experiments.tasks import PICTURES, fit_fresh, limits_of, load_task
from proxies.evaluation import seed_for

PREDICTED, BEST, FREE = "predictor", "best of as many random", "by measures"
SHORTER, AT_CAP = "predictor, shorter trainings", "predictor at the cap"
BEST_AT_CAP = "best of as many random at the cap"
SEARCHES = PREDICTED, BEST, FREE, SHORTER, AT_CAP, BEST_AT_CAP
TRAININGS = 24  # of each search
SEARCHED = 5  # seeds 0, 1, ... of each kind of search
DRAWS = {"fractals": 10, "hard-fractals": 24, "digits": 24}
OUT = Path("runs/compare-designs")
RESAMPLES = 10_000
STEPS = 1_400  # of the trainings that judge
CAP = 1_720_000  # multiply-adds at 32 px: all of the space stay below at the width of the searches
SIDE = 32
CLASSES = 40  # of networks whose cost is counted


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


_BRIEF = {"training_steps": 350, "learning_rate": 1e-3, "train_images": 4_000}
_LONG = {"training_steps": STEPS, "learning_rate": 2e-3, "train_images": 7_000}
_SHORT = {"training_steps": 700, "learning_rate": 2e-3, "train_images": 4_000}
_CAPPED = {**_LONG, "max_macs": CAP}
_AT_CAP = {AT_CAP: ("predictor", _CAPPED), BEST_AT_CAP: ("random", _CAPPED)}

#: Task -> kind of search by trainings -> its controller and settings.
BY_TRAININGS: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "fractals": {PREDICTED: ("predictor", _BRIEF), BEST: ("random", _BRIEF)},
    "hard-fractals": {
        PREDICTED: ("predictor", _LONG),
        BEST: ("random", _LONG),
        SHORTER: ("predictor", _SHORT),
        **_AT_CAP,
    },
    "digits": {PREDICTED: ("predictor", _BRIEF), BEST: ("random", _BRIEF), **_AT_CAP},
}


def main() -> None:
    """Run the missing searches and trainings, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=BY_TRAININGS)
    options, words = parser.parse_known_args()
    print(tables(study(options.data).main(None, words=words)))


def table_of(data: str) -> Path:
    """Where the trainings on a set of images are kept."""
    return Path(__file__).with_name(f"designs_{data.replace('-', '_')}.csv")


def train(pictures: str, text: str, training: int) -> float:
    """The accuracy of an architecture, trained with a seed on the pictures of a task."""
    task, parts = load_task(pictures)
    network = partial(_network, text, parts.classes)
    return fit_fresh(network, parts, task.recipe(STEPS), seed=seed_for(1, text, training))


def _network(text: str, classes: int) -> nn.Module:
    """A fresh network of an architecture's text, or one made by hand."""
    if text not in BY_HAND:
        return build(text, SIDE, classes)
    return BY_HAND[text](classes)


def study(data: str) -> Study[Row]:
    """The trainings of all kinds on a set of images."""
    space, rng = load_space("asvit"), np.random.default_rng(2)
    draws = [str(space.sample(rng)) for _ in range(DRAWS[data])]

    def search(kind: str, controller: str, settings: Mapping[str, Any], seed: int) -> str:
        result = asvit.run_search(
            controller=controller,
            data=str(PICTURES / data / "train"),
            image_size=SIDE,
            seed=seed,
            out=OUT / data / f"{kind.replace(' ', '-')}-seed{seed}",
            workers=Workers(jobs=1),
            **settings,
        )
        return result.seed_architecture

    searches: dict[str, Callable[[int], str]] = {
        FREE: partial(search, FREE, "reinforce", {"preset": "quick"})
    }
    for kind, (controller, settings) in BY_TRAININGS[data].items():
        settings = {"trainings": TRAININGS, **settings}
        searches[kind] = partial(search, kind, controller, settings)
    counted: Kinds = {
        **{kind: (SEARCHED, searches[kind]) for kind in (PREDICTED, BEST, FREE)},
        RANDOM: (DRAWS[data], draws.__getitem__),
        **{kind: (SEARCHED, find) for kind, find in searches.items()},
    }
    wide = {kind: (n, lambda k, find=find: widest(find(k))) for kind, (n, find) in counted.items()}
    wide |= {name: (1, lambda _, name=name: name) for name in BY_HAND}
    trainings = 1 if data == "fractals" else 3
    return kinds_study(table_of(data), wide, partial(train, data), trainings)


def widest(text: str) -> str:
    """The architecture as wide as the cap allows."""
    return str(limits_of("asvit", SIDE, CLASSES, max_macs=CAP).network(Genotype.parse(text)))


def tables(rows: Sequence[Row]) -> str:
    """The differences between the kinds, as Markdown."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    pairs = [(PREDICTED, kind) for kind in kinds if kind != PREDICTED]
    pairs += [(BEST, FREE), (BEST, RANDOM), (SHORTER, RANDOM)]
    pairs += [(AT_CAP, kind) for kind in kinds if kind != AT_CAP]
    compared = {f"{one} than {other}": [(one, other)] for one, other in pairs}
    parts = [differences(compared, rows, paired=SEARCHES)]
    drawn = accuracies(rows, RANDOM)
    trainings = {len(values) for values in drawn.values()}
    if AT_CAP in kinds and len(trainings) == 1 and trainings != {1}:
        best, apart = than_best_drawn(rows)
        columns = f"best of {len(drawn)} random draws by one training", f"{AT_CAP}, points more"
        cells = f"{best:.1f}", *points(apart)
        parts.append(markdown(dict.fromkeys((*columns, "95 % interval"), "r"), [cells]))
    return "\n\n".join(parts)


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


if __name__ == "__main__":
    main()
