"""Kills at random: comparison of outcomes, and what is said of runs that differ."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.campaigns import forked, kill_runs
from tests.campaigns.kill_runs import (
    Campaign,
    differences,
    outcome,
)


def write_run(folder: Path, *, seconds: float = 1.0, value: float = 1.0) -> Path:
    """A run folder with a file of every kind."""
    folder.mkdir(parents=True)
    record = {"elapsed": seconds, "best": {"seconds": seconds, "value": value}}
    (folder / "result.json").write_text(json.dumps(record))
    (folder / "scores.jsonl").write_text(json.dumps(record) + "\n")
    (folder / "metrics.csv").write_text(f"epoch,loss,seconds\n1,{value},{seconds}\n")
    (folder / "trials.csv").write_text(f"number,value\n1,{value}\n")
    (folder / "report.html").write_text(f"<p>{value}, done in 0:{seconds:02.0f}</p>")
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


def test_a_file_too_few_is_a_difference_even_if_its_content_is_not_compared(
    tmp_path: Path,
) -> None:
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other")
    for name in ("study.journal", "pace.svg", "checkpoint.previous.safetensors"):
        (one / name).write_text("one")
    (other / "pace.svg").write_text("another")
    assert differences(outcome(one), outcome(other)) == ["study.journal"]


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
    def killed(_campaign: Campaign, _name: str, folder: Path, _moments: object) -> int:
        write_run(folder / kill_runs.RUN, value=3.0)
        shutil.copy(folder / "run" / "curve.svg", folder / "run" / "more.svg")
        return 2

    monkeypatch.setattr(Campaign, "_kill_until_done", killed)
    message = (
        r"ended differently in curve\.svg, .*more\.svg.* after 2 kills \(seed 7, see .*killed-2"
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
