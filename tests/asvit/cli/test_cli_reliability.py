"""``--reference`` of ``asvit search`` and ``asvit scale``, on a small table of one's own."""

from pathlib import Path

import pytest

from tests.asvit.cli.commands import SEED, TINY, run, strict, write_table

pytestmark = pytest.mark.usefixtures("quick_figures")

SCALE = ["scale", "--arch", SEED, "--budget", "1M", "--stop-within", "50%", *TINY]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "mine.csv")


def test_a_run_ends_with_how_far_its_measures_can_be_trusted(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*SCALE, "--out", folder, "--json"]
    first = run(*command)
    assert first.exit_code == 0, first.stderr
    first_lines = first.stderr.splitlines()
    result = run(*command, "--reference", table)
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    assert any("had finished before" in line for line in lines)
    assert any(line.startswith("row of mine 6/6  ") and "ETA 0:00" in line for line in lines)
    assert any(line.startswith("How the measures rank mine, top1") for line in lines)
    data = strict(result.stdout)
    told = data.pop("reliability")
    before = strict(first.stdout)
    assert before.pop("reliability")["reference"] == "asvit-sizes"
    assert data == before
    assert any(line.startswith("How the measures rank asvit-sizes") for line in first_lines)
    assert strict((folder / "result.json").read_text())["reliability"] == told
    assert (folder / told["folder"] / "report.html").exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "How the measures rank mine, top1" in page
    # Asked once more, the table is known; made again, the report still has it.
    again = run(*command, "--reference", table)
    assert strict(again.stdout)["reliability"] == told
    assert "row of mine" not in again.stderr
    assert run("report", folder).exit_code == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == page
