"""The figures of a scaling and the rows beside them."""

import csv
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.runs.reporting import write_report
from asvit.runs.scaling import SCALE
from scaling import Row

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"


def row(step: int, depths: Sequence[int], width: int, **changes: object) -> Row:
    params = 10_000 * width * sum(depths)
    return replace(
        Row(
            step=step,
            kind="grow" if step else "start",
            architecture=f"net {','.join(map(str, depths))} <{width}>",
            depths=tuple(depths),
            width=width,
            measured_width=width // 4,
            params=params,
            macs=100 * params,
            values={"length_distortion": 0.1 * width, "ntk_condition_number": 50.0 / sum(depths)},
            rank_sum=None if step == 0 else 3,
            chosen=True,
            reason="",
        ),
        **changes,
    )


START = row(0, (1, 1, 1, 1), 32)
FIRST = row(1, (2, 1, 1, 1), 34)
LAST = row(2, (2, 1, 1, 1), 37, kind="land")
FAILED = row(
    1, (1, 1, 2, 1), 38, chosen=False, reason="ntk_condition_number: it is <singular>",
    values={"length_distortion": 4.0, "ntk_condition_number": math.nan},
)  # fmt: skip
SERIES = [START, FIRST, LAST]
CANDIDATES = [START, FIRST, row(1, (1, 1, 1, 2), 34, chosen=False), FAILED, LAST]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ScaleResult:
    """A finished scaling with its report, in a folder without any other file."""
    found = ScaleResult(
        folder=tmp_path_factory.mktemp("scaling"),
        settings=ScaleSettings(SEED, budgets="3M,5M"),
        space="asvit",
        series=SERIES,
        candidates=CANDIDATES,
        reason="nothing larger fits",
        wall_seconds=9.0,
        provenance={
            "seed_run": None,
            "images": {},
            "device": "cpu",
            "versions": {},
            "command": "",
        },
    )
    found.write()
    write_report(SCALE, found.folder)
    return ScaleResult.read(found.folder / "result.json")


def test_a_result_gives_its_trajectory(result: ScaleResult) -> None:
    figure = result.folder / "growth.svg"
    assert result.plot("growth").svg == figure.read_text(encoding="utf-8")


def test_the_rows_beside_the_figures(result: ScaleResult) -> None:
    found = {
        name: list(csv.DictReader((result.folder / f"{name}.csv").read_text().splitlines()))
        for name in ("growth", "sizes", "measures", "clouds")
    }
    assert [(r["step"], r["stage"], r["depth"]) for r in found["growth"]][:5] == [
        ("0", "1", "1"), ("0", "2", "1"), ("0", "3", "1"), ("0", "4", "1"), ("1", "1", "2"),
    ]  # fmt: skip
    assert [int(r["params"]) for r in found["sizes"]] == [r.params for r in SERIES]
    assert len(found["measures"]) == 2 * len(CANDIDATES)
    # The start has no cloud, a failure no place in one; the last step only grew in width.
    assert [(r["step"], r["stage"], r["chosen"]) for r in found["clouds"]] == [
        ("1", "1", "True"), ("1", "4", "False"), ("2", "0", "True"),
    ]  # fmt: skip


def test_failed_candidates_have_their_reason(result: ScaleResult) -> None:
    candidates = list(SCALE.details(result))[-1]
    assert [row[-1] for row in candidates.rows] == ["", "", FAILED.reason, ""]
    assert [row[-2] for row in candidates.rows] == ["chosen", "", "", "chosen"]
