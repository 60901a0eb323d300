"""The script that kills runs: comparison of outcomes, and stages of kills."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asvit.core.run_files import DESIGNED
from asvit.designs.journal import DesignJournal, Stage
from asvit.designs.settings import DesignSettings
from tests.campaigns import forked, kill_runs
from tests.campaigns.kill_runs import (
    WORKER,
    Campaign,
    Tally,
    differences,
    outcome,
    partial_writes,
    stage_of_kill,
)


def write_run(folder: Path, *, seconds: float = 1.0, value: float = 1.0) -> Path:
    """A run folder with a file of every kind."""
    folder.mkdir(parents=True)
    record = {"elapsed": seconds, "best": {"seconds": seconds, "value": value}}
    (folder / "result.json").write_text(json.dumps(record))
    (folder / "scores.jsonl").write_text(json.dumps(record) + "\n")
    (folder / "metrics.csv").write_text(f"epoch,loss,seconds\n1,{value},{seconds}\n")
    (folder / "trials.csv").write_text(f"number,value\n1,{value}\n")
    (folder / "report.html").write_text(f"<p>{value}, done in {seconds:.0f} s.</p>")
    (folder / "curve.svg").write_text(f"<svg>{value}</svg>")
    tensors = {"weight": torch.full((2,), value)}
    save_file(tensors, folder / "model.safetensors", {"asvit": json.dumps(record)})
    (folder / ".lock").touch()
    (folder / "timm").mkdir()
    card = f"* latency: {seconds} ms\n* params: {value}\n"
    (folder / "timm" / "README.md").write_text(card)
    return folder


def test_only_times_may_differ(tmp_path: Path) -> None:
    one = outcome(write_run(tmp_path / "one"))
    assert differences(one, outcome(write_run(tmp_path / "slower", seconds=9.0))) == []
    files = ["curve.svg", "metrics.csv", "model.safetensors", "report.html", "result.json"]
    other = outcome(write_run(tmp_path / "other", value=2.0))
    assert differences(one, other) == [
        *files, "scores.jsonl", "timm/README.md", "trials.csv"
    ]  # fmt: skip


def test_a_file_too_many_is_a_difference(tmp_path: Path) -> None:
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other")
    (other / ".trials.csv.part").touch()
    assert differences(outcome(one), outcome(other)) == [".trials.csv.part"]


def test_landings(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stage_of_kill(tmp_path, set()) == "before the first record"
    run.mkdir()
    for name in (".lock", ".kind"):
        (run / name).touch()
    assert stage_of_kill(tmp_path, set()) == "before the first record"
    (run / "scores.jsonl").write_text("{}\n")
    assert stage_of_kill(tmp_path, set()) == "while working"
    (run / "scores.jsonl").write_text("{}\n{")
    assert stage_of_kill(tmp_path, set()) == "inside a write"
    older = partial_writes(tmp_path)  # of an earlier kill
    assert stage_of_kill(tmp_path, older) == "while working"
    (run / "result.json").touch()
    assert stage_of_kill(tmp_path, older) == "after the result"
    (run / ".result.json.part").touch()
    assert stage_of_kill(tmp_path, set()) == "inside a write"


def test_landings_in_a_design(tmp_path: Path) -> None:
    run = tmp_path / kill_runs.RUN
    journal = DesignJournal(run / DESIGNED)
    run.mkdir()
    journal.start(DesignSettings(data="pictures", max_params=9), device="cpu", versions={})
    assert stage_of_kill(tmp_path, set()) == "while working"
    journal.add_record(Stage("pictures", {}))
    journal.add_record(Stage("plan", {}))
    assert stage_of_kill(tmp_path, set()) == "in the stage after plan"
    table = kill_runs.table(
        {"design": Tally(Counter({"in the stage after plan": 2, WORKER: 1}), runs=3)}
    )
    assert "| design | 3 | 0 | 2 | 0 | 0 | 1 | 3 |" in table
    assert "| all |  | 0 | 2 | 0 | 0 | 1 | 3 |" in table


class Finished:
    """A process that has ended, for :func:`forked.start`."""

    exitcode = 0

    def __init__(
        self, _function: object, _words: object, folder: Path, *, prepare: None = None
    ) -> None:
        write_run(folder / kill_runs.RUN)

    def join(self, _seconds: float | None = None) -> None: ...

    def kill(self) -> None: ...


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    """A campaign whose runs only make their folders."""
    monkeypatch.setattr(forked, "start", Finished)
    return Campaign(tmp_path, seed=7)


def test_a_run_that_ends_differently_is_told_with_its_seed(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_campaign: Campaign, _name: str, folder: Path, _moments: object) -> list[str]:
        write_run(folder / kill_runs.RUN, value=3.0)
        shutil.copy(folder / "run" / "curve.svg", folder / "run" / "more.svg")
        return ["while working", "after the result"]

    monkeypatch.setattr(Campaign, "_kill_until_done", killed)
    message = (
        r"ended differently in curve\.svg, .*more\.svg.* after 2 kills \(seed 7, see .*killed-0"
    )
    with pytest.raises(RuntimeError, match=message):
        campaign.kill("train", 2)


def test_a_run_that_fails_is_told_with_its_last_words(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failed(Finished):
        exitcode = 3

        def __init__(self, _function: object, _words: object, folder: Path, **_: object) -> None:
            (folder / forked.STDERR).write_text("working\nasvit: no space left\n")

    monkeypatch.setattr(forked, "start", Failed)
    with pytest.raises(RuntimeError, match=r"ended with 3: working asvit: no space left \(seed 7"):
        campaign.kill("train", 1)
