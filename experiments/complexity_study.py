"""One figure of the paper's complexity study: measures against trained accuracy.

Run from a checkout: ``python -m experiments.complexity_study --reference asvit-sizes``. It runs
``asvit correlate`` for the measures of the paper and the counts, and writes the figure. A stopped
run continues when the command is given again.
"""

from pathlib import Path

from matplotlib.figure import Figure

from asvit.core.files import write_text
from asvit.reference.result import CorrelationResult
from asvit.report.correlate import PairRow, draw_panel, measure_label, pair_rows
from asvit.report.pictures import Picture
from asvit.report.style import figure, panels
from experiments.ranking import ranked, ranking_parser, tau_cell

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
    """Run the missing measurements, then write the figure."""
    parser = ranking_parser(__doc__, "complexity-study", reference="asvit-sizes")
    parser.add_argument("--target", default="accuracy", help="the accuracy to show")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--figure", type=Path, default=Path("complexity-study.svg"))
    options = parser.parse_args()
    measures, targets = MEASURES[:4], [options.target]
    result = ranked(options, options.preset, measures, targets, preset=options.preset)
    write_text(options.figure, study_picture(result, options.target).svg)
    for finding in result.correlations:
        print(f"{finding.measure}: tau {tau_cell(finding.correlation)}")


def study_picture(result: CorrelationResult, target: str) -> Picture:
    """Accuracy over every measure of :data:`MEASURES`, a panel each, with its τ above."""
    rows = {name: pair_rows(result.values, name) for name in MEASURES}
    taus = {
        one.measure: one.correlation.tau for one in result.correlations if one.target == target
    }

    def draw() -> Figure:
        lines = -(-len(MEASURES) // COLUMNS)
        made = figure(width=9.6, height=0.3 + 3.1 * lines)
        for axes, name in zip(panels(made, len(MEASURES), columns=COLUMNS), MEASURES, strict=True):
            shown = [row for row in rows[name] if row.target == target]
            axes.set_title(f"τ {taus[name]:.2f}")
            draw_panel(axes, shown)
            axes.set_xlabel(measure_label(name))
        return made

    every = [row for name in MEASURES for row in rows[name]]
    return Picture("complexity-study", "Complexity study", "", draw, (every, PairRow))


if __name__ == "__main__":
    main()
