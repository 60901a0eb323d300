"""Latencies on another device, by a command of the user: how they are taken, kept and used."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import asvit
from asvit.measuring.latency import COMMAND, Latency
from asvit.runs import reporting
from asvit.runs import timing as module
from asvit.runs.timing import command_latency, forget
from asvit.search import Measurement
from asvit.spaces import cost
from tests.asvit.cli.commands import run

TEXT = "shift:1,1,1,1|2|8|1|16"
PYTHON = shlex.quote(sys.executable)
LIMIT = 1_300  # milliseconds: half of the networks are above it


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "_announced", set())


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A program that takes a millisecond for 1,000 bytes, and notes that it was run."""
    path = tmp_path / "bench.py"
    path.write_text(
        "import sys, os\n"
        "size = os.path.getsize(sys.argv[1])\n"
        "with open(__file__ + '.log', 'a') as log:\n"
        "    log.write(f'{size}\\n')\n"
        "print(size / 1000, 'ms', sep='')\n"
    )
    return path


def command_of(path: Path) -> str:
    return f"{PYTHON} {shlex.quote(str(path))} {{onnx}}"


def calls(path: Path) -> int:
    log = path.with_name(f"{path.name}.log")
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an ONNX file's place, which takes seconds to write, one of a byte for a parameter.

    It is timed once, and reports are not written.
    """
    monkeypatch.setattr(module, "REPEATS", 1)
    monkeypatch.setattr(reporting, "write_report", lambda *_: None)

    @contextmanager
    def file(model: nn.Module, *, image_size: int, batch: int, channels: int) -> Iterator[Path]:
        assert channels == 3
        path = Path("network.onnx")
        path.write_bytes(bytes([batch]) * sum(p.numel() for p in model.parameters()))
        yield path
        path.unlink()

    monkeypatch.setattr(module, "_onnx_file", file)


def printing(*texts: str) -> str:
    """A command that prints the texts in turn, one at each call."""
    code = (
        "import os, sys; n = os.path.getsize('n') if os.path.exists('n') else 0; "
        f"open('n', 'a').write('x'); print({list(texts)!r}[n])"
    )
    return f"{PYTHON} -c {shlex.quote(code)} {{onnx}}"


def test_the_median_of_three_runs_and_their_spread(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"network")
    latency = command_latency(
        command := printing("3", "1.5 ms", "2ms"), Path("a.onnx"), batch=4, image_size=32
    )
    assert latency == Latency(2.0, 0.75, 1.0, 3, 1.0, command, 0, COMMAND, 4, 32)
    assert not latency.is_busy
    assert latency.where == f"the device of {command}"
    assert latency.doubts(1.0) == ["timed again, it takes 2 ms, more than the 1 ms allowed"]


def test_a_file_is_timed_once_by_its_content(
    tmp_path: Path, bench: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("a.onnx", "b.onnx", "c.onnx")
    for name, content in zip(names, (b"one", b"one", b"other"), strict=True):
        (tmp_path / name).write_bytes(content)
    command, pass_ = command_of(bench), {"batch": 1, "image_size": 32}
    times = [command_latency(command, Path(name), **pass_) for name in names]
    assert times[0] is times[1]
    assert times[0] != times[2]
    assert calls(bench) == 6
    forget(command)
    command_latency(command, Path("a.onnx"), **pass_)
    assert calls(bench) == 9
    command_latency(f"{command} --other", Path("a.onnx"), **pass_)
    assert calls(bench) == 12
    # A command that came from elsewhere than the command line would be noticed.
    assert [record.message for record in caplog.records] == [
        f"networks are timed by your program: {shown}"
        for shown in (repr(command), repr(f"{command} --other"))
    ]


def evaluate(text: str) -> Measurement:
    size = cost(text, 32)
    values = {"length_distortion": size.params / 1e4, "ntk_condition_number": 2.0}
    return Measurement(size.params, size.macs, values, {})


def search(out: Path, command: str, steps: int, **given: Any) -> Any:
    limits = {"max_latency": f"{LIMIT}ms", "latency_command": command, **given}
    return asvit.run_search(
        space="asvit-tiny", image_size=32, controller="random", steps=steps, out=out,
        evaluate=evaluate, **limits,
    )  # fmt: skip


def test_a_search_keeps_the_limit_on_the_device(bench: Path, sized: None, tmp_path: Path) -> None:
    command = command_of(bench)
    result = search(tmp_path / "run", command, 6)
    for text in [row.architecture for row in result.trials]:
        assert cost(text, 32).params <= 950 * LIMIT
    assert result.latency.runtime == COMMAND
    assert result.latency.milliseconds == pytest.approx(result.params / 1000)
    before = calls(bench)
    search(tmp_path / "run", command, 6)  # nothing is timed twice
    assert calls(bench) == before
    with pytest.raises(ValueError, match="was started with latency_command"):
        search(tmp_path / "run", f"{command} --fast", 6)
    assert "--latency-command" in result.provenance["command"]


def test_a_command_that_fails_stops_a_search_which_goes_on_later(
    bench: Path, sized: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is gone says nothing of networks: none is left out because of it."""
    command = command_of(bench)
    whole = search(tmp_path / "whole", command, 6)
    search(tmp_path / "parts", command, 2)
    monkeypatch.setattr(module, "_known", {})
    program = bench.read_text()
    bench.write_text("raise SystemExit('no route to pi')")
    with pytest.raises(ChildProcessError, match="exit code 1: no route to pi"):
        search(tmp_path / "parts", command, 6)
    bench.write_text(program)
    parts = search(tmp_path / "parts", command, 6)
    assert [row.architecture for row in parts.trials] == [row.architecture for row in whole.trials]
    bench.write_text("raise SystemExit('no route to pi')")
    monkeypatch.setattr(module, "_known", {})
    with pytest.raises(ChildProcessError, match="no route to pi"):
        search(tmp_path / "none", command, 6)


def test_cost_shows_what_the_command_prints(bench: Path, sized: None) -> None:
    size = cost(TEXT, 32).params
    result = run("cost", TEXT, "--image-size", "32", "--latency-command", command_of(bench))
    assert result.exit_code == 0, result.stderr
    assert f"latency {size / 1000:.4g}" in result.stdout.replace(",", "")
    assert "1 runs), batch 1, the device of" in result.stdout
