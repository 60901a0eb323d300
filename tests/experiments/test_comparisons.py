"""Comparisons run, at their smallest; tables that come with asvit are made."""

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from run_script import Script, read_rows, table_cells
from scipy import stats

import asvit
from asvit.architectures.genotype import Genotype
from asvit.reference import load_reference
from asvit.runs import lifecycle
from asvit.spaces.architectures import build_on_meta
from experiments import (
    compare_designs,
    compare_growths,
    compare_outcomes,
    kinds,
    tau_table,
)
from experiments.kinds import Row as TrainedRow
from experiments.make_reference_tables import SOURCES, make
from proxies.counts import count


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches and growths at their smallest, without reports."""
    least = {"images": 2, "points": 3, "repeats": 1}
    for name, more in (("run_search", {"recheck": 1}), ("run_scaling", {})):
        run = partial(getattr(asvit, name), **least, **more)
        monkeypatch.setattr(asvit, name, run, raising=False)
    monkeypatch.setattr(lifecycle, "write_report", lambda *_: None)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be trained; the accuracies are made up."""
    trained: list[Any] = []

    class Trainer:
        def __init__(self, *_settings: object) -> None: ...

        def __call__(self, training: Any) -> SimpleNamespace:
            trained.append(training)
            return SimpleNamespace(accuracy=50.0 + crc32(repr(training).encode()) % 30)

    monkeypatch.setattr(compare_outcomes, "CandidateTrainer", Trainer)
    return trained


