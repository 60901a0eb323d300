"""Kills at random: comparison of outcomes, and what is said of runs that differ."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.campaigns.kill_runs import (
    differences,
    outcome,
)


def write_run(folder: Path, *, seconds: float = 1.0, value: float = 1.0) -> Path:
    """A run folder with a file of every kind."""
    folder.mkdir(parents=True)
    record = {"elapsed": seconds, "best": {"seconds": seconds, "value": value}}
    (folder / "result.json").write_text(json.dumps(record))
    (folder / "run.jsonl").write_text(json.dumps(record) + "\n")
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
        *files, "run.jsonl", "timm/README.md", "trials.csv"
    ]  # fmt: skip


def test_a_file_too_many_is_a_difference(tmp_path: Path) -> None:
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other")
    (other / ".trials.csv.part").touch()
    assert differences(outcome(one), outcome(other)) == [".trials.csv.part"]
