"""Comparisons run, at their smallest; tables that come with asvit are made."""

import math
from dataclasses import replace
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
from asvit.reference import load_reference, stored
from asvit.reference.result import CorrelationResult
from asvit.runs import lifecycle
from asvit.spaces.architectures import build_on_meta
from asvit.training.short_settings import SupernetSettings
from experiments import (
    compare_ablations,
    compare_designs,
    compare_growths,
    compare_outcomes,
    compare_psvit,
    compare_rules,
    kinds,
    study_fidelity,
    study_measures,
    tau_table,
)
from experiments.kinds import Row as TrainedRow
from experiments.make_reference_tables import SOURCES, make
from experiments.tables import markdown, write_rows
from experiments.tasks import PICTURES, TASKS
from proxies import PROXIES
from proxies.counts import count
from scaling.shapes import RULES


@pytest.mark.nightly
def test_paths_are_trained_at_the_largest_width_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def searched(*, space: str, seed: int, **settings: Any) -> SimpleNamespace:
        assert (space, seed, settings["data"], settings["image_size"]) == (
            *("psvit2d", 0, "fractal:3", 32),
        )
        return SimpleNamespace(seed_architecture="psvit2d:b-----|s-----|b-----")

    images = {"classes": 3, "train_images": 24, "validation_images": 9, "test_images": 9}
    training = {**images, "image_size": 32, "width": 12, "epochs": 1, "batch_size": 12}
    steps = {"generations": 1, "keep": 1, "crossovers": 0, "mutations": 0, "random_paths": 1}
    monkeypatch.setattr(compare_psvit, "TRAINING", {**training, "device": "cpu"})
    monkeypatch.setattr(compare_psvit, "EVOLUTION", {**steps, "population": 3, "device": "cpu"})
    monkeypatch.setattr(asvit, "run_search", searched, raising=False)  # tested elsewhere
    every = [case for case in compare_psvit.STUDY.cases if case["seed"] == 0]
    few = replace(compare_psvit.STUDY, table=Path("table.csv"), cases=every)
    monkeypatch.setattr(compare_psvit, "STUDY", few)
    rows = few.run()
    limit = compare_psvit.outcomes(0)[1]
    compare_psvit.outcomes.cache_clear()
    assert [row.origin for row in rows] == [*compare_psvit.ORIGINS]
    assert all(0.8 * limit < row.macs <= limit for row in rows)
    assert len(compare_psvit.table().splitlines()) == 2 + len(compare_psvit.PAIRS)


def test_what_does_not_fit_at_any_width_is_refused() -> None:
    settings = SupernetSettings.make(image_size=32)
    with pytest.raises(ValueError, match="multiply-adds, more than the 10 allowed"):
        compare_psvit.at_limit("psvit2d:b-----|------|------", settings, 10, 10)


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


