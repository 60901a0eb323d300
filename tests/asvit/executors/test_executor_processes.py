import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asvit.executors import Answer, Pool, Work, Workers, open_pool
from asvit.executors.processes import ProcessBackend

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", str(HERE))  # of what tests start themselves


def work(**settings: Any) -> Work:
    return Work("fake_workers:Fake", {**settings, "offset": np.array([30, 12])})


def tasks(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"a": number, "b": 100, **more} for number in range(count)]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with open_pool(Workers(jobs=2), work(), "cpu") as two:
        yield two


def sums(answers: list[tuple[int, Answer]]) -> dict[int, int]:
    assert not any(answer.failure for _, answer in answers)
    return {number: answer.result["sum"] for number, answer in answers}


def test_every_task_is_answered_by_one_of_the_workers(pool: Pool) -> None:
    answers = list(pool.run(tasks(6)))
    assert sums(answers) == {number: number + 142 for number in range(6)}
    assert {answer.result["device"] for _, answer in answers} == {"cpu"}
    pids = {answer.result["pid"] for _, answer in answers}
    assert os.getpid() not in pids
    assert len(pids) <= pool.workers == 2
    assert isinstance(pool._backend, ProcessBackend)
    # One that was slow to start may have had no task, but stays for the next ones.
    started = {process.pid for process, _ in pool._backend._workers.values()}
    again = {answer.result["pid"] for _, answer in pool.run(tasks(1))}
    assert pids | again <= started
    assert len(started) == 2


@pytest.mark.parametrize("fate", ["die", "memory"])
def test_another_worker_retries_a_lost_task(pool: Pool, tmp_path: Path, fate: str) -> None:
    todo = tasks(5)
    todo[2] |= {"fate": fate, "once": str(tmp_path / "once")}
    assert sums(list(pool.run(todo))) == {number: number + 142 for number in range(5)}


@pytest.mark.parametrize(
    ("fate", "workers", "failure"),
    [
        ("die", Workers(jobs=2), "after 3 tries: its process was killed by SIGKILL"),
        ("exit", Workers(jobs=2), "after 3 tries: its process ended with code 3"),
        ("memory", Workers(jobs=1), "after 3 tries: no room for 9 GB"),
        ("hang", Workers(jobs=2, timeout=1), "after 3 tries: took longer than 1 s"),
    ],
)
def test_a_task_that_always_fails_is_given_up(fate: str, workers: Workers, failure: str) -> None:
    todo = tasks(4)
    todo[1]["fate"] = fate
    with open_pool(workers, work(), "cpu") as pool:
        answers = dict(pool.run(todo))
    assert answers.pop(1) == Answer(failure=f"given up {failure}")
    assert sums(list(answers.items())) == {0: 142, 2: 144, 3: 145}


def test_what_a_worker_prints_is_no_output_of_this_process(
    pool: Pool, capfd: pytest.CaptureFixture[str]
) -> None:
    list(pool.run(tasks(2, fate="print")))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("this is no answer") == 2


def test_a_bug_is_raised_with_its_traceback(pool: Pool) -> None:
    with pytest.raises(RuntimeError, match="never seen before") as caught:
        list(pool.run(tasks(2, fate="bug")))
    assert "fake_workers.py" in str(caught.value)


@pytest.mark.parametrize(
    ("jobs", "setting", "error", "message"),
    [
        (2, "refuse", ValueError, "these settings are refused"),
        (1, "die", ChildProcessError, r"no worker could be started: .* code 7"),
        (1, "memory", ChildProcessError, "no worker could be started: no room for the images"),
        (1, "busy", ChildProcessError, "no worker could be started: CUDA error: devices are"),
    ],
)
def test_workers_that_refuse_or_never_start_end_the_run(
    jobs: int, setting: str, error: type[Exception], message: str
) -> None:
    with (
        open_pool(Workers(jobs=jobs), work(**{setting: True}), "cpu") as pool,
        pytest.raises(error, match=message),
    ):
        list(pool.run(tasks(2)))


def test_closing_the_generator_cancels_tasks(pool: Pool) -> None:
    todo = tasks(4)
    todo[3]["fate"] = "hang"
    answers = pool.run(todo)
    first = next(answers)
    answers.close()
    assert sums([first])
    assert sums(list(pool.run(tasks(2)))) == {0: 142, 1: 143}


_DRIVER = """
import sys, numpy as np
from asvit.executors import Work, Workers, open_pool
work = Work("fake_workers:Fake", {"offset": np.array([0])})
with open_pool(Workers(jobs=2), work, "cpu") as pool:
    for _, answer in pool.run([{"a": 1, "b": 2}, {"a": 0, "b": 0, "fate": "hang"}]):
        print(answer.result["pid"], flush=True)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_with_a_killed_driver() -> None:
    driver = subprocess.Popen([sys.executable, "-c", _DRIVER], stdout=subprocess.PIPE)
    with driver:
        if driver.stdout is None:
            raise OSError("no pipe")
        worker = int(driver.stdout.readline())
        children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
        assert str(worker) in children
        assert len(children) == 3  # two workers, and what Python tracks their resources with
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(_runs(int(child)) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
