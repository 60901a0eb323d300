"""How well do short trainings rank what longer ones give?

``python -m experiments.compare_designs`` trains architectures at length, as wide as the cap
allows. Here those of them that no training picked are trained once by several cheaper recipes, on
a part of the images that a search sees, at its width or as wide as they end. Every training is
kept in ``fidelity.csv``, so a stopped study continues when the command is run again; with
``--print`` it only prints.

Run from a checkout: ``python -m experiments.study_fidelity --only data=digits``.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from asvit.architectures.genotype import Genotype
from asvit.reference.correlate import correlate
from asvit.reference.table import LEAST_ROWS
from asvit.training.short import CandidateTrainer, Training
from asvit.training.short_settings import CandidateSettings
from experiments import compare_designs, kinds
from experiments.kinds import RANDOM, architectures
from experiments.study import Case, Study, cases
from experiments.tables import markdown, read_rows
from experiments.tasks import PICTURES, RECIPE, load_task

TABLE = Path(__file__).with_name("fidelity.csv")
HALF = replace(RECIPE, train_images=4_000, test_images=4_000, init="xavier")  # of 8,000
MOST = replace(HALF, train_images=7_000, test_images=1_000)


@dataclass(frozen=True)
class Fidelity:
    """A recipe, for networks of a search's width or as wide as the cap allows."""

    recipe: CandidateSettings
    widest: bool = False


FIDELITIES: Mapping[str, Fidelity] = {
    "350 steps": Fidelity(replace(HALF, steps=350)),
    "350 steps, twice the learning rate": Fidelity(replace(HALF, steps=350, learning_rate=2e-3)),
    "700 steps, twice the learning rate": Fidelity(replace(HALF, learning_rate=2e-3)),
    "700 steps, twice the learning rate, widest": Fidelity(
        replace(HALF, learning_rate=2e-3), widest=True
    ),
    "700 steps, twice the learning rate, 7,000 images": Fidelity(
        replace(MOST, learning_rate=2e-3)
    ),
    "700 steps, twice the learning rate, 7,000 images, widest": Fidelity(
        replace(MOST, learning_rate=2e-3), widest=True
    ),
    "1,000 steps, three times the learning rate, 7,000 images": Fidelity(
        replace(MOST, steps=1_000, learning_rate=3e-3)
    ),
    "1,400 steps, twice the learning rate, 7,000 images": Fidelity(
        replace(MOST, steps=1_400, learning_rate=2e-3)
    ),
}


@dataclass(frozen=True)
class Row:
    """One short training: test accuracy in per cent, and seconds of one core.

    The text is that at the width of a search, also where the network was as wide as it ends.
    """

    data: str
    fidelity: str
    architecture: str
    training: int
    accuracy: float
    seconds: float


def main() -> None:
    """Run the missing trainings, then print the tables."""
    rows = _study().main(__doc__)
    print("\n\n".join(table(data, rows) for data in compare_designs.BY_TRAININGS))


def _study() -> Study[Row]:
    every = [
        case
        for data in compare_designs.BY_TRAININGS
        for case in cases(data=[data], fidelity=FIDELITIES, architecture=_long(data), training=[0])
    ]
    return Study(Row, TABLE, every, train)


def train(data: str, fidelity: str, architecture: str, training: int) -> Case:
    """Test accuracy of a short training, and its seconds."""
    text = architecture
    if FIDELITIES[fidelity].widest:
        text = compare_designs.widest(text)
    trainer = _trainer(data, fidelity)  # the first one loads the pictures
    started = time.process_time()
    accuracy = trainer(Training(text, training)).accuracy
    seconds = round(time.process_time() - started, 1)
    return {"accuracy": round(accuracy, 2), "seconds": seconds}


@cache
def _trainer(data: str, fidelity: str) -> CandidateTrainer:
    load_task(data)  # writes the pictures
    recipe = replace(FIDELITIES[fidelity].recipe, data=str(PICTURES / data / "train"))
    return CandidateTrainer(recipe, "cpu")


def _long(data: str) -> Mapping[str, float]:
    """Architecture at the width of a search to its mean accuracy after longer trainings."""
    rows = read_rows(compare_designs.table_of(data), kinds.Row)
    return {
        str(Genotype.parse(text).with_(width=RECIPE.width)): float(np.mean(values))
        for kind in (RANDOM, compare_designs.FREE)
        for _, text, values in architectures(rows, kind)
    }


def table(data: str, rows: Sequence[Row]) -> str:
    """How well each recipe ranks what longer trainings of these images give, as Markdown."""
    long, lines = _long(data), []
    for name in FIDELITIES:
        own = [row for row in rows if (row.data, row.fidelity) == (data, name)]
        own = [row for row in own if row.architecture in long]
        if len(own) < LEAST_ROWS:
            continue
        short = np.array([row.accuracy for row in own])
        after = np.array([long[row.architecture] for row in own])
        found = correlate(short, after, better="higher", samples=10_000)
        low, high = found.tau_interval
        lines.append(
            (
                name,
                len(own),
                f"{np.mean([row.seconds for row in own]):.0f}",
                f"{short.mean():.1f} ± {short.std(ddof=1):.1f}",
                f"{found.tau:.2f} ({low:.2f} to {high:.2f})",
            )
        )
    columns = {"short training": "l", "networks": "r", "seconds": "r", "accuracy": "r"}
    return markdown({**columns, "τ with the long one": "r"}, lines)


if __name__ == "__main__":
    main()
