"""A search of the ShiftViT space and a scaling of what it finds, stopped and continued."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from asvit.cli.app import app
from asvit.runs import run_scaling, run_search
from asvit.search import read_trials
from asvit.spaces import load_space

SETTINGS = {"image_size": 32, "repeats": 1, "images": 3, "points": 3, "data": "gaussian"}
ARCHITECTURE = "shift:1,1,2,1|2|8|1|16"


class Stopped(Exception):
    """Ends a run between two of its measurements."""


@pytest.fixture(autouse=True)
def _without_reports(monkeypatch, request):
    if "command" not in request.node.name:
        monkeypatch.setattr("asvit.runs.search._write_report", lambda _folder: None)
        monkeypatch.setattr("asvit.runs.scaling.ScaleRun.write_report", lambda *_: None)


def stop(_event):
    raise Stopped


def rows(folder: Path) -> list[tuple[object, ...]]:
    return [
        (row.number, row.architecture, row.values) for row in read_trials(folder / "trials.csv")
    ]


def test_a_stopped_search_ends_as_one_that_was_not(tmp_path):
    settings = {**SETTINGS, "space": "shiftvit", "steps": 4}
    whole = run_search(out=tmp_path / "whole", **settings)
    for _ in range(2):
        with pytest.raises(Stopped):
            run_search(out=tmp_path / "stopped", progress=stop, **settings)
    again = run_search(out=tmp_path / "stopped", **settings)
    assert again.seed_architecture == whole.seed_architecture
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    load_space("shiftvit").encode(load_space("shiftvit").parse(whole.seed_architecture))


def test_a_stopped_scaling_ends_as_one_that_was_not(tmp_path):
    settings = {**SETTINGS, "budget": "300K,400K"}
    whole = run_scaling(ARCHITECTURE, out=tmp_path / "whole", **settings)
    for _ in range(2):
        with pytest.raises(Stopped):
            run_scaling(ARCHITECTURE, out=tmp_path / "stopped", progress=stop, **settings)
    again = run_scaling(ARCHITECTURE, out=tmp_path / "stopped", **settings)
    assert again.series == whole.series
    assert whole.series[0].architecture == ARCHITECTURE
    assert 0.98 * 400e3 <= whole.series[-1].params <= 400e3
    grown = load_space("shiftvit").parse(whole.series[-1].architecture)
    assert (grown.ratio, grown.n_div, grown.step) == (2, 8, 1)
    assert sum(grown.depths) > 5


def test_the_commands_run_to_the_end_with_their_reports(tmp_path):
    search, scale = tmp_path / "search", tmp_path / "scale"
    small = ["--preset", "quick", "--image-size", "32", "--repeats", "1", "--images", "3"]
    small += ["--points", "3", "--data", "gaussian", "--json"]
    words = ["search", "--space", "shiftvit", "--steps", "2", "--out", str(search), *small]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.stderr
    seed = json.loads(found.stdout)["seed_architecture"]
    assert seed in (search / "report.html").read_text()
    words = ["scale", "--arch", ARCHITECTURE, "--budget", "300K", "--out", str(scale), *small]
    grown = CliRunner().invoke(app, words)
    assert grown.exit_code == 0, grown.stderr
    assert json.loads(grown.stdout)["space"] == "shiftvit"
    assert json.loads(grown.stdout)["architecture"] in (scale / "report.html").read_text()
    listed = CliRunner().invoke(app, ["list", "spaces", "shift*", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == ["shiftvit"]
