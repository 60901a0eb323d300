"""How well do the measures rank the networks of a table?

Run from a checkout: ``python -m experiments.tau_table --reference vitbench101-pit``. It runs
``asvit correlate`` and prints a Markdown table: Kendall's tau with a 95 % bootstrap interval over
the rows, one column per target. Bold means that a measure beats the best count and the interval of
the difference excludes zero. A stopped run continues when the command is run again. ``--store``
writes the scores that come with the table, also for docs/evidence_measures.md.
"""

from collections.abc import Sequence

from asvit.reference.findings import Finding, winners
from experiments.ranking import ranked, ranking_parser, store_values, tau_cell
from experiments.tables import markdown

MAIN = (
    "length_distortion",
    "extrinsic_curvature",
    "gauss_map_length",
    "ntk_condition_number",
    "feature_condition_number",
)
RIVALS = (
    "synflow",
    "snip",
    "grad_norm",
    "fisher",
    "zico",
    "dss",
    "jacob_cov",
    "naswot",
    "az_expressivity",
    "az_progressivity",
    "az_trainability",
    "grasp",
)


def main() -> None:
    """Run the missing measurements, then print the table."""
    parser = ranking_parser(__doc__, "tau-table")
    parser.add_argument("--target", default="all", help="accuracies, separated by commas")
    parser.add_argument("--proxy", help="measures, separated by commas")
    parser.add_argument("--rivals", action="store_true", help="the measures of others, too")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--data", default="fractal", help="images to measure on")
    parser.add_argument("--store", action="store_true", help="write the table's scores")
    options = parser.parse_args()
    names = options.proxy.split(",") if options.proxy else [*MAIN, *options.rivals * RIVALS]
    label = f"{options.preset}-{options.data}-{options.image_size or 'own'}px"
    targets = options.target.split(",")
    result = ranked(options, label, names, targets, preset=options.preset, data=options.data)
    if options.store:
        store_values(result)
    print(_table(result.correlations, [target.name for target in result.targets]))
    print(f"\n{result.rows} rows; best counts: {_rivals(result.correlations)}")


def _table(findings: Sequence[Finding], targets: Sequence[str]) -> str:
    """The table: counts first, then measures by their mean tau over the targets."""
    cells = {(one.measure, one.target): one for one in findings}
    best = {(one.measure, one.target) for one in winners(findings)}
    measures = dict.fromkeys(one.measure for one in findings)

    def place(measure: str) -> tuple[bool, float]:
        own = [cells[measure, target].tau for target in targets]
        known = [tau for tau in own if tau == tau]
        return not cells[measure, targets[0]].trivial, -sum(known) / max(1, len(known))

    rows = [
        (
            measure.replace("+", " + "),
            *(
                tau_cell(cells[measure, target], bold=(measure, target) in best)
                for target in targets
            ),
        )
        for measure in sorted(measures, key=place)
    ]
    return markdown({"measure": "l", **dict.fromkeys(targets, "r")}, rows)


def _rivals(findings: Sequence[Finding]) -> str:
    """The best count for every target."""
    known = {one.target: one.rival for one in findings if one.rival}
    return ", ".join(f"{rival} for {target}" for target, rival in known.items())


if __name__ == "__main__":
    main()
