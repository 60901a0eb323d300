"""docs/reproduce.md: every table and figure of the four papers, its command, and what came out.

Run from a checkout: ``python -m experiments.reproduce``. What came out is kept in
``experiments/reproduced``, a row for each table or figure, and in the tables of the comparisons.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from asvit.core.files import write_text
from experiments import compare_ablations
from experiments.kinds import Row
from experiments.tables import markdown, read_rows

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reproduce.md"
FOLDER = Path(__file__).with_name("reproduced")
PAPERS = {
    "asvit": "As-ViT ([arXiv:2202.11921](https://arxiv.org/abs/2202.11921))",
    "shiftvit": "ShiftViT ([arXiv:2201.10801](https://arxiv.org/abs/2201.10801))",
    "psvit": "PSViT ([arXiv:2108.03428](https://arxiv.org/abs/2108.03428))",
    "hallucinated": "Hallucinated attention and compact feed-forward networks "
    "([arXiv:2306.10875](https://arxiv.org/abs/2306.10875))",
}

_HEAD = """# The papers' tables and figures

Every table and figure of the four papers, and what came out here. *Not trained* marks what needs
data or hardware that we do not have, *no number* that we know of none. Counts are at 224 px
with 1000 classes, without norms. Tests compare the numbers of commands that take seconds.
"""

_ABLATIONS = """
## Ablations, trained small

Fractals of 100 classes at 32 px, {steps:,} steps, {seeds} seeds, paired: trainings of a seed see
the same batches. Intervals that include zero say nothing. The ShiftViTs have [too small
weights](evidence_designs.md#initial-weights) between stages.

{table}
"""


@dataclass(frozen=True)
class Reproduced:
    """A table or figure of a paper."""

    item: str
    command: str
    here: str  # what came out
    published: str
    difference: str  # why they differ

    @property
    def quick(self) -> bool:
        """Whether the command takes seconds, and prints the numbers."""
        quick = "^asvit (cost|list|correlate)|--print|measure_ranks"
        return re.search(quick, self.command) is not None


def main() -> None:
    """Write the page."""
    write_text(PAGE, page())


def rows_of(paper: str) -> list[Reproduced]:
    """The tables and figures of a paper, a key of :data:`PAPERS`."""
    return read_rows(FOLDER / f"{paper}.csv", Reproduced)


def page() -> str:
    """The page, as Markdown."""
    columns = dict.fromkeys(("table or figure", "command", "here", "published", "why"), "l")
    parts = [_HEAD]
    for paper, title in PAPERS.items():
        lines = [
            (one.item, f"`{one.command}`", one.here, one.published, one.difference)
            for one in rows_of(paper)
        ]
        parts.append(f"\n## {title}\n\n{markdown(columns, lines)}\n")
    trained = read_rows(compare_ablations.TABLE, Row)
    if trained:
        seeds = len({row.training for row in trained})
        parts.append(
            _ABLATIONS.format(
                steps=compare_ablations.STEPS, seeds=seeds, table=compare_ablations.table(trained)
            )
        )
    return "".join(parts)


if __name__ == "__main__":
    main()
