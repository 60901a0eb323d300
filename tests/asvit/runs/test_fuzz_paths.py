"""Names and contents that others made never lead out of the folder of a run."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from asvit.cli.app import app
from asvit.core.files import write_bytes, write_text
from asvit.reference.loading import load_reference
from asvit.reference.settings import CorrelationSettings
from asvit.runs.algorithms import correlation as module
from asvit.runs.correlation import CorrelationRun
from asvit.search.rows import TrialRow, write_trials
from tests.hostile import refused_or, sealed_result

SEEDS = [f"4,2,2|2,1,2|2,1,{i % 4 + 2}|2,1,{i % 3 + 2}|16" for i in range(6)]


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ["a b", "$(x)", "a\nb", "<b>", "…", "x" * 240, "-", "..a"])
def test_a_table_of_any_name_has_its_scores_inside_the_run(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text("architecture,acc\n" + "".join(f'"{s}",{i}\n' for i, s in enumerate(SEEDS)))
    table = load_reference(path, check=False)
    seen: list[Path] = []

    class Enough(Exception):
        pass

    def run(*_given: object, out: Path, **_named: object) -> None:
        seen.append(out)
        raise Enough

    monkeypatch.setattr(module, "run_correlation", run)
    folder = tmp_path / "run"
    settings = CorrelationSettings(image_size=32)

    class Asked(CorrelationSettings):
        proxies = ("macs",)

    with pytest.raises(Enough):
        module.reliability(folder, table, Asked(**settings.to_json()))
    (out,) = seen
    assert out.parent == folder
    assert re.fullmatch(r"correlate-[A-Za-z0-9_.-]{1,200}", out.name)
    whole = CorrelationRun.algorithm(settings=settings, reference=table).folder
    assert whole.parent == Path("runs")
    assert not set(whole.name) & set("/\\\0\n$<>")


def trials(folder: Path, text: str, measure: str) -> None:
    state = (0.1, 1.0, "complete", text)
    rows = [
        TrialRow(i, text, 10, 20, {measure: 1.0 + i, "length_distortion": 2.0 + i}, *state)
        for i in range(3)
    ]
    write_trials(folder / "trials.csv", rows, [measure, "length_distortion"])


@pytest.mark.parametrize("text", ["../../out", "/tmp/asvit-out", "a/../../out\x1b[2J"])
def test_a_report_of_a_hostile_run_writes_inside_it_only(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "a" / "run"
    folder.mkdir(parents=True)
    trials(folder, text, text)
    result = {
        "kind": "search", "schema_version": 1, "steps": 3, "seed_architecture": text,
        "settings": {"space": text, "proxies": [text, "length_distortion"], "out": text},
        "folder": text, "table": text, "out": text, "reliability": None, "reason": text,
    }  # fmt: skip
    (folder / "result.json").write_bytes(sealed_result(result))
    before = everything(tmp_path)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code in (0, 3), done.output
    assert all(name.startswith("a/run/") for name in everything(tmp_path) - before)
    assert not Path("/tmp/asvit-out").exists()


@pytest.mark.parametrize("name", ["report.html", "result.json", "trials.csv"])
@pytest.mark.parametrize("write", [write_bytes, write_text])
def test_writing_does_not_follow_links(tmp_path: Path, name: str, write: object) -> None:
    """Somebody's run folder may hold links with the names of files that are to be written."""
    mine = tmp_path / "mine"
    mine.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    for link in (name, f".{name}.part"):
        (folder / link).symlink_to(mine)
        refused_or(
            lambda: (
                write_bytes(folder / name, b"x")
                if write is write_bytes
                else write_text(folder / name, "x")
            )
        )
        assert mine.read_text() == "precious"
        if os.path.lexists(folder / link):
            (folder / link).unlink()
