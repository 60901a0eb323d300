"""Runs whose networks are measured by worker processes give what one process gives."""

import json
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from asvit.core.codec import to_json
from asvit.executors import Task, Workers
from asvit.executors.base import Answer
from asvit.runs import reporting
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
)
from asvit.runs.scaling import run_scaling
from asvit.runs.search import run_search
from asvit.search import SearchSettings

SMALL: dict[str, Any] = {
    "data": "gaussian", "image_size": 32, "images": 4, "repeats": 3, "points": 5,
}  # fmt: skip
SEED = "4,8,2|2,4,2|2,2,2|2,1,2|16"
pytestmark = pytest.mark.usefixtures("forked_modules")


@pytest.fixture(autouse=True)
def _no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "write_report", lambda *_: None)


def trials(
    out: Path, workers: Workers, progress: Callable[[Any], None] | None = None, **more: Any
) -> bytes:
    values: dict[str, Any] = {"space": "asvit-tiny", "steps": 10, "batch": 4, **SMALL, **more}
    values = {"recheck": 2, **values}
    result = run_search(out=out, workers=workers, progress=progress, **values)
    assert result.finalists
    ended = json.dumps([result.seed_architecture, to_json(result.finalists)])
    return ended.encode() + (out / "trials.csv").read_bytes()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "write_report", lambda *_: None)
        return trials(tmp_path_factory.mktemp("alone") / "run", Workers(jobs=1))


class Answering:
    """Workers whose tasks ``worker`` answers, the last one first; notes the tasks."""

    def __init__(self, workers: int, worker: Callable[[Task], Any]) -> None:
        self.workers, self.worker = workers, worker
        self.tasks: list[Task] = []

    def run(self, tasks: list[Task]) -> Iterator[tuple[int, Answer]]:
        self.tasks += tasks
        for place, task in reversed(list(enumerate(tasks))):
            yield place, Answer(self.worker(task))


def test_the_last_network_is_shared_by_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SearchSettings.make(space="asvit-tiny", **SMALL)
    pool = MeasurementPool({32: EvalContext(settings)}, Workers(jobs=2), Workload(1, 1, 1.0))
    job = MeasurementJob(SEED, settings.proxies, SEED, 32, counted=True)
    work = pool._measurer.work(Workload(1, 1, 1.0))
    opened = Answering(2, work.worker("cpu"))
    monkeypatch.setattr(pool, "_opened", opened)
    ((_, found),) = pool.measure([job])
    first, second = settings.proxies
    both = (first, second)
    assert [(task.only, task.names, task.counted) for task in opened.tasks] == [
        ([0], both, True),
        ([1], both, False),
        ([2], (first,), False),
        ([2], (second,), False),
    ]
    alone = MeasurementPool({32: EvalContext(settings)}, Workers(jobs=1), Workload(1, 1, 1.0))
    assert list(alone.measure([job])) == [(0, found)]


def test_a_search_does_not_depend_on_its_workers(
    tmp_path: Path, alone: bytes, forked_modules: list[ForkServerProcess]
) -> None:
    killed: list[int | None] = []
    before = len(forked_modules)

    def kill(event: Any) -> None:
        if event.unit == "step" and event.done == 4:
            for worker in forked_modules:
                if worker.is_alive():
                    killed.append(worker.pid)
                    worker.kill()

    assert trials(tmp_path / "run", Workers(jobs=2), kill) == alone
    assert len(set(killed)) == 2
    assert len(forked_modules) == before + 4
    assert not any(worker.is_alive() for worker in forked_modules)


@pytest.mark.nightly
def test_an_interrupted_batch_goes_on_with_other_workers(tmp_path: Path, alone: bytes) -> None:
    def stop(event: Any) -> None:
        if event.done == 6:  # the second of its batch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trials(tmp_path / "run", Workers(jobs=2), stop)
    assert trials(tmp_path / "run", Workers(jobs=1)) == alone


def test_a_candidate_that_takes_too_long_is_recorded_as_failed(tmp_path: Path) -> None:
    workers = Workers(timeout=1e-3)
    told = r"all of the first 2 .* given up after 3 tries: took longer than 0\.001 s"
    with pytest.raises(ValueError, match=told):
        trials(tmp_path / "run", workers, steps=2, repeats=1)
    rows = (tmp_path / "run" / "trials.csv").read_text().splitlines()[1:]
    assert len(rows) == 2
    assert all(",failed,length_distortion: given up after" in row for row in rows)


@pytest.mark.nightly
def test_a_scaling_does_not_depend_on_its_workers(tmp_path: Path) -> None:
    files = []
    for name, workers in (("alone", Workers(jobs=1)), ("two", Workers(jobs=2))):
        settings = {**SMALL, "budget": "1.6M", "repeats": 2}
        result = run_scaling(SEED, out=tmp_path / name, workers=workers, **settings)
        files.append((result.series, (tmp_path / name / "candidates.csv").read_bytes()))
    assert files[0] == files[1]
    assert len(files[0][0]) > 1
