"""What several searches have in common: the mean of every choice over what they ended in.

Run from a checkout: ``python -m experiments.search_statistics`` for the five searches of
``experiments.compare_outcomes``, or with the folders of finished searches.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asvit.search.result import SearchResult
from asvit.spaces import load_space
from experiments.compare_outcomes import PICKED, POLICY, TABLE
from experiments.growing import SEED
from experiments.study import Row, architectures
from experiments.tables import markdown, read_rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="run folders of searches")
    options = parser.parse_args()
    if options.folders:
        found = [SearchResult.read(folder) for folder in options.folders]
        kinds = {"handed on": [one.seed_architecture for one in found]}
    else:
        rows = read_rows(TABLE, Row)
        kinds = {
            kind: [text for _, text, _ in architectures(rows, kind)] for kind in (POLICY, PICKED)
        }
    print(table(kinds))


def table(kinds: Mapping[str, Sequence[str]]) -> str:
    """Mean and standard deviation of the choices of each kind, beside those of the paper's seed.

    Args:
        kinds: Name of a kind -> architectures, as their texts.
    """
    space = load_space("asvit")
    names = list(space.dimensions)

    def choices(text: str) -> list[Any]:
        return list(space.encode(space.parse(text)).values())

    lines: list[tuple[object, ...]] = []
    for kind, texts in kinds.items():
        values = np.array([choices(text) for text in texts], dtype=float)
        apart = values.std(axis=0, ddof=1) if len(texts) > 1 else np.zeros(len(names))
        cells = (
            f"{mean:.1f} ± {std:.1f}" for mean, std in zip(values.mean(axis=0), apart, strict=True)
        )
        lines.append((f"{kind} ({len(texts)})", *cells))
    lines.append(("the paper's seed", *choices(SEED)))
    return markdown({"architectures": "l", **dict.fromkeys(names, "r")}, lines)


if __name__ == "__main__":
    main()
