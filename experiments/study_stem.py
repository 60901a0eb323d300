"""What do the measures see of the stem, and do remedies rank trained networks better?

Run from a checkout: ``python -m experiments.study_stem``. Nothing is trained; two networks each, 8
fractal images, C = 16, in minutes.

The first table changes K1, the kernel of the stem, in random architectures and nothing else. The
second one ranks the rows of asvit-fractal by variants of the measures. Rows are split in halves by
a hash of their texts: a remedy counts only if it ranks better than the default in both.
"""

import argparse
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from timm.layers import trunc_normal_
from torch import nn

from asvit.architectures.genotype import KERNEL_CHOICES, Genotype
from asvit.reference import load_reference
from asvit.reference.statistics import correlate
from asvit.runs.measurement_pool import EvalContext
from asvit.search import SearchSettings
from asvit.spaces import build
from experiments.tables import markdown
from proxies import Inputs, Proxy, length_distortion, measure
from proxies.registry import PROXIES, register
from scaling.ranking import Better, rank_sums

EXPANSION, KERNEL, KEPT = "length_distortion", "ntk_condition_number", "length_norms_kept"
BETTER: Mapping[str, Better] = {EXPANSION: "higher", KERNEL: "lower", KEPT: "higher"}
LABELS = {EXPANSION: "L^E", KERNEL: "κ_Θ", KEPT: "L^E, norms kept"}
STEMS = KERNEL_CHOICES[0]
WIDTH = 16

Columns = Mapping[str, Sequence[float]]


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64], help="of the images")
    parser.add_argument("--rest", type=int, default=8, help="architectures with each K1")
    parser.add_argument("--rows", type=int, default=60, help="of the table")
    options = parser.parse_args()
    register(Proxy(KEPT, "L^E with the norms kept", "higher", "none", _kept))
    try:
        effects = {side: stem_effects(options.rest, side) for side in options.sides}
        print(_stems(effects), end="\n\n")
        print(_remedies(effects, options.rows))
    finally:
        del PROXIES[KEPT]


def _kept(model: nn.Module, inputs: Inputs) -> float:
    return length_distortion(model, inputs.circle, norms="kept")


def scores(texts: Sequence[str], side: int, *, alike: bool = False) -> Columns:
    """Measure to a value for each architecture; failed ones are NaN.

    With ``alike`` the stem starts from weights of the same standard deviation as re-embeddings.
    """
    context = EvalContext(SearchSettings.make("quick", image_size=side, device="cpu"))
    names = list(BETTER)
    found = [
        measure(partial(_network, text, side, alike), names, key=text, **context.arguments)
        for text in texts
    ]
    return {name: [one[name].value for one in found] for name in names}


def _network(text: str, side: int, alike: bool) -> nn.Module:
    model = build(text, side, 20)
    if alike:
        trunc_normal_(model.patch_embed.proj.weight, std=0.02)  # type: ignore[union-attr]
    return model


def stem_effects(rest: int, side: int) -> Mapping[str, Mapping[int, float]]:
    """Measure to K1 to its factor: the geometric mean of the ratio to the value with K1 = 4.

    Architectures are rows of the table in which K1 alone is changed.
    """
    texts = load_reference("asvit-fractal").architectures[:rest]
    columns = {stem: scores([with_stem(text, stem) for text in texts], side) for stem in STEMS}
    return {
        name: {
            stem: math.exp(
                np.nanmean(np.log(columns[stem][name]) - np.log(columns[STEMS[0]][name]))
            )
            for stem in STEMS
        }
        for name in BETTER
    }


def with_stem(text: str, stem: int) -> str:
    """An architecture with another K1."""
    genotype = Genotype.parse(text)
    return str(replace(genotype, kernels=(stem, *genotype.kernels[1:])))


def without_stem(
    columns: Columns, texts: Sequence[str], effect: Mapping[str, Mapping[int, float]]
) -> Columns:
    """The values divided by the factor of their K1."""
    stems = [Genotype.parse(text).kernels[0] for text in texts]
    return {
        name: [value / effect[name][stem] for value, stem in zip(column, stems, strict=True)]
        for name, column in columns.items()
    }


def _stems(effects: Mapping[int, Mapping[str, Mapping[int, float]]]) -> str:
    lines = [
        (LABELS[name], f"{side} px", *(f"{factors[stem]:.2f}" for stem in STEMS))
        for side, effect in effects.items()
        for name, factors in effect.items()
    ]
    columns = {"relative to K1 = 4": "l", "images": "l"}
    return markdown(columns | {f"K1 = {stem}": "r" for stem in STEMS}, lines)


def _remedies(effects: Mapping[int, Mapping[str, Mapping[int, float]]], rows: int) -> str:
    table = load_reference("asvit-fractal")
    texts = table.architectures[:rows]
    accuracies = np.array(table.accuracies["accuracy"][:rows])
    second = np.array([bool(zlib.crc32(text.encode()) % 2) for text in texts])
    parts = {"all": second | True, "first half": ~second, "second half": second}
    lines = []
    for side, effect in effects.items():
        plain, alike = scores(texts, side), scores(texts, side, alike=True)
        levelled = without_stem(plain, texts, effect)
        variants: Mapping[str, Columns] = {
            "L^E": {EXPANSION: plain[EXPANSION]},
            "κ_Θ": {KERNEL: plain[KERNEL]},
            "L^E + κ_Θ, the default": {name: plain[name] for name in (EXPANSION, KERNEL)},
            "L^E with the norms kept + κ_Θ": {name: plain[name] for name in (KEPT, KERNEL)},
            "L^E without K1's part": {EXPANSION: levelled[EXPANSION]},
            "L^E + κ_Θ, both without K1's part": {
                name: levelled[name] for name in (EXPANSION, KERNEL)
            },
            "L^E, stem drawn like re-embeddings": {EXPANSION: alike[EXPANSION]},
            "L^E + κ_Θ, stem drawn like re-embeddings": {
                name: alike[name] for name in (EXPANSION, KERNEL)
            },
        }
        for label, columns in variants.items():
            line = [label, f"{side} px"]
            for part in parts.values():
                chosen = {
                    n: [v for v, own in zip(c, part, strict=True) if own]
                    for n, c in columns.items()
                }
                found = correlate(
                    rank_sums(chosen, {n: BETTER[n] for n in chosen}),
                    accuracies[part],
                    better="lower",
                )
                low, high = found.tau_interval
                line.append(f"{found.tau:.2f} ({low:.2f} to {high:.2f})")
            lines.append(line)
    counts = {f"τ, {name} ({int(part.sum())})": "r" for name, part in parts.items()}
    return markdown({"ranked by": "l", "images": "l"} | counts, lines)


if __name__ == "__main__":
    main()
