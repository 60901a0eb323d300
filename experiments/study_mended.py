"""What do measures rank once networks have the parts that train, and between families?

Topologies of the table asvit-fractal, which has them with the published parts and weights, are
trained as that table was, but with a convolutional stem, a linear head and weights drawn by width.
Four networks of every family, one made by hand and three at random, are trained on its pictures,
too, as wide as a limit of multiply-adds allows, at twice the learning rate. Every measure is taken
of all of them, on 8 images; the stored ones of the published topologies are of 16. Rows of seven
networks of ``shiftvit-parts`` and ``asvit-parts`` are of what these spaces drew then.

Run from a checkout: ``python -m experiments.study_mended``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.architectures.genotype import Genotype
from asvit.core.estimates import Estimate
from asvit.executors import one_thread
from asvit.reference import load_reference
from asvit.reference.query import stored_values
from asvit.runs.measurement_pool import EvalContext
from asvit.search import SearchSettings
from asvit.spaces import build, cost, load_space
from asvit.spaces.architectures import with_parts
from asvit.statistics.intervals import around, contrast
from asvit.statistics.ranks import rank_sum, signs
from asvit.training.short import CandidateTrainer, Training
from experiments.measure_ranks import MEASURES, NAMES
from experiments.study import Case, Study, cases, in_a_cell, share_cells
from experiments.tables import markdown
from experiments.tasks import RECIPE, limits_of
from experiments.variance import variance_components
from proxies import measure
from proxies.registry import get_proxy

PUBLISHED, MENDED, FAMILIES = "published parts", "conv stem, linear head", "families"
TABLE = replace(RECIPE, init="xavier")
RATES: Mapping[str, float] = {MENDED: TABLE.learning_rate, FAMILIES: 2e-3}
TOPOLOGIES, OF_FAMILY, SEEDS = 30, 4, 2
MACS = 1_720_000
COUNTS = ("params", "macs")
_PARTS = {"stem": "conv", "head": "linear", "init": "width"}
_SINCE = {"resnet-parts"}  # families that are newer than the rows, where numbers say the family
_FAMILIES = [
    str(name) for name in load_space("families").dimensions["family"] if name not in _SINCE
]


@dataclass(frozen=True)
class Row:
    """One training."""

    group: str
    number: int
    seed: int
    family: str
    architecture: str
    accuracy: float  # of the test pictures, per cent


@dataclass(frozen=True)
class Measured:
    """The value of one measure of a network; NaN where it has none."""

    group: str
    number: int
    measure: str
    value: float


@cache
def networks(group: str) -> Sequence[tuple[str, str]]:
    """Family and text of each network of a group."""
    if group != FAMILIES:
        published = load_reference("asvit-fractal").architectures[:TOPOLOGIES]
        return [("asvit", str(with_parts(Genotype.parse(text), _PARTS))) for text in published]
    found = list[tuple[str, str]]()
    for place, family in enumerate(_FAMILIES):
        space, rng = load_space(family), np.random.default_rng(place)
        limits = limits_of(family, TABLE.image_size, TABLE.classes, max_macs=MACS)
        texts = [str(limits.network(space.parse(space.by_hand[0])))]
        while len(texts) < OF_FAMILY:
            text = str(limits.network(limits.sample(rng)))
            if text not in texts:
                texts.append(text)
        found += [(family, text) for text in texts]
    return found


@cache
def _trainer(group: str) -> CandidateTrainer:
    return CandidateTrainer(replace(TABLE, learning_rate=RATES[group]), "cpu")


def train(group: str, number: int, seed: int) -> Case:
    """The accuracy of a network after a short training."""
    family, text = networks(group)[number]
    with one_thread("cpu"):
        accuracy = _trainer(group)(Training(text, seed)).accuracy
    return {"family": family, "architecture": text, "accuracy": accuracy}


def value(group: str, number: int, measure: str) -> Case:
    """A measure of a network, or a count."""
    _, text = networks(group)[number]
    if measure in COUNTS:
        return {"value": getattr(cost(text, TABLE.image_size, TABLE.classes), measure)}
    return {"value": _values(text).get(measure, math.nan)}


@cache
def _values(text: str) -> Mapping[str, float]:
    """All measures of a network: two draws of its weights, eight fractals."""
    network = partial(build, text, TABLE.image_size, TABLE.classes)
    settings = SearchSettings.make("quick", image_size=TABLE.image_size, device="cpu")
    with one_thread("cpu"):
        scores = measure(network, NAMES, key=text, **EvalContext(settings).arguments)
    return {name: score.value for name, score in scores.items()}


_GROUPS: Mapping[str, int] = {MENDED: TOPOLOGIES, FAMILIES: OF_FAMILY * len(_FAMILIES)}
STUDY = Study(
    Row,
    Path(__file__).with_name("mended.csv"),
    [
        case
        for group, count in _GROUPS.items()
        for case in cases(group=[group], number=range(count), seed=range(SEEDS))
    ],
    train,
    repeat="seed",
)
MEASURED = Study(
    Measured,
    MEASURES / "mended.csv",
    [
        case
        for group, count in _GROUPS.items()
        for case in cases(group=[group], number=range(count), measure=(*COUNTS, *NAMES))
    ],
    value,
)

Pairs = NDArray[np.bool_]  # [n, n]: which networks are compared with which


def tau(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    pairs: Pairs | None = None,
    units: ArrayLike | None = None,
) -> Estimate:
    """Kendall's tau over some pairs of networks, with a 95 % interval by the jackknife.

    Pairs with equal numbers are left out, as in Goodman and Kruskal's gamma.

    Args:
        x: A measure of each network; NaN where it failed.
        y: What it is to rank.
        pairs: All of them by default.
        units: What each network is drawn with, such as its family: itself by default. The interval
            is for other units like these.
    """
    agree = signs(x) * signs(y)  # 0 where one is equal or unknown
    used = (agree != 0) & (_every(len(x)) if pairs is None else pairs)
    labels = (
        np.arange(len(x))
        if units is None
        else np.unique_inverse(np.asarray(units)).inverse_indices
    )
    if not used.any():
        return Estimate(math.nan)

    def mean(keep: NDArray[np.bool_]) -> float:
        inside = used & keep & keep[:, None]
        return float(agree[inside].mean()) if inside.any() else math.nan

    value = mean(labels >= 0)
    without = np.array([mean(labels != one) for one in np.unique(labels[used.any(axis=1)])])
    count = len(without)
    error = (count - 1) / count * float(((without - without.mean()) ** 2).sum())
    low, high = around(value, (error, count - 1)).interval
    return Estimate(value, max(low, -1.0), min(high, 1.0))


def _cell(x: NDArray[np.float64], estimate: Estimate) -> str:
    """A tau with its interval, and how many networks have no value."""
    failed = int((~np.isfinite(x)).sum())
    low, high = estimate.interval
    rest = f", {failed} failed" if failed else ""
    text = f"{estimate.value:.2f} ({low:.2f} to {high:.2f}{rest})"
    return text.replace("-", "−")


def _every(count: int) -> Pairs:
    return ~np.eye(count, dtype=np.bool_)


def accuracies(rows: Sequence[Row], group: str, seed: int) -> NDArray[np.float64]:
    """Accuracy of each network of a group, trained with a seed; NaN where it is not known."""
    known = {row.number: row.accuracy for row in rows if (row.group, row.seed) == (group, seed)}
    return np.array([known.get(number, math.nan) for number in range(_GROUPS[group])])


def between_seeds(rows: Sequence[Row]) -> str:
    """Spread of the accuracies, and how far one seed ranks what another gives."""
    lines = []
    for group, (first, second) in _by_seed(rows).items():
        means, units = (first + second) / 2, None
        if group == FAMILIES:
            units = [name for name, _ in networks(FAMILIES)]
        apart = np.nanstd(first - second, ddof=1) / math.sqrt(2)
        cells = f"{np.nanmean(means):.1f}", f"{np.nanstd(means, ddof=1):.1f}", f"{apart:.1f}"
        ranked = _cell(first, tau(first, second, units=units))
        lines.append((group, int(np.isfinite(means).sum()), *cells, ranked))
    columns = {"networks": "l", "number": "r", "mean accuracy": "r", "between networks": "r"}
    return markdown(columns | {"between seeds": "r", "τ between seeds": "r"}, lines)


def shares(rows: Sequence[Row]) -> list[str]:
    """Cells of the shares of variance of families, topologies and seeds."""
    own = [row for row in rows if row.group == FAMILIES]
    causes = {
        "family": [row.family for row in own],
        "topology": [row.architecture for row in own],
    }
    return share_cells(variance_components([row.accuracy for row in own], causes))


def _by_seed(rows: Sequence[Row]) -> Mapping[str, Sequence[NDArray[np.float64]]]:
    """Accuracies of each seed: of the same topologies as published, then of every group."""
    stored = load_reference("asvit-fractal").accuracies
    before = [np.array(stored[f"accuracy_seed{n}"][:TOPOLOGIES]) for n in range(SEEDS)]
    after = {group: [accuracies(rows, group, seed) for seed in range(SEEDS)] for group in _GROUPS}
    return {PUBLISHED: before, **after}


def _oriented(values: Sequence[Measured], group: str, name: str) -> NDArray[np.float64]:
    """A measure or count of each network, higher is better."""
    sign = -1 if name not in COUNTS and get_proxy(name).better == "lower" else 1
    if group == PUBLISHED:
        return sign * stored_values(load_reference("asvit-fractal"))[0][name][:TOPOLOGIES]
    known = {one.number: one.value for one in values if (one.group, one.measure) == (group, name)}
    return sign * np.array([known.get(number, math.nan) for number in range(_GROUPS[group])])


def ranks(rows: Sequence[Row], values: Sequence[Measured]) -> str:
    """Tau of every measure with the accuracies: at one size, and of pairs of families."""
    family = [name for name, _ in networks(FAMILIES)]
    same = np.array(family)[:, None] == np.array(family)
    columns: Mapping[str, tuple[str, Pairs | None, Sequence[str] | None]] = {
        PUBLISHED: (PUBLISHED, None, None),
        MENDED: (MENDED, None, None),
        "within families": (FAMILIES, same & _every(len(family)), family),
        "between families": (FAMILIES, ~same, family),
    }
    means = {group: np.mean(both, axis=0) for group, both in _by_seed(rows).items()}
    lines = []
    for name in (*COUNTS, *NAMES):
        cells = []
        for group, pairs, units in columns.values():
            x = _oriented(values, group, name)
            cells.append(_cell(x, tau(x, means[group], pairs, units)))
        lines.append((name, *cells))
    return markdown({"measure": "l", **dict.fromkeys(columns, "r")}, lines)


def chosen(rows: Sequence[Row], values: Sequence[Measured]) -> str:
    """Points that the best of five topologies gains over their mean, by what chose it."""
    seeds = _by_seed(rows)
    lines = []
    for words, names in _CHOOSERS.items():
        cells = []
        for group in (PUBLISHED, MENDED):
            means = np.mean(seeds[group], axis=0)
            if names:
                by = [(rank_sum([_oriented(values, group, name) for name in names]), means)]
            else:  # the other seed tells what it gains
                by = [*zip(seeds[group], seeds[group][::-1], strict=True)]
            fives = [np.arange(first, first + 5) for first in range(0, TOPOLOGIES, 5)]
            gains = [
                np.mean([y[five][x[five].argmax()] - y[five].mean() for x, y in by])
                for five in fives
            ]
            cells.append(in_a_cell(contrast((1, gains))))
        lines.append((words, *cells))
    return markdown({"chosen by": "l", PUBLISHED: "r", MENDED: "r"}, lines)


#: In words -> the measures whose ranks are summed; none: one training of each.
_CHOOSERS: Mapping[str, tuple[str, ...]] = {
    "L^E and κ_Θ": ("length_distortion", "ntk_condition_number"),
    "L^E": ("length_distortion",),
    "SNIP": ("snip",),
    "SynFlow": ("synflow",),
    "one training of each": (),
}


def _stored(table: Callable[[Sequence[Row], Sequence[Measured]], str]) -> str:
    """A table of the stored rows, if all are."""
    if STUDY.missing() or MEASURED.missing():
        return ""
    return table(STUDY.rows(), MEASURED.rows())


TABLES: Mapping[str, Callable[[], str]] = {
    "mended, seeds": lambda: _stored(lambda rows, _: between_seeds(rows)),
    "mended, chosen": partial(_stored, chosen),
}


if __name__ == "__main__":
    STUDY.main(__doc__, MEASURED)
    print(*(table() for table in TABLES.values()), _stored(ranks), sep="\n\n")
