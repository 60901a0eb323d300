"""``--dry-run``: tells what the run would do and take, and writes nothing."""

import json
import os
import subprocess
import sys
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from asvit.cli.app import app
from asvit.runs.dry_runs import _time
from asvit.runs.estimate import Remaining

SMALL = ["search", "--space", "asvit-tiny", "--steps", "7", "--image-size", "32"]
SMALL += ["--repeats", "2", "--images", "2", "--points", "3"]


FILES = {
    "scale": ("scale", ["measured.jsonl", "steps.csv", "candidates.csv", "result.json"]),
    "correlate": ("correlation", ["scores.jsonl", "values.csv", "correlations.csv"]),
}


def in_a_world(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``asvit`` where ``place`` is home, cache, working folder and all."""
    own = {name: str(place) for name in ("HOME", "ASVIT_CACHE", "XDG_CACHE_HOME", "TMPDIR")}
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "asvit", *words],
        cwd=place,
        env={**os.environ, **own, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in (*SMALL, *words)])


def told(*words: str | Path) -> Any:
    """What a dry run tells as JSON."""
    result = run(*words, "--dry-run", "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout, parse_constant=pytest.fail)


def files(place: Path) -> dict[Path, tuple[int, int]]:
    """The files in a folder, with the times at which they were changed."""
    found = {path: path.stat() for path in place.rglob("*") if path.is_file()}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search of 5 steps."""
    place = tmp_path_factory.mktemp("search") / "run"
    done = run("--data", "gaussian", "--out", place, "--steps", "5", "--quiet")
    assert done.exit_code == 0, done.stderr
    return place


def test_it_tells_people_all_there_is_and_writes_nothing(tmp_path: Path) -> None:
    result = in_a_world(tmp_path, *SMALL, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert not files(tmp_path)
    assert not (tmp_path / "runs").exists()
    assert result.stderr == "timing a network; nothing is written\n"
    title, *lines = result.stdout.splitlines()
    assert title.startswith("searching asvit-tiny by reinforce: 7 architectures, 2 networks each")
    parts = {line[:9].strip(): line[9:] for line in lines}
    assert list(parts) == ["settings", "space", "writes", "steps", "example", "time", "memory"]
    assert "image_size 32, batch 1, depths not given, " in parts["settings"]
    assert "repeats 2, images 2, points 3" in parts["settings"]
    assert parts["writes"].startswith(
        "runs/search-asvit-tiny-reinforce-32px-seed0/: study.journal"
    )
    assert parts["steps"] == "7"
    assert " params, " in parts["example"]
    assert " s a network, " in parts["time"]
    assert parts["time"].endswith(" for 7 of them")


def test_a_search_by_trainings_names_no_settings_of_measures() -> None:
    few = "--trainings 6 --training-steps 1 --train-images 8 --test-images 4 --classes 2 --width 8"
    words = f"search {few} --space asvit-tiny --device cpu --dry-run"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.stderr
    parts = {line[:9].strip(): line[9:] for line in result.stdout.splitlines()[1:]}
    assert parts["steps"] == "6"
    assert parts["time"].endswith(" for 6 of them")
    assert "width 8, " in parts["settings"]
    assert "points" not in parts["settings"]
    assert "trials.csv, trainings.csv, " in parts["writes"]


@pytest.mark.parametrize(
    "more",
    [
        "",
        "--trainings 6 --training-steps 1 --train-images 8 --test-images 4 --classes 2 --width 8",
    ],
)
def test_a_cluster_has_the_device_that_this_machine_lacks(more: str) -> None:
    words = f"search --space asvit-tiny --image-size 32 {more} --ray host:6379 --device cuda"
    result = CliRunner().invoke(app, [*words.split(), "--dry-run", "--json", "--quiet"])
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    assert data["settings"]["device"] == "cuda"
    assert data["remaining"]["seconds"] > 0


def test_it_gives_the_same_as_json() -> None:
    data = told()
    remaining = data["remaining"]
    assert (data["kind"], data["dry_run"]) == ("search", True)
    assert data["settings"]["repeats"] == 2
    assert "study.journal" in data["files"]
    assert (remaining["done"], remaining["left"], remaining["reason"]) == (0, 7, "")
    assert remaining["seconds"] > 0
    assert remaining["cost"]["params"] > 0
    assert data["memory"] > 1e8


@pytest.mark.parametrize("kind", ["scale", "correlate"])
def test_other_runs_are_told_alike(kind: str, words: Any, finished: Any) -> None:
    place, done = finished(kind)
    before = files(place)
    new = [*words(kind)[:-2], "--out", str(place.with_name(f"{kind}-new")), "--jobs", "1"]
    result = CliRunner().invoke(app, [*new, "--dry-run", "--json", "--quiet"])
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    remaining = data["remaining"]
    assert (data["kind"], data["dry_run"], remaining["done"]) == (FILES[kind][0], True, 0)
    assert data["files"][: len(FILES[kind][1])] == FILES[kind][1]
    assert remaining["seconds"] > 0
    assert remaining["left"] == json.loads(done.stdout).get("rows")  # of a scaling not known
    assert not place.with_name(f"{kind}-new").exists()
    again = CliRunner().invoke(app, [*words(kind), "--dry-run", "--quiet"])
    assert "all are done: the run would only show its result" in again.stdout
    assert files(place) == before


def test_every_file_of_a_run_is_named(folder: Path) -> None:
    named = told()["files"]
    written = [path.name for path in folder.iterdir() if path.is_file()]
    assert [name for name in written if not any(matching([name], one) for one in named)] == []
    assert [name for name in named if not matching(written, name)] == []


def test_a_run_that_is_there_is_looked_at_and_left_alone(folder: Path) -> None:
    before = files(folder)
    known = ("--data", "gaussian", "--out", folder)
    for more, expected in (((), (5, 2)), (("--steps", "5"), (5, 0)), (("--fresh",), (0, 7))):
        remaining = told(*known, *more)["remaining"]
        assert (remaining["done"], remaining["left"]) == expected
        assert (remaining["seconds"] is None) == (expected[1] == 0)
    other = run(*known, "--dry-run", "--seed", "5")
    assert other.exit_code == 3
    assert "seed 0 (now 5)" in other.stderr
    assert files(folder) == before


def test_finalists_that_have_yet_to_be_measured_are_not_called_done(folder: Path) -> None:
    known = ("--data", "gaussian", "--out", folder, "--steps", "5", "--dry-run", "--quiet")
    assert "all are done: the run would only show its result" in run(*known).stdout
    again = run(*known, "--recheck", "2").stdout
    assert "all are done; what follows from them, such as finalists, is left" in again


def test_seconds_of_a_slow_network_have_no_exponent() -> None:
    assert _time(Remaining(0, 2, 123.4)) == "about 123 s a network, 4:07 for 2 of them"
    assert _time(Remaining(0, 2_000, 1.0)) == "about 1 s a network, 33:20 for 2,000 of them"
