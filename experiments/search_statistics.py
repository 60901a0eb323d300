"""What several searches have in common: the mean of every choice over what they ended in.

Run from a checkout: ``python -m experiments.search_statistics``. The searches are the five of
``experiments.compare_outcomes``.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asvit.spaces import load_space
from experiments.compare_outcomes import PICKED, POLICY, TABLE
from experiments.kinds import Row, architectures
from experiments.tables import markdown, read_rows
from experiments.tasks import SEED


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = read_rows(TABLE, Row)
    kinds = {kind: [text for _, text, _ in architectures(rows, kind)] for kind in (POLICY, PICKED)}
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
        means, apart = values.mean(axis=0), values.std(axis=0, ddof=1)
        cells = (f"{mean:.1f} ± {std:.1f}" for mean, std in zip(means, apart, strict=True))
        lines.append((f"{kind} ({len(texts)})", *cells))
    lines.append(("the paper's seed", *choices(SEED)))
    return markdown({"architectures": "l", **dict.fromkeys(names, "r")}, lines)


if __name__ == "__main__":
    main()
