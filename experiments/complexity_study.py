"""One figure of the paper's complexity study: measures and counts against trained accuracy.

Run from a checkout: ``python -m experiments.complexity_study --figure
docs/images/complexity-study.svg`` draws it from the stored measures of the table asvit-sizes.
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from asvit.core.files import write_text
from asvit.reference import load_reference
from asvit.reference.result import Values
from asvit.reference.stored import stored_values
from asvit.report.correlate import (
    PairRow,
    draw_panel,
    measure_label,
    pair_rows,
)
from asvit.report.pictures import Picture
from asvit.report.style import figure, panels
from experiments.measure_ranks import ranks_of

TABLE, TARGET = "asvit-sizes", "accuracy"
MEASURES = (
    "length_distortion",
    "extrinsic_curvature",
    "gauss_map_length",
    "ntk_condition_number",
    "params",
    "macs",
)
COLUMNS = 3


def main() -> None:
    """Print Kendall's taus, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="file to draw, such as study.svg")
    options = parser.parse_args()
    ranks = ranks_of(TABLE)
    titles = {name: f"τ {ranks[name].tau:.2f}".replace("-", "−") for name in MEASURES}
    if options.figure:
        write_text(options.figure, picture(titles).svg)
    print(", ".join(f"{name} {title}" for name, title in titles.items()))


def picture(titles: Mapping[str, str]) -> Picture:
    """Accuracy over each measure, a panel each."""
    table = load_reference(TABLE)
    values = {name: tuple(map(float, column)) for name, column in stored_values(table)[0].items()}
    known = Values(
        architectures=tuple(table.architectures),
        accuracies={TARGET: tuple(table.accuracies[TARGET])},
        measures=values,
    )
    rows = {name: pair_rows(known, name) for name in titles}

    def draw() -> Figure:
        whole = figure(width=9.6, height=0.3 + 3.1 * math.ceil(len(rows) / COLUMNS))
        for axes, name in zip(panels(whole, len(rows), columns=COLUMNS), rows, strict=True):
            axes.set_title(titles[name])
            draw_panel(axes, rows[name])
            axes.set_xlabel(measure_label(name))
        return whole

    every = [row for own in rows.values() for row in own]
    return Picture("complexity-study", "Complexity study", "", draw, (every, PairRow))


if __name__ == "__main__":
    main()
