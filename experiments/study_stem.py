"""What do the measures see of the stem?

K1, the kernel of the stem, is changed in random architectures of the table asvit-fractal, and
nothing else. Nothing is trained; two networks for each value, 8 fractal images.

Run from a checkout: ``python -m experiments.study_stem``, in minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from asvit.architectures.genotype import KERNEL_CHOICES, Genotype
from asvit.reference import load_reference
from asvit.runs.measurement_pool import EvalContext
from asvit.search import MeasureSearchSettings
from asvit.spaces import build
from experiments.study import Case, Study, cases
from experiments.tables import markdown
from proxies import measure
from scaling.growth import DEFAULT_MEASURES

SIDE, CLASSES = 32, 20
STEMS = KERNEL_CHOICES[0]
LABELS = dict(zip(DEFAULT_MEASURES, ("L^E", "κ_Θ"), strict=True))


@dataclass(frozen=True)
class Row:
    """An architecture with a stem."""

    architecture: str
    stem: int
    length_distortion: float
    ntk_condition_number: float


@cache
def arguments() -> Mapping[str, Any]:
    """Images, repeats and circle of the measures."""
    settings = MeasureSearchSettings.make("quick", image_size=SIDE, device="cpu")
    return EvalContext(settings).arguments


def compare(architecture: str, stem: int) -> Case:
    """The measures of an architecture with another K1."""
    genotype = Genotype.parse(architecture)
    text = str(replace(genotype, kernels=(stem, *genotype.kernels[1:])))
    network = partial(build, text, SIDE, CLASSES)
    scores = measure(network, DEFAULT_MEASURES, key=text, **arguments())
    return {name: scores[name].value for name in DEFAULT_MEASURES}


TABLE = Path(__file__).with_name("stem.csv")
CHANGED = load_reference("asvit-fractal").architectures[:8]
STUDY = Study(Row, TABLE, cases(architecture=CHANGED, stem=STEMS), compare)


def table() -> str:
    """Geometric mean of the ratio to the value with the smallest stem, over architectures."""
    rows = {(row.architecture, row.stem): row for row in STUDY.rows()}
    first = {text: row for (text, stem), row in rows.items() if stem == STEMS[0]}

    def ratio(name: str, stem: int) -> str:
        pairs = [(rows[text, stem], base) for text, base in first.items() if (text, stem) in rows]
        ratios = [vars(row)[name] / vars(base)[name] for row, base in pairs]
        return f"{geometric_mean(ratios):.2f}" if ratios else ""

    lines = [[LABELS[name], *(ratio(name, stem) for stem in STEMS[1:])] for name in LABELS]
    columns = [f"K1 = {stem}" for stem in STEMS[1:]]
    return markdown({f"relative to K1 = {STEMS[0]}": "l", **dict.fromkeys(columns, "r")}, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())
