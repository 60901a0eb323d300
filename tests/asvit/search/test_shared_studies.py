"""Several processes that measure for one study in a database."""

import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import optuna
import postgres
import pytest
from fake_search import FakeSpace, fake_evaluate, make_search
from optuna.trial import TrialState

from asvit.runs import lifecycle
from asvit.runs.search import run_search
from asvit.search import Measurement, study
from asvit.search.sampler import UNIFORM, SpaceSampler, distributions
from asvit.search.study import StudyLease, open_url
from tests.campaigns import forked

SETTINGS = {"space": "asvit-tiny", "steps": 16, "image_size": 32}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not postgres.programs():
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with tempfile.TemporaryDirectory() as folder, postgres.server(Path(folder) / "pg") as found:
        yield found


_started: list[BaseProcess] = []


@pytest.fixture(autouse=True)
def _nobody_left() -> Iterator[None]:
    yield
    while _started:
        process = _started.pop()
        process.kill()
        process.join()


def search(folder: Path, url: str, pace: float, settings: dict[str, Any]) -> None:
    """Search with short times, and write down what is measured."""
    study.BEAT_SECONDS, study.GONE_SECONDS, study.POLL_SECONDS = 1, 3, 0.1
    lifecycle.write_report = lambda *_: None

    def evaluate(text: str) -> Measurement:
        with (folder.parent / "log").open("a") as file:
            file.write(text + "\n")
        time.sleep(pace)
        value = float(sum(map(ord, text)))
        values = {"length_distortion": value, "ntk_condition_number": 2 * value}
        return Measurement(1, 1, values, {})

    run_search(out=folder, storage=url, evaluate=evaluate, **settings)


def start(folder: Path, url: str, *, pace: float = 0.05) -> BaseProcess:
    """A search in ``folder``, whose parent stands for a machine."""
    folder.parent.mkdir(exist_ok=True)
    _started.append(forked.start(search, folder, url, pace, SETTINGS))
    return _started[-1]


def finish(process: BaseProcess) -> None:
    process.join(300)
    assert process.exitcode == 0


