import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import optuna
import pytest
from fake_search import BETTER, conclude, failing, fake_evaluate, make_search

from asvit.core.progress import Progress
from asvit.search import CONTROLLERS, Evaluate, Measurement
from asvit.search.loop import Search
from asvit.search.policy import WindowedReward
from asvit.search.result import Finalist
from asvit.search.rows import best_rows
from asvit.search.sampler import measured_trials
from asvit.search.study import open_journal


def run(search: Search) -> list[Progress]:
    return list(search.run())


def finalists(search: Search, **how: Any) -> Sequence[Finalist]:
    return conclude(search, **how).finalists


def test_events_count_up_and_carry_the_row() -> None:
    search = make_search()
    events = run(search)
    assert [event.done for event in events] == list(range(1, 13))
    assert [event.record for event in events] == search.rows
    assert [row.number for row in search.rows] == list(range(12))
    assert all((event.unit, event.total, event.resumed) == ("step", 12, 0) for event in events)
    assert events[0].seconds <= events[-1].seconds
    assert search.rows[0].entropy == pytest.approx(12 * math.log(3), abs=1e-4)
    best = best_rows(search.rows, BETTER)[0]
    values = f"L^E {best.values['length_distortion']:.4g}, kappa"
    assert f"best {best.architecture} ({values} " in events[-1].state
    assert events[0].state.startswith(f"entropy {search.rows[0].entropy:.2f}  best ")


@pytest.mark.parametrize("controller", sorted({*CONTROLLERS} - {"predictor"}))
def test_rows_hold_what_was_measured_and_the_reward_of_it(controller: str) -> None:
    search = make_search(controller=controller)
    run(search)
    reward = WindowedReward(BETTER)
    for row in search.rows:
        expected = fake_evaluate(row.architecture)
        assert row.values == expected.values
        assert (row.params, row.macs) == (expected.params, expected.macs)
        assert row.reward == reward.update(expected.values)
        assert (row.state, row.reason) == ("complete", "")
        assert math.isnan(row.entropy) == (controller != "reinforce")


@pytest.mark.parametrize(
    ("controller", "batch"),
    [("reinforce", 4), ("random", 4), ("evolution", 4), ("tpe", 1), ("nsga2", 1)],
)
def test_a_search_that_was_interrupted_goes_on_identically(
    controller: str, batch: int, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"controller": controller, "batch": batch, "steps": 70}
    whole = make_search(**settings)
    run(whole)
    journal = open_journal(tmp_path / "study.journal")
    study = optuna.create_study(storage=journal, directions=["maximize", "minimize"])
    for event in make_search(study, **settings).run():
        if event.done in (58, 61):  # inside a batch; its other trials stay in flight
            break
    again = make_search(study, **settings)
    run(again)
    assert repr(again.rows) == repr(whole.rows)  # NaN is not equal to itself
    assert len(measured_trials(study)) == 70


def test_an_architecture_drawn_again_is_not_measured_again() -> None:
    calls: list[str] = []

    def counted(text: str) -> Measurement:
        calls.append(text)
        return fake_evaluate(text)

    search = make_search(evaluate=counted, steps=150)
    run(search)
    drawn = [row.architecture for row in search.rows]
    assert len(set(drawn)) < len(drawn)
    assert sorted(calls) == sorted(set(drawn))


def failing_at(places: Collection[int], names: tuple[str, ...]) -> Evaluate:
    """Measures of which those at these places fail."""
    count = itertools.count()
    return lambda text: failing(names) if next(count) in places else fake_evaluate(text)


def test_a_failure_counts_as_the_worst_so_far_and_the_search_goes_on() -> None:
    search = make_search(evaluate=failing_at([3], ("ntk_condition_number",)))
    events = run(search)
    row = search.rows[3]
    assert row.state == "failed"
    assert row.reason == "ntk_condition_number: the kernel is singular"
    assert math.isnan(row.values["ntk_condition_number"])
    assert [event.state.endswith("  failed 1") for event in events] == [False] * 3 + [True] * 9
    worst = max(row.values["ntk_condition_number"] for row in search.rows[:3])
    trial = search.study.get_trials()[3]
    assert trial.values == [row.values["length_distortion"], worst]
    assert row.reward < 0


def test_failures_alone_end_the_search_with_the_reason_after_ten_or_at_its_end() -> None:
    every = failing_at(range(99), ("ntk_condition_number",))
    search = make_search(evaluate=every, steps=50)
    with pytest.raises(ValueError, match=r"all of the first 10 .* the kernel is singular"):
        run(search)
    assert len(search.rows) == 10
    search = make_search(evaluate=every, steps=3)
    run(search)
    with pytest.raises(ValueError, match=r"all of the first 3 .* the kernel is singular"):
        finalists(search)


def noisy(text: str) -> Measurement:
    """As measured on other networks: what was best is not any more."""
    found = fake_evaluate(text)
    values = {
        name: value + crc32(f"{name} {text}".encode()) % 97 for name, value in found.values.items()
    }
    return replace(found, values=values)


def test_the_finalists_are_the_likeliest_and_the_ten_best_measured_again() -> None:
    search, events = make_search(steps=200), list[Progress]()
    run(search)
    end = conclude(search, events.append, noisy)
    likeliest, *others = end.finalists
    assert [one.likeliest for one in end.finalists] == [True] + [False] * len(others)
    assert likeliest.values["length_distortion"] > search.rows[0].values["length_distortion"]
    best = [row.architecture for row in best_rows(search.rows, BETTER)]
    assert [one.architecture for one in others] == [t for t in best if t != likeliest.architecture]
    drawn = [row.architecture for row in search.rows]
    for one in end.finalists:
        assert one.values == fake_evaluate(one.architecture).values
        assert one.again == noisy(one.architecture).values
        assert one.number == (drawn.index(one.architecture) if one.architecture in drawn else None)
    assert [event.done for event in events] == list(range(1, len(end.finalists) + 1))
    assert {(event.unit, event.total) for event in events} == {("finalist", len(events))}


def test_trials_of_something_else_are_refused() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.tell(study.ask(), [1.0, 2.0])
    with pytest.raises(ValueError, match="trial 0 of the study was not measured"):
        make_search(study)