def test_outcomes_are_trained_once_each_and_kept(
    monkeypatch: pytest.MonkeyPatch, script: Script, trained: list[Any]
) -> None:
    def searched(*, controller: str, seed: int, steps: int, **_: Any) -> SimpleNamespace:
        assert steps == 7
        likeliest = SimpleNamespace(
            likeliest=True, architecture=f"8,2,3|4,1,2|4,1,4|4,1,{seed + 2}|32"
        )
        other = SimpleNamespace(
            likeliest=False, architecture=f"5,2,3|4,1,2|4,1,4|4,1,{seed + 2}|32"
        )
        # Seed 0 hands the policy's own on, so that one training serves both kinds.
        best = likeliest if (controller, seed) == ("reinforce", 0) else other
        return SimpleNamespace(seed_architecture=best.architecture, finalists=[likeliest, other])

    monkeypatch.setattr(asvit, "run_search", searched, raising=False)
    monkeypatch.setattr(compare_outcomes, "STEPS", 7)
    line = "--searches 2 --random 2 --table table.csv --trainings"
    script(compare_outcomes.main, f"{line} 1")
    monkeypatch.setattr(asvit, "run_search", None)  # the table has what the searches found
    line = f"{line} 2"
    printed = script(compare_outcomes.main, line).splitlines()
    rows = read_rows("table.csv")
    assert len(rows) == 2 * (3 * 2 + 1 + 2)
    assert {row["architecture"].rpartition(",")[2] for row in rows} == {"16"}
    assert (
        len(trained)
        == len(set(trained))
        == len({(r["architecture"], r["training"]) for r in rows})
    )
    again = script(compare_outcomes.main, line).splitlines()
    assert again == printed[len(rows) // 2 :]
    assert len(trained) == len(set(trained))  # nothing is trained again
    assert script(compare_outcomes.main, f"{line} --print").splitlines() == again


def rows_of(kind: str, *accuracies: tuple[float, ...], text: str = "") -> list[TrainedRow]:
    """A row for each training, by architecture."""
    return [
        TrainedRow(kind, search, text or f"{kind} {search}", training, accuracy)
        for search, own in enumerate(accuracies)
        for training, accuracy in enumerate(own)
    ]


def test_differences_of_outcomes_are_within_pairs_and_seeds() -> None:
    policy, picked = compare_outcomes.POLICY, compare_outcomes.PICKED
    rows = [*rows_of(policy, (50, 50), (70, 70)), *rows_of(picked, (53, 53), (73, 73))]
    difference = kinds.difference(rows, [(picked, policy)], paired=(picked, policy))
    assert difference.value == 3
    assert all(map(math.isnan, difference.interval))  # which equal differences do not tell
    apart = [*rows_of(policy, (50, 50), (70, 70)), *rows_of(picked, (53, 53), (75, 75))]
    difference = kinds.difference(apart, [(picked, policy)], paired=(picked, policy))
    away = stats.t.ppf(0.975, 1)  # of 3 and 5, whose standard error is 1
    assert (difference.value, *difference.interval) == pytest.approx((4, 4 - away, 4 + away))
    random = kinds.RANDOM
    rows += rows_of(random, (50, 50), (70, 70))
    difference = kinds.difference(rows, [(picked, random)])  # of no pairs: Welch's
    away = stats.t.ppf(0.975, 2) * math.sqrt(200)
    assert difference.value == 3
    assert difference.interval == pytest.approx((3 - away, 3 + away))
    both = kinds.difference(rows, [(picked, policy), (random, policy)], paired=(picked, policy))
    assert both.value == 1.5
    noisy = [*rows_of(policy, (50, 60)), *rows_of(picked, (50, 60))]
    difference = kinds.difference(noisy, [(picked, policy)])  # of their trainings
    away = stats.t.ppf(0.975, 2) * math.sqrt(50)
    assert difference.interval == pytest.approx((-away, away))


def test_a_network_that_several_growths_end_in_counts_once() -> None:
    rows = rows_of("grown", *[(87.0, 90.0)] * 3, text="same")
    assert kinds.values_of(rows, "grown") == [87.0, 90.0]
    rows.append(TrainedRow("grown", 3, "other", 0, 80.0))
    assert kinds.values_of(rows, "grown") == [88.5, 80.0]


@pytest.mark.usefixtures("small")
def test_growths_to_one_budget_are_trained(
    monkeypatch: pytest.MonkeyPatch, script: Script, trained: list[Any]
) -> None:
    monkeypatch.setattr(compare_growths, "BUDGET", "600K")
    line = "--growths 1 --random 2 --trainings 1 --table table.csv"
    printed = script(compare_growths.main, line).splitlines()
    rows = read_rows("table.csv")
    assert [row["kind"] for row in rows] == [
        f"{start}, {rule}"
        for start in ("published", "searched")
        for rule in ("grown", "grown at random", "grown at random")
    ]
    for number, (start, _) in enumerate(compare_growths._starts().values()):
        own = [row["architecture"] for row in rows[3 * number : 3 * number + 3]]
        assert own[1] != own[2], "the steps are not random"
        for text in own:
            grown = Genotype.parse(text)
            assert str(grown.with_(depths=(1, 1, 1, 1), width=16)) == start
            params = asvit.cost(text, 32, 20).params
            assert 0.98 * 600_000 <= params <= 600_000
    assert len(trained) == len({row["architecture"] for row in rows})
    assert printed[-1].startswith("| both starts together | ")
    assert script(compare_growths.main, f"{line} --print").splitlines() == printed[len(rows) :]


ROWS = """\
# num_classes: 5
# image_size: 32
# target: first | made up | scratch
# target: second | made up | distilled
architecture,first,second
"4,4,2|2,2,2|2,1,2|2,1,2|16,8",50,10
"5,4,3|2,2,2|2,1,2|2,1,2|16,8",51,11
"6,4,2|3,2,2|2,1,2|2,1,2|16,8",52,12
"7,4,2|2,2,4|3,1,2|2,1,2|16,8",53,13
"8,4,2|2,2,2|2,1,5|4,1,2|16,8",54,14
"8,4,4|3,2,2|4,1,5|4,1,2|16,8",55,15
"""


@pytest.fixture
def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASVIT_CACHE", str(tmp_path / "cache"))
    Path("tiny.csv").write_text(ROWS, encoding="utf-8")


@pytest.mark.usefixtures("_table")
def test_the_table_has_every_measure_and_target(script: Script) -> None:
    line = "--reference tiny.csv --preset quick --proxy naswot,params+naswot"
    first = script(tau_table.main, line)
    lines = table_cells(first)
    assert lines[0] == ["measure", "first", "second"]
    names = [line[0] for line in lines[2:]]
    assert set(names[:5]) == {"params", "macs", "depth", "width", "expansions"}
    assert set(names[5:]) == {"naswot", "params + naswot"}
    assert {line[0]: line[1] for line in lines[2:]}["depth"] == "-"  # the same for all
    assert "6 rows; best counts: " in first
    assert table_cells(script(tau_table.main, line)) == lines  # measures nothing


PIT = SOURCES[0]


def extract(folder, *, change=0.0):
    """Five small networks in the columns of the published extract."""
    accuracies = [target.name for target in PIT.targets]
    lines = [
        "# Facts from somewhere",
        ",".join(["idx,base_dim,mlp_ratio,depth,num_heads,params_M,gmacs", *accuracies]),
    ]
    for number in range(5):
        network = build_on_meta(f"pit:4,{number + 1}|1,1,1|1,2,2", image_size=224, num_classes=100)
        cost = count(network, 224)
        params = f"{cost.params / 1e6 + change * (number == 2):.4f}"
        values = [f"{50 + number / 7 + 1e-9:.14f}"] * len(accuracies)
        row = [f"{number},4,{number + 1},1 1 1,1 2 2,{params},{cost.macs / 1e9:.4f}", *values]
        lines.append(",".join(row))
    (folder / PIT.extract).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_table_is_made_of_an_extract(tmp_path, capsys):
    extract(tmp_path)
    text = make(PIT, tmp_path)
    assert "5 rows" in capsys.readouterr().out
    assert text == make(PIT, tmp_path)
    (tmp_path / "made.csv").write_text(text, encoding="utf-8")
    made = load_reference(tmp_path / "made.csv")
    assert made.architectures[2] == "pit:4,3|1,1,1|1,2,2"
    assert made.params[2] == count(asvit.build(made.architectures[2], 224, 100)).params
    assert made.accuracies["c100_kd_acc"][1] == 50.1429  # rounded
    assert list(made.targets.values()) == list(PIT.targets)
    assert made.provenance["licence"].startswith("Apache-2.0")


def test_the_tables_that_come_with_asvit_say_what_the_script_says():
    for source in SOURCES:
        name = source.table.removesuffix(".csv").replace("_", "-")
        table = load_reference(name)
        assert table.provenance == source.provenance
        assert tuple(table.targets.values()) == source.targets


def test_the_best_drawn_is_judged_by_its_other_trainings() -> None:
    outcomes = rows_of(compare_designs.AT_CAP, (90, 92), (88, 90))
    drawn = rows_of("random", (70, 70, 70), (85, 85, 85), (60, 60, 60))
    mean, apart = compare_designs.than_best_drawn(outcomes + drawn)
    assert (mean, apart.value) == (85.0, 5.0)
    # Each draw is lucky once: by its lucky training it is picked, by the others it is judged.
    drawn = rows_of("random", *[(95, 80, 80)] * 30)
    mean, _ = compare_designs.than_best_drawn(outcomes + drawn)
    assert 80.0 <= mean < 80.5
