"""Estimates of searches: what follows from the times of a few architectures."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

import asvit.runs.estimate as module
from asvit.executors import Workers
from asvit.runs.estimate import estimate_search, fresh_draws, speed_of
from asvit.runs.measurement_pool import Measured, MeasurementJob, MeasurementPool, failed
from asvit.runs.search import SearchRun
from asvit.search import SearchSettings
from asvit.spaces import load_space

SMALL = {"space": "asvit-tiny", "image_size": 32, "images": 2, "points": 3}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], float]]:
    """A clock that only measuring moves: 2 s and then 4 s, in turn, for one network, more for all.

    The architecture that warms up takes the first 2 s, and is not counted.
    """
    now = [0.0]
    turns = itertools.cycle([2.0, 4.0])
    first: dict[str, float] = {}

    def measure(
        self: MeasurementPool, jobs: Sequence[MeasurementJob]
    ) -> Iterator[tuple[int, Measured]]:
        ((number, job),) = enumerate(jobs)
        seconds = first.setdefault(job.key, next(turns) if job.key not in first else 0.0)
        now[0] += seconds * (1 + 0.5 * (job.other.get("repeats", self._repeats) - 1))
        yield number, Measured({})

    monkeypatch.setattr(MeasurementPool, "measure", measure)
    monkeypatch.setattr(
        module, "fresh_draws", lambda _space, settings, done: [settings.steps - done]
    )
    return lambda: now[0]


def test_it_is_the_mean_of_samples_times_what_is_left(clock: Callable[[], float]) -> None:
    settings = SearchSettings.make(**SMALL, steps=100, repeats=3, recheck=6, device="cpu")
    found = estimate_search(settings, Workers(jobs=1), 4, done=20, seconds=0.0, clock=clock)
    assert [sample.seconds for sample in found.samples] == [4.0, 2.0, 4.0, 2.0]
    assert found.growth == pytest.approx(2.0)  # two more networks at half the time each
    assert (found.steps, found.architectures) == (80, 80)
    measured = 80 + 11 * 2  # eleven finalists again, on twice as many networks
    assert found.seconds == pytest.approx(measured * 3 * 2)
    deviation = 2 * math.sqrt(4 / 3)  # of 8, 4, 8, 4
    half = t.ppf(0.975, 3) * deviation * math.sqrt(1 / 4 + 1 / 80)
    assert found.low == pytest.approx(max(0, measured * (6 - half)))
    assert found.high == pytest.approx(measured * (6 + half))


def test_more_are_measured_while_there_is_time(clock: Callable[[], float]) -> None:
    settings = SearchSettings.make(**SMALL, steps=100, repeats=1)
    assert len(estimate_search(settings, None, 4, seconds=30.0, clock=clock).samples) == 10  # 30 s
    few = SearchSettings.make(**SMALL, steps=7, repeats=1)
    assert len(estimate_search(few, None, 4, seconds=30.0, clock=clock).samples) == 7


def test_workers_share_out_the_networks(
    clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)
    settings = SearchSettings.make(**SMALL, steps=100, repeats=3, device="cpu")
    alone = estimate_search(settings, Workers(jobs=1), 4, seconds=0.0, clock=clock)
    shared = estimate_search(settings, Workers(jobs=3), 4, seconds=0.0, clock=clock)
    assert (alone.jobs, shared.jobs) == (1, 3)
    assert shared.speed == 3
    assert shared.seconds == pytest.approx(alone.seconds / 3, rel=0.01)


def test_the_network_that_is_left_is_shared_by_measures(
    clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)
    settings = SearchSettings.make(**SMALL, steps=100, repeats=3, device="cpu")
    found = estimate_search(settings, Workers(jobs=2), 4, seconds=0.0, clock=clock)
    assert found.speed == pytest.approx(3 / 1.5)  # on this clock, both measures take equally long


def test_nothing_is_measured_for_a_finished_run(clock: Callable[[], float]) -> None:
    settings = SearchSettings.make(**SMALL, steps=20)
    found = estimate_search(settings, done=20, clock=clock)
    assert (found.steps, found.seconds, found.low, found.high, found.samples) == (0, 0, 0, 0, ())
    assert clock() == 0


def test_too_few_for_an_interval_are_refused() -> None:
    with pytest.raises(ValueError, match="candidates=1; an interval needs at least 2"):
        estimate_search(SearchSettings.make(**SMALL), None, 1)


def test_failures_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Measured(failed(("length_distortion",), "it failed"))
    monkeypatch.setattr(MeasurementPool, "measure", lambda _self, _jobs: iter([(0, found)]))
    estimate = estimate_search(SearchSettings.make(**SMALL, steps=6, repeats=2), seconds=0.0)
    assert estimate.failures == 6  # without the one that warms up


@pytest.mark.parametrize(
    ("jobs", "tasks", "device", "speed"),
    [
        (1, 5, "cpu", 1.0),
        (2, 5, "cpu", 5 / 3),  # 3 turns, the last with one worker
        (5, 5, "cpu", 5.0),
        (64, 5, "cpu", 5.0),
        (64, 80, "cpu", 8.0),  # no more than the 8 cores
        (64, 80, "cuda", 40.0),
    ],
)
def test_the_speed_of_workers(
    monkeypatch: pytest.MonkeyPatch, jobs: int, tasks: int, device: str, speed: float
) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)
    assert speed_of(jobs, tasks, device) == pytest.approx(speed)


def test_tasks_that_are_left_are_shared_by_measures() -> None:
    assert speed_of(2, 5, "cuda", [0.25, 0.75]) == pytest.approx(5 / 2.75)
    assert speed_of(2, 4, "cuda", [0.25, 0.75]) == 2
    assert speed_of(8, 5, "cuda", [0.5, 0.5]) == pytest.approx(5)  # ten halves on eight workers
    assert speed_of(1, 5, "cuda", [1.0]) == 1


@given(st.integers(1, 200), st.integers(1, 200))
def test_workers_are_never_faster_than_their_number(jobs: int, tasks: int) -> None:
    assert 1 <= speed_of(jobs, tasks, "cuda") <= jobs


def test_simulating_a_controller_that_never_learns_follows_chance() -> None:
    """Of 200 uniform draws from the 1,152 of the space, 183.3 differ on average."""
    space = load_space("asvit-tiny")
    settings = SearchSettings.make(**SMALL, controller="random", steps=200)
    expected = space.size * (1 - (1 - 1 / space.size) ** 200)
    for fresh in fresh_draws(space, settings, seconds=60):
        assert fresh == pytest.approx(expected, abs=15)  # more than 3 standard deviations


def test_simulations_count_what_is_new_after_the_steps_that_are_done() -> None:
    space = load_space("asvit-tiny")
    settings = SearchSettings.make(**SMALL, controller="evolution", steps=80)
    whole = fresh_draws(space, settings, seconds=60)
    rest = fresh_draws(space, settings, done=50, seconds=60)
    assert all(0 < later < all_of_it <= 80 for later, all_of_it in zip(rest, whole, strict=True))
    assert fresh_draws(space, settings, seconds=60) == whole


def test_a_simulation_that_is_cut_short_is_extrapolated() -> None:
    space = load_space("asvit-tiny")
    settings = SearchSettings.make(**SMALL, steps=10**9)
    for fresh in fresh_draws(space, settings, seconds=0):  # 20 draws each
        assert 0.5 * 10**9 < fresh <= 10**9


def test_a_folder_without_a_run_has_nothing_done(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert SearchRun.make(out=folder).steps_done() == 0
    assert not list(tmp_path.iterdir())