def ask_quietly(study: optuna.Study) -> optuna.Trial:
    """Ask as a process does that has not claimed the trial yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's, on signs of life outside its own loop
        return study.ask()


def shared_study(folder: Path) -> tuple[optuna.Study, StudyLease]:
    """A new study in a database, and the share that the run in ``folder`` has of it."""
    storage = open_url(f"sqlite:///{folder}/study.db")
    study = optuna.create_study(storage=storage)
    return study, StudyLease(study, storage, folder)


def measured(folder: Path) -> list[str]:
    """What a machine has measured."""
    return (folder.parent / "log").read_text().split()


def kill_after(process: BaseProcess, folder: Path, count: int) -> None:
    """Kill a search once it has begun to measure so many architectures."""
    deadline = time.monotonic() + 120
    while not (folder.parent / "log").exists() or len(measured(folder)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.join()


@pytest.mark.slow
def test_processes_share_a_study(tmp_path: Path, url: str) -> None:
    folders = [tmp_path / name / "shared" for name in ("one", "two", "three")]
    for process in [start(folder, url, pace=0.5) for folder in folders]:
        finish(process)
    tables = {(folder / "trials.csv").read_bytes() for folder in folders}
    assert len(tables) == 1
    assert len(tables.pop().splitlines()) == 1 + 16
    seeds = [json.loads((f / "result.json").read_text())["seed_architecture"] for f in folders]
    assert len(set(seeds)) == 1
    shares = [measured(folder) for folder in folders]
    assert all(len(share) >= 1 for share in shares)  # nobody did it all
    study = optuna.load_study(study_name=folders[0].name, storage=open_url(url))
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.COMPLETE] == 16
    assert states[TrialState.RUNNING] == 0


@pytest.mark.slow
def test_what_a_killed_process_left_is_measured_by_another(tmp_path: Path, url: str) -> None:
    lost, kept = tmp_path / "lost" / "shared-kill", tmp_path / "kept" / "shared-kill"
    first, second = start(lost, url, pace=3), start(kept, url, pace=0.2)
    kill_after(first, lost, 1)
    finish(second)
    assert len((kept / "trials.csv").read_text().splitlines()) == 1 + 16


@pytest.mark.nightly
def test_alone_in_a_database_a_killed_run_goes_on_identically(tmp_path: Path, url: str) -> None:
    finish(start(tmp_path / "whole" / "db-whole", url, pace=0))
    run = tmp_path / "cut" / "db-cut"
    first = start(run, url, pace=0.3)
    kill_after(first, run, 4)
    finish(start(run, url, pace=0))
    expected = (tmp_path / "whole" / "db-whole" / "trials.csv").read_bytes()
    assert (run / "trials.csv").read_bytes() == expected


@pytest.mark.slow
def test_a_database_without_an_encoding_is_refused(url: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE ascii ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0"
        )
    with pytest.raises(ValueError, match="may be SQL_ASCII: create it with ENCODING 'UTF8'"):
        open_url(url.replace("/postgres?", "/ascii?"))


def test_a_trial_too_many_is_given_back(tmp_path: Path) -> None:
    study, share = shared_study(tmp_path)
    (first,) = share.ask({}, 5, wanted=1)
    # Another process had seen the same room.
    trial = ask_quietly(study)
    assert not share._claim(trial, 1)
    states = [one.state for one in study.trials]
    assert states == [TrialState.RUNNING, TrialState.FAIL]
    assert share.ask({}, 5, wanted=1) == []
    study.tell(first, 1.0)


def test_only_own_trials_are_tidied_up(tmp_path: Path) -> None:
    study, share = shared_study(tmp_path)
    mine, again, other = (replace(share, folder=tmp_path / name) for name in "aab")
    mine.ask({}, 2, wanted=10)
    other.ask({}, 1, wanted=10)
    assert again.tidy() == 2
    assert [one.state.name for one in study.trials] == ["FAIL", "FAIL", "RUNNING"]
    assert StudyLease(study, None, tmp_path / "c").tidy() == 1


def test_a_part_of_an_architecture_is_not_measured_again(tmp_path: Path) -> None:
    """Of a process that was lost while it wrote one; studies that have such a draw go on."""
    storage = open_url(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    share = StudyLease(study, storage, tmp_path)
    make_search(study, lease=share, controller="reinforce")
    dimensions = distributions(FakeSpace().dimensions)
    few = [*dimensions][:2]
    trial = ask_quietly(study)
    share.hold(trial)
    for name in few:
        trial.suggest_categorical(name, dimensions[name].choices)
    assert replace(share).tidy() == 1
    assert [one.state.name for one in study.trials] == ["FAIL"]
    study.enqueue_trial({name: dimensions[name].choices[0] for name in few})
    first, second = share.ask(dimensions, 2, wanted=6)
    assert first.params.keys() == second.params.keys() == dimensions.keys()


def test_a_trial_that_others_give_up_during_its_draw_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, share = shared_study(tmp_path)
    make_search(study, lease=share, controller="random")
    ask = study.ask

    def slow(_dimensions: object) -> optuna.Trial:
        trial = ask()
        if not trial.number:
            study.tell(trial, state=TrialState.FAIL)  # as another process
        trial.suggest_categorical("K1", (4, 5))
        return trial

    monkeypatch.setattr(study, "ask", slow)
    assert [trial.number for trial in share.ask({}, 2, wanted=5)] == [1]


@pytest.mark.parametrize("way", ["started again", "without a heartbeat"])
@pytest.mark.parametrize("controller", ["random", "reinforce", "evolution", "tpe"])
def test_an_architecture_that_was_lost_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, controller: str
) -> None:
    storage = open_url(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    share = StudyLease(study, storage, tmp_path)
    make_search(study, lease=share, controller=controller)  # gives the study its sampler
    dimensions = distributions(FakeSpace().dimensions)
    trials = share.ask(dimensions, 6, wanted=6)
    lost, *others = trials
    for place, trial in enumerate(others):
        study.tell(trial, [place, place])
    marked = {name: value for name, value in lost.user_attrs.items() if name == UNIFORM}
    if way == "started again":
        assert replace(share).tidy() == 1
    else:
        monkeypatch.setattr(storage, "_get_stale_trial_ids", lambda _: [lost._trial_id])
        share.wait()
    (trial,) = replace(share, folder=tmp_path / "other").ask(dimensions, 5, wanted=6)
    assert trial.params == lost.params
    assert marked.items() <= trial.user_attrs.items()
    states = Counter(one.state for one in study.trials)
    assert states == {TrialState.FAIL: 1, TrialState.COMPLETE: 5, TrialState.RUNNING: 1}


def test_a_trial_that_others_give_up_meanwhile_does_not_hinder_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, share = shared_study(tmp_path)
    (trial,) = share.ask({}, 1, wanted=10)
    again = replace(share)

    def give_up() -> int:
        study.tell(trial, state=TrialState.FAIL)
        return 0

    monkeypatch.setattr(again, "_drop_unclaimed", give_up)
    again.tidy()
    assert [one.state for one in study.trials] == [TrialState.FAIL]


def test_signs_of_life_are_given_while_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.search.study.BEAT_SECONDS", 0.02)
    _, share = shared_study(tmp_path)
    seen: list[int] = []
    monkeypatch.setattr(share, "_record", seen.append)
    trials = share.ask({}, 2, wanted=5)
    with share.at_work(trials):
        deadline = time.monotonic() + 30
        while len(seen) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    count = len(seen)
    time.sleep(0.1)
    assert len(seen) == count
    assert len(set(seen)) == 2


def test_each_trial_is_claimed_before_the_next_one_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.search.study.CLAIM_SECONDS", 0)
    monkeypatch.setattr("asvit.search.study.BEAT_SECONDS", 0.02)
    study, share = shared_study(tmp_path)
    other, ask, seen = replace(share, folder=tmp_path / "other"), study.ask, list[int]()

    def slow(*args: Any) -> optuna.Trial:
        deadline = time.monotonic() + 30
        while seen and len(seen) < 4:  # heartbeats of the first trial
            assert time.monotonic() < deadline
            time.sleep(0.01)
        other._drop_unclaimed()
        return ask(*args)

    monkeypatch.setattr(share, "_record", seen.append)
    monkeypatch.setattr(study, "ask", slow)
    trials = share.ask({}, 3, wanted=5)
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert {one.state for one in study.trials} == {TrialState.RUNNING}


@pytest.mark.parametrize("limited", [False, True])
def test_a_trial_is_claimed_before_a_long_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    monkeypatch.setattr("asvit.search.study.CLAIM_SECONDS", 0)
    storage = open_url(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    share = StudyLease(study, storage, tmp_path)
    other, waited = replace(share, folder=tmp_path / "other"), list[int]()

    def meanwhile() -> None:
        waited.append(other._drop_unclaimed())

    controller = "random" if limited else "evolution"
    search = make_search(study, lease=share, steps=4, batch=2, controller=controller)
    if limited:  # networks of draws of the library are timed once they are drawn
        share.limits = search.limits
        monkeypatch.setattr(search.limits, "excess", lambda *_, **__: meanwhile())
    else:
        draw = SpaceSampler._within

        def slow(*args: Any) -> Any:
            meanwhile()
            return draw(*args)

        monkeypatch.setattr(SpaceSampler, "_within", slow)
    assert len(list(search.run())) == len(waited) == 4
    assert {one.state for one in study.trials} == {TrialState.COMPLETE}


def test_a_trial_that_others_gave_up_is_asked_for_again(tmp_path: Path) -> None:
    storage = open_url(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    asked: list[str] = []

    def evaluate(text: str) -> Measurement:
        asked.append(text)
        if len(asked) == 2:  # the machine sleeps, and another process gives up on it
            study.tell(len(study.trials) - 1, state=TrialState.FAIL)
        return fake_evaluate(text)

    search = make_search(study, evaluate, lease=StudyLease(study, storage, tmp_path), steps=4)
    assert len(list(search.run())) == 4
    assert len(asked) == 5
    assert asked[1] == asked[2]


def test_a_study_that_another_process_starts_over_ends_the_search(tmp_path: Path) -> None:
    storage = open_url(f"sqlite:///{tmp_path}/study.db")
    name, directions = "shared", ["maximize", "minimize"]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)

    def evaluate(text: str) -> Measurement:
        optuna.delete_study(study_name=name, storage=storage)
        new = optuna.create_study(study_name=name, storage=storage, directions=directions)
        ask_quietly(new)  # SQLite gives the numbers of what was deleted again
        return fake_evaluate(text)

    search = make_search(study, evaluate, lease=StudyLease(study, storage, tmp_path), steps=4)
    with pytest.raises(ValueError, match="another process has started the study over"):
        list(search.run())
    (trial,) = optuna.load_study(study_name=name, storage=storage).trials
    assert (trial.state, trial.user_attrs) == (TrialState.RUNNING, {})


def test_a_search_ends_with_its_own_steps_where_another_takes_more(tmp_path: Path) -> None:
    storage = open_url(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    texts: list[str] = []

    def evaluate(text: str) -> Measurement:
        texts.append(text)
        if len(texts) == 3:  # another process joins meanwhile
            there = optuna.load_study(study_name=study.study_name, storage=storage)
            lease = StudyLease(there, storage, tmp_path / "other")
            longer = make_search(there, lease=lease, steps=8).run()
            assert len([next(longer) for _ in range(4)]) == 4
        return fake_evaluate(text)

    search = make_search(study, evaluate, lease=StudyLease(study, storage, tmp_path), steps=4)
    assert len(list(search.run())) == len(texts) == 3
    assert len(search.rows) == 4
    assert search.rows[2].architecture == texts[2]


def test_finalists_that_two_processes_measure_at_once_are_all_kept() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    texts: Any = {text: text for text in (",".join(one * 12) for one in "123")}
    slow, quick = make_search(study), make_search(study)

    def evaluate(architectures: Any) -> Any:
        return map(fake_evaluate, architectures)

    first = slow._measure_missing("finalists", texts, evaluate)
    next(first)
    stored = []
    for _ in quick._measure_missing("finalists", texts, evaluate):
        stored = list(quick._stored("finalists"))
    next(first)  # writes what it knows
    assert sorted(stored) == sorted(quick._stored("finalists")) == sorted(texts)
    list(first)
    assert sorted(slow._stored("finalists")) == sorted(texts)


def test_a_trial_without_an_owner_is_given_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.search.study.POLL_SECONDS", 0)
    study, share = shared_study(tmp_path)
    ask_quietly(study)
    share.wait()
    assert study.trials[0].state is TrialState.RUNNING
    monkeypatch.setattr("asvit.search.study.CLAIM_SECONDS", 0)
    share.wait()
    assert study.trials[0].state is TrialState.FAIL


def test_a_run_that_goes_on_waits_for_claims_and_gives_up_what_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.search.study.CLAIM_SECONDS", 0.2)
    study, share = shared_study(tmp_path)
    late = ask_quietly(study)
    assert share.tidy() == 0
    assert study.trials[0].state is TrialState.FAIL
    assert not share._claim(late, 5)
