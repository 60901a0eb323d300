"""``--reference`` of ``asvit search`` and ``asvit scale``, on a small table of one's own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from asvit.cli.app import app

SEED = "4,8,2|2,4,2|2,2,2|2,1,2|16"
NETS = [f"4,8,{r}|2,4,2|2,2,2|2,1,2|{width}" for r in (2, 4, 6) for width in (16, 32)]
SMALL = ["--image-size", "32", "--repeats", "1", "--images", "2", "--points", "3"]
SMALL += ["--data", "gaussian"]
RUNS = {
    "search": ["search", "--space", "asvit-tiny", "--steps", "2", *SMALL],
    "scale": ["scale", "--arch", SEED, "--budget", "1M", "--stop-within", "50%", *SMALL],
}


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def strict(text: str) -> Any:
    """Parse JSON, refusing the NaN and Infinity that Python would let through."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    lines = ["# num_classes: 10", "architecture,image_size,top1"]
    lines += [f'"{text}",32,{60 + (place * 5) % 6}' for place, text in enumerate(NETS)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_ends_with_how_far_its_measures_can_be_trusted(
    kind: str, table: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = [*RUNS[kind], "--out", folder, "--json"]
    first = run(*command)
    assert first.exit_code == 0, first.stderr
    result = run(*command, "--reference", table)
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    assert any("had finished before" in line for line in lines)
    title = "measuring the 6 architectures of mine: 1 network each, 32 px"
    assert title in lines
    assert any(re.match(r"row 6/6  (.+  )?ETA 0:00", line) for line in lines)
    assert any(line.startswith("How the measures rank mine, top1") for line in lines)
    data = strict(result.stdout)
    told = data.pop("reliability")
    assert data == strict(first.stdout)
    assert strict((folder / "result.json").read_text())["reliability"] == told
    assert (folder / told["folder"] / "report.html").exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "How far to trust the measures" in page
    # Asked once more, the table is known; made again, the report still has it.
    again = run(*command, "--reference", table)
    assert strict(again.stdout)["reliability"] == told
    assert title not in again.stderr
    assert run("report", folder).exit_code == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("kind", RUNS)
def test_a_table_that_is_none_is_one_line_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    result = run(*RUNS[kind], "--reference", "vitbench101-pti")
    assert result.exit_code == 3
    assert "did you mean 'vitbench101-pit'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_in_the_table_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, table: Path
) -> None:
    from asvit.runs.correlation import measure

    def stop(*_args: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "Crew", stop)
    result = run(*RUNS["search"], "--out", "here", "--reference", table)
    assert result.exit_code == 130
    last = [line for line in result.stderr.splitlines() if line][-1]
    words = " ".join([*RUNS["search"], "--out here --reference", str(table)])
    assert last == f"stopped in table mine; to go on: asvit {words}"
    assert strict(Path("here/result.json").read_text())["steps"] == 2
