"""Do architectures grown by the measures train better than randomly grown ones?

Two architectures of ``experiments/outcomes.csv`` are grown to one budget, by the measures and by
random steps of the same kind, and trained with the recipe of that table.

Run from a checkout: ``python -m experiments.compare_growths``. Every training is kept in
``experiments/growths.csv``, so a stopped comparison continues when the command is run again;
with the table of the repository it only prints. Growth measures at the width, the image size and
the classes of the trainings (``MEASURED``).
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import asvit
from asvit.growth.settings import ScaleSettings
from experiments import compare_outcomes
from experiments.compare_outcomes import PICKED, PUBLISHED
from experiments.growing import at_own_size, grown, grown_at_random
from experiments.kinds import (
    SIZED,
    Kinds,
    Row,
    accuracies,
    architectures,
    differences,
    kinds_parser,
    sized_line,
    train_kinds,
)
from experiments.tables import markdown, read_rows
from experiments.tasks import RECIPE
from proxies import Cost

GROWN, AT_RANDOM = "grown", "grown at random"
STARTS = {"published": PUBLISHED, "searched": PICKED}  # to the kind of it in outcomes.csv
TABLE = Path(__file__).with_name("growths.csv")
BUDGET = "1.5M"
MEASURED = at_own_size(RECIPE.image_size, RECIPE.classes)


def main() -> None:
    """Run the missing growths and trainings, then print the tables."""
    options = _options()
    print(tables(train_kinds(options, _kinds_of(options), compare_outcomes.trainer())))


def _options() -> argparse.Namespace:
    parser = kinds_parser(__doc__, out="compare-growths", table=TABLE)
    parser.add_argument("--growths", type=int, default=3, help="growths by the measures")
    parser.add_argument("--random", type=int, default=5, help="random growths of each start")
    return parser.parse_args()


def _kinds_of(options: argparse.Namespace) -> Kinds:
    kinds = {}
    for name, (text, _) in _starts().items():
        kinds[f"{name}, {GROWN}"] = options.growths, partial(_grown, options, name, text)
        kinds[f"{name}, {AT_RANDOM}"] = options.random, partial(_grown_at_random, text)
    return kinds


def _starts() -> Mapping[str, tuple[str, Sequence[float]]]:
    """The text of each start, at the width of the trainings, and its own accuracies."""
    rows = read_rows(compare_outcomes.TABLE, Row)
    first = {row.kind: row.architecture for row in rows if row.search == 0}
    return {name: (first[kind], accuracies(rows, kind)[0]) for name, kind in STARTS.items()}


def _grown(options: argparse.Namespace, name: str, text: str, seed: int) -> str:
    out = options.out / f"{name}-seed{seed}"
    return grown(text, out, budget=BUDGET, seed=seed, **MEASURED)


def _grown_at_random(text: str, number: int) -> str:
    settings = ScaleSettings.make(architecture=text, budgets=BUDGET, **MEASURED)
    return grown_at_random(settings, number)


def tables(rows: Sequence[Row]) -> str:
    """Every architecture, and the differences between the rules, as Markdown."""
    pairs = [(f"{name}, {GROWN}", f"{name}, {AT_RANDOM}") for name in STARTS]
    compared = {f"{one} than {other}": [(one, other)] for one, other in pairs}
    compared["both starts together"] = pairs
    return f"{_each(rows)}\n\n{differences(compared, rows)}"


def _each(rows: Sequence[Row]) -> str:
    lines = []
    for name, (start, own) in _starts().items():
        lines.append(sized_line(f"{name}, start", "", start, _size(start), own))
        for kind in (f"{name}, {GROWN}", f"{name}, {AT_RANDOM}"):
            for number, text, values in architectures(rows, kind):
                lines.append(sized_line(kind, number, text, _size(text), values))
    return markdown(SIZED, lines)


def _size(text: str) -> Cost:
    return asvit.cost(text, RECIPE.image_size, RECIPE.classes)


if __name__ == "__main__":
    main()
