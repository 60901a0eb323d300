"""Searches within limits: whatever the space and controller, nothing outside is ever measured."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asvit.measuring.latency import Latency
from asvit.runs import reporting
from asvit.runs.algorithms import measuring as algorithm
from asvit.runs.search import SEARCH, run_search
from asvit.search import CONTROLLERS, Measurement, read_trials
from asvit.search.result import SearchResult
from asvit.spaces import cost, load_space
from tests.asvit.search.ridge import quick_predictor

LIMIT_MS = 6.0
WITHOUT_TRAININGS = [name for name in CONTROLLERS if name != "predictor"]


def fake_time(text: str) -> float:
    return 1.0 + crc32(text.encode()) % 1000 / 100  # half of them above the limit


@pytest.fixture(autouse=True)
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def time(text: str, *, image_size: int, batch: int, **_: object) -> Latency:
        found.append(text)
        return Latency(fake_time(text), 0.1, 1.0, 10, 1.0, "fake", 1, "eager", batch, image_size)

    def again(text: str, **options: Any) -> Latency:
        took = time(text, **options)
        found[-1] += " again"
        return took

    monkeypatch.setattr(algorithm, "latency", time)
    monkeypatch.setattr(algorithm, "fresh_latency", again)
    monkeypatch.setattr(reporting, "write_report", lambda *_: None)
    quick_predictor(monkeypatch.setattr)
    return found


class Evaluate:
    """Stands in for measures and trainings; keeps what it was asked for."""

    def __init__(self, side: int, classes: int) -> None:
        self.texts: list[str] = []
        self._sizes = side, classes

    def __call__(self, text: str) -> Measurement:
        self.texts.append(text)
        drawn = crc32(text.encode())
        size = cost(text, *self._sizes)
        names = ("length_distortion", "ntk_condition_number", "accuracy")
        values = {name: 1.0 + drawn % (97 + place) for place, name in enumerate(names)}
        return Measurement(size.params, size.macs, values, {})


def search(out: Path, **given: Any) -> tuple[SearchResult, list[str]]:
    trains = given.get("controller") == "predictor" or "trainings" in given
    sizes = {"classes": 5} if trains else {}
    evaluate = Evaluate(32, 5 if trains else 1000)
    usual = {"space": "asvit-tiny", "image_size": 32, "out": out, "evaluate": evaluate}
    result = run_search(**{**usual, **sizes, **given})
    return result, evaluate.texts


def check(result: SearchResult, measured: list[str], out: Path) -> None:
    s = result.settings
    texts = {row.architecture for row in read_trials(out / "trials.csv")}
    reported = {one.architecture for one in (*result.finalists, *result.front)}
    for text in (texts | reported | {*measured}) - {""}:
        size = cost(text, s.image_size, s.classes)
        assert size.params <= (s.max_params or size.params), text
        assert size.macs <= (s.max_macs or size.macs), text
    for one in result.finalists:
        if s.max_latency is not None:
            assert one.latency.milliseconds <= s.max_latency


@given(
    st.sampled_from([*CONTROLLERS]),
    st.booleans(),
    st.none() | st.integers(20_000, 200_000),
    st.none() | st.integers(200_000, 2_000_000),
    st.sampled_from([None, f"{LIMIT_MS}ms"]),
    st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_nothing_outside_is_measured_or_reported(
    controller: str,
    trains: bool,
    params: int | None,
    macs: int | None,
    latency: str | None,
    seed: int,
) -> None:
    trains = trains or controller == "predictor"
    many: dict[str, Any] = {"trainings": 14} if trains else {"steps": 14}
    classes = 5 if trains else 1000
    narrow = load_space("asvit-tiny").parse("4,4,2|2,2,2|2,1,2|2,1,2|16,2")
    smallest = cost(narrow, 32, classes)
    params = None if params is None else params + smallest.params
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        limits = {"max_params": params, "max_macs": macs, "max_latency": latency}
        result, texts = search(out, controller=controller, seed=seed, **limits, **many)
        assert result.steps + result.retrainings == 14
        check(result, texts, out)


@pytest.mark.parametrize("controller", WITHOUT_TRAININGS)
def test_a_search_goes_on_as_if_never_stopped_and_times_nothing_twice(
    controller: str, tmp_path: Path, timed: list[str]
) -> None:
    given = {"controller": controller, "max_latency": LIMIT_MS}
    whole, _ = search(tmp_path / "whole", steps=20, **given)
    alone = [*timed]
    timed.clear()
    search(tmp_path / "parts", steps=7, **given)
    parts, _ = search(tmp_path / "parts", steps=20, **given)
    assert len(timed) == len({*timed})
    assert {*alone} <= {*timed}  # and the likeliest of seven
    tables = [(tmp_path / name / "trials.csv").read_text() for name in ("whole", "parts")]
    assert tables[0] == tables[1]
    assert whole.seed_architecture == parts.seed_architecture
    assert whole.latency == parts.latency
    assert whole.latency is not None


def test_what_cannot_be_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parameters, more than the 12 allowed"):
        search(tmp_path / "run", max_params=12)
    assert not (tmp_path / "run").exists()


def test_a_time_that_nothing_keeps_ends_the_search_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = algorithm.latency
    monkeypatch.setattr(
        algorithm, "latency", lambda *one, **more: replace(time(*one, **more), milliseconds=1.5)
    )
    with pytest.raises(ValueError, match=r"the nearest one: 1\.5 ms, more than 95% of the 1 ms"):
        search(tmp_path / "run", max_latency="1ms")


@pytest.mark.parametrize("many", [{"steps": 14}, {"controller": "predictor", "trainings": 14}])
def test_finalists_are_timed_again_and_slow_ones_not_handed_on(
    many: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = search(tmp_path / "once", max_latency=LIMIT_MS, **many)[0]
    slow = {once.seed_architecture}
    again = algorithm.fresh_latency

    def slower(text: str, **options: Any) -> Latency:
        found, late = again(text, **options), any(map(text.startswith, slow))
        return replace(found, milliseconds=LIMIT_MS + 0.5, busy=1.5) if late else found

    monkeypatch.setattr(algorithm, "fresh_latency", slower)
    other = search(tmp_path / "other", max_latency=LIMIT_MS, **many)[0]
    assert other.seed_architecture not in slow
    assert other.latency.milliseconds <= 0.95 * LIMIT_MS
    assert slow <= {one.architecture for one in other.finalists}
    slow |= {""}  # all of them
    none = search(tmp_path / "none", max_latency=LIMIT_MS, **many)[0]
    assert none.seed_architecture == once.seed_architecture
    told = [str(line) for line in SEARCH.summary(none)]
    assert any("process of its own, it takes 6.5 ms, more than the 6 ms" in line for line in told)
    assert any("the machine was busy: a network" in line for line in told)