@pytest.mark.usefixtures("small")
def test_finalists_are_measured_once_more(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    monkeypatch.setattr(compare_outcomes, "STEPS", 3)
    write_rows(
        Path("table.csv"),
        [TrainedRow(k, n, "x", 0, 50.0 + n) for k in compare_outcomes.KINDS for n in (0, 1)],
    )
    line = "--print --finalists --searches 1 --networks 1 --table table.csv"
    printed = script(compare_outcomes.main, line).splitlines()
    for kind, text in zip(
        ("policy's likeliest", "best measured", "measured again"), printed[-3:], strict=True
    ):
        assert text.startswith(f"| 0 | {kind} | `")
    assert all(float(value) > 0 for line in printed[-3:] for value in line[:-2].split(" | ")[3:])


@pytest.mark.parametrize(
    "module",
    [compare_ablations, compare_designs, compare_growths, compare_outcomes, compare_rules],
)
def test_a_table_without_rows_is_not_printed(script: Script, module: Any) -> None:
    with pytest.raises(SystemExit, match=r"other\.csv has no rows; without --print they are comp"):
        script(module.main, "--print --table other.csv")


@pytest.mark.parametrize(
    ("module", "kind"),
    [(compare_growths, "published, grown"), (compare_outcomes, compare_outcomes.POLICY)],
)
def test_a_table_of_a_comparison_that_was_stopped_is_printed(
    script: Script, module: Any, kind: str
) -> None:
    write_rows(Path("table.csv"), [TrainedRow(kind, 0, compare_outcomes.SEED, 0, 51.0)])
    printed = script(module.main, "--print --table table.csv")
    assert f"| {kind} | 0 | `8,2,3" in printed
    assert " than " not in printed


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


@pytest.mark.nightly
@pytest.mark.usefixtures("small")
def test_rules_and_growth_to_one_budget_are_trained(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    taught: list[Any] = []

    def train(_pictures: str, text: str, seed: int) -> float:
        taught.append((text, seed))
        return 50 + crc32(f"{text} {seed}".encode()) % 997 / 100

    monkeypatch.setattr(compare_designs, "train", train)
    line = "--growths 2 --trainings 1 --budget 700K --table table.csv"
    printed = script(compare_rules.main, line).splitlines()
    rows = read_rows("table.csv")
    kinds = [compare_rules.GROWN] * 2 + [compare_rules.AT_RANDOM] * 3
    assert [row["kind"] for row in rows] == [*kinds, *RULES]
    for row in rows:
        params = asvit.cost(row["architecture"], 32, compare_rules.CLASSES).params
        assert 0.9 * 700_000 <= params <= 700_000
    assert len(taught) == len({row["architecture"] for row in rows})
    assert any(line.startswith("| grown than compound | ") for line in printed)
    assert script(compare_rules.main, f"{line} --print").splitlines() == printed[len(rows) :]


def test_bars_in_a_cell_do_not_end_it() -> None:
    assert (
        markdown({"a": "l", "b": "r"}, [("x|y", 1)]) == "| a | b |\n| --- | --: |\n| x\\|y | 1 |"
    )


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


@pytest.mark.usefixtures("_table")
def test_the_values_of_a_table_are_stored(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    Path("measured").mkdir()
    monkeypatch.setattr(stored, "FOLDER", Path("measured"))
    script(tau_table.main, "--reference tiny.csv --preset quick --proxy naswot --store")
    (folder,) = Path("runs/tau-table/tiny").iterdir()
    measures = CorrelationResult.read(folder).values.measures
    found, how = stored.stored_values(load_reference("tiny.csv"))
    assert how == "32 px, 1 network each"
    assert {"params", "naswot"} < found.keys() == measures.keys()
    for name, values in found.items():
        assert values == pytest.approx(measures[name], rel=1e-5, nan_ok=True)


@pytest.mark.nightly
@pytest.mark.usefixtures("_table")
def test_a_study_has_a_row_for_every_variant(script: Script) -> None:
    lines = table_cells(script(study_measures.main, "--reference tiny.csv --repeats 1"))
    assert lines[0] == ["", "τ, first", "minus best count, first"]  # from scratch only
    labels = [line[0] for line in lines[2:]]
    assert len(labels) == len(set(labels))
    assert {variant.label for variant in study_measures.VARIANTS} < set(labels)
    for label in ("parameters", "L^E, all tokens", "L^E, radius 1"):
        assert label in labels
    assert study_measures.TOKENS.name not in PROXIES  # nothing is left behind


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


def test_counts_that_differ_from_the_extract_s_are_refused(tmp_path):
    extract(tmp_path, change=2e-4)
    with pytest.raises(ValueError, match=r"line 5: \d+ parameters, the extract has 0\.\d+ M"):
        make(PIT, tmp_path)


def test_the_tables_that_come_with_asvit_say_what_the_script_says():
    for source in SOURCES:
        name = source.table.removesuffix(".csv").replace("_", "-")
        table = load_reference(name)
        assert table.provenance == source.provenance
        assert tuple(table.targets.values()) == source.targets


@pytest.mark.nightly
def test_designs_are_compared_below_one_cap(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    search = asvit.run_search

    def small(**settings: Any) -> Any:
        quick = {"training_steps": 1} if "trainings" in settings else {"steps": 3}
        return search(**{**settings, **quick}, device="cpu")

    monkeypatch.setattr(asvit, "run_search", small, raising=False)
    monkeypatch.setattr(lifecycle, "write_report", lambda *_: None)
    monkeypatch.setattr(compare_designs, "TRAININGS", 5)
    monkeypatch.setattr(compare_designs, "STEPS", 2)
    few = replace(TASKS["digits"], train=300, test=100)
    loaded = few, few.load(PICTURES / "digits")
    monkeypatch.setattr(compare_designs, "load_task", lambda _name: loaded)
    line = "--data digits --searches 1 --random 1 --trainings 1 --table table.csv --out out"
    printed = script(compare_designs.main, line)
    rows = read_rows("table.csv")
    kinds = ["predictor", "best of as many random", "by measures", "random"]
    at_cap = ["predictor at the cap", "best of as many random at the cap"]
    assert [row["kind"] for row in rows] == [*kinds, *at_cap, *compare_designs.BY_HAND]
    for row in rows:
        text = row["architecture"]
        macs = compare_designs._size(text).macs
        assert macs <= compare_designs.CAP
        if text not in compare_designs.BY_HAND:
            wider = Genotype.parse(text)
            assert (
                asvit.cost(wider.with_(width=wider.width + 1), 32, 40).macs > compare_designs.CAP
            )
    assert f"| predictor than {kinds[1]} | " in printed
    assert printed.endswith(script(compare_designs.main, f"{line} --print"))
    script(compare_designs.main, f"{line} --kinds random --table other.csv")
    assert [row["kind"] for row in read_rows("other.csv")] == ["random"]
    with pytest.raises(SystemExit, match=r"unknown kind 'randon'; .*'random'"):
        script(compare_designs.main, f"{line} --kinds randon --table third.csv")
    assert not Path("third.csv").exists()


def test_the_best_drawn_is_judged_by_its_other_trainings() -> None:
    outcomes = rows_of(compare_designs.AT_CAP, (90, 92), (88, 90))
    drawn = rows_of("random", (70, 70, 70), (85, 85, 85), (60, 60, 60))
    mean, apart = compare_designs.than_best_drawn(outcomes + drawn)
    assert (mean, apart.value) == (85.0, 5.0)
    # Each draw is lucky once: by its lucky training it is picked, by the others it is judged.
    drawn = rows_of("random", *[(95, 80, 80)] * 30)
    mean, _ = compare_designs.than_best_drawn(outcomes + drawn)
    assert 80.0 <= mean < 80.5


def test_the_cap_holds_for_the_whole_space() -> None:
    largest = "8,2,6|4,1,6|4,1,6|4,1,6|64,16"
    assert asvit.cost(largest, 32, compare_designs.CLASSES).macs <= compare_designs.CAP


def test_a_swin_without_positions_never_learns_them() -> None:
    network = compare_designs.BY_HAND["Swin-like without position bias"](3)
    biases = [p for n, p in network.named_parameters() if n.endswith("position_bias_table")]
    assert len(biases) == 4
    assert not any(one.requires_grad or one.any() for one in biases)


def test_seconds_of_a_short_training_are_those_of_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]

    def passes(seconds: float) -> SimpleNamespace:
        clock[0] += seconds
        return SimpleNamespace(accuracy=50.0)

    def trainer(_data: str, _fidelity: str) -> Any:
        passes(100)  # pictures are loaded
        return lambda _training: passes(7)

    monkeypatch.setattr(study_fidelity, "_trainer", trainer)
    monkeypatch.setattr(study_fidelity, "time", SimpleNamespace(process_time=lambda: clock[0]))
    row = study_fidelity.train("digits", "350 steps", "4,2,3|4,1,2|4,1,4|4,1,6|32,16", 0)
    assert row == {"accuracy": 50.0, "seconds": 7.0}


def test_short_trainings_are_ranked_with_longer_ones(
    monkeypatch: pytest.MonkeyPatch, script: Script, tmp_path: Path
) -> None:
    drawn = (4, 18), (5, 18), (6, 19), (7, 18), (8, 17)
    draws = [f"{k},2,3|4,1,2|4,1,4|4,1,6|32,{width}" for k, width in drawn]
    long = [TrainedRow("random", n, text, 0, 10.0 * n) for n, text in enumerate(draws)]
    short = [
        study_fidelity.Row(
            "digits", "350 steps", text.rpartition(",")[0] + ",16", 0, accuracy, 5.0
        )
        for text, accuracy in zip(draws, (3.0, 1.0, 4.0, 2.0, 9.0), strict=True)
    ]
    monkeypatch.setattr(compare_designs, "table_of", lambda _data: tmp_path / "long.csv")
    monkeypatch.setattr(study_fidelity, "TABLE", tmp_path / "short.csv")
    write_rows(tmp_path / "long.csv", long)
    write_rows(tmp_path / "short.csv", short)
    printed = script(study_fidelity.main, "--print")
    (line,) = (line for line in printed.splitlines() if line.startswith("| 350 steps | "))
    assert line.startswith("| 350 steps | 5 | 5 | 3.8 ± 3.1 | 0.40 (")
