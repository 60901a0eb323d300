"""What the commands of all kinds of runs have in common, on small settings."""

import shlex
from typing import Any

import pytest

from asvit.core.results import stored_content
from asvit.runs.run_folder import RunFolder
from scaling import Budget
from tests.asvit.cli.commands import RUNS, run, strict

COMMON = {
    "folder", "schema_version", "kind", "wall_seconds", "settings", "images", "device", "versions",
    "command",
}  # fmt: skip
KEYS = {
    "search": {
        "space", "controller", "seed_architecture", "params", "macs", "length_distortion",
        "ntk_condition_number", "values", "reason", "steps", "failures", "entropy", "front",
        "finalists", "reliability", "next_command", "latency", "confirmed", "predictor",
        "retrainings",
    },
    "scale": {
        "space", "seed_architecture", "budget", "reached", "reason", "architecture", "params",
        "macs", "nearest", "steps", "seed_run", "reliability", "next_command", "latency",
    },
    "correlate": {
        "reference", "table", "targets", "rows", "excluded", "correlations", "next_command",
    },
    "supernet train": {
        "space", "num_classes", "params", "losses", "accuracy", "next_command",
    },
    "supernet evolve": {
        "space", "architecture", "path", "params", "macs", "validation", "test", "random",
        "generations", "evaluated", "reason", "supernet",
        "next_command",
    },
    "train": {
        "architecture", "network", "params", "macs", "top1", "best", "stages", "saved",
        "history", "found_by", "processes", "next_command",
    },
    "test": {
        "architecture", "image_size", "classes", "pictures", "accuracy", "accuracy_interval",
        "balanced_accuracy", "balanced_accuracy_interval", "top5", "macro_f1", "loss",
        "calibration_error", "per_class", "calibration",
        "confusion", "unreadable", "trained_on", "weights", "next_command",
    },
}  # fmt: skip
SHOWN = {
    "search": "The finalists, measured again on 1 network; the first is the seed architecture",
    "scale": "nearest to 1.5M: step ",
    "correlate": "noise ceiling 0.900",
    "supernet train": "random paths on the validation images",
    "supernet evolve": "Generations: validation accuracy, per cent",
    "train": "On the validation images",
    "test": "By class, per cent",
}
each = pytest.mark.parametrize("kind", RUNS)


@each
def test_the_result_is_json_on_stdout_and_in_the_folder(kind: str, finished: Any) -> None:
    folder, result = finished(kind)
    assert result.exit_code == 0, result.stderr
    data = strict(result.stdout)
    assert set(data) == COMMON | KEYS[kind]
    assert stored_content(folder / "result.json") | {"folder": str(folder)} == data
    assert SHOWN[kind] in result.stderr
    assert any(line.startswith("folder: ") for line in result.stderr.splitlines())
    if data.get("next_command"):
        assert f"next: {data['next_command']}" in " ".join(result.stderr.split())


def test_the_next_command_keeps_the_settings(finished: Any) -> None:
    folder, done = finished("search")
    found = strict(done.stdout)
    words = shlex.split(found["next_command"])
    given = dict(zip(words[2::2], words[3::2], strict=True))
    budget = Budget.parse(given.pop("--budget"))
    assert words[:2] == ["asvit", "scale"]
    assert given == {
        "--arch": found["seed_architecture"], "--image-size": "32", "--repeats": "1",
        "--images": "2", "--points": "3", "--data": "gaussian",
    }  # fmt: skip
    assert budget.amount == pytest.approx(10 * found["params"], rel=0.05)
    assert "next grows the seed to 10 times its size; --budget takes another" in done.stderr
    folder, done = finished("scale")
    next_command = strict(done.stdout)["next_command"]
    assert next_command == f"asvit train {folder} --image-size 32"  # noise is nothing to train on


@pytest.mark.parametrize(
    ("kind", "figure"),
    [
        ("search", "entropy.svg"),
        ("scale", "clouds.svg"),
        ("correlate", "scatter-params.svg"),
        ("supernet evolve", "costs.svg"),
        ("test", "calibration.svg"),
    ],
)
def test_the_report_is_made_again_with_the_same_bytes(
    kind: str, figure: str, finished: Any
) -> None:
    folder, _ = finished(kind)
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    result = run("report", folder, "--json")
    assert result.exit_code == 0, result.stderr
    assert figure in strict(result.stdout)["files"]
    assert (folder / "report.html").read_bytes() == before
    assert run("report", folder).stdout.strip() == str(folder / "report.html")


@each
def test_an_interrupt_says_how_to_go_on(
    kind: str, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "run", stop)
    result = run(*words(kind), "--fresh")
    assert result.exit_code == 130
    command = shlex.join(["asvit", *words(kind)])
    assert result.stderr.strip() == f"stopped before its first step; to go on: {command}"
