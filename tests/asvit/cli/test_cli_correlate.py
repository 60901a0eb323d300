"""``asvit correlate`` and its progress, on a small table of one's own."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from asvit.runs.correlation import CorrelationRun, MeasuredRow, _state
from proxies import Score
from tests.asvit.cli.commands import NETS, SMALL, check_refused, run, strict, write_table

TWO = ["--proxy", "length_distortion,length_distortion+ntk_condition_number"]


@pytest.fixture
def table(words: Any) -> str:
    """The path of a small table."""
    return str(words("correlate")[2])


def test_what_was_asked_and_what_people_are_told(finished: Any) -> None:
    _, done = finished("correlate")
    data = strict(done.stdout)
    assert set(data["correlations"][0]) == {
        "measure", "target", "better", "trivial", "n", "dropped", "tau", "tau_interval",
        "spearman", "weighted_tau", "partial_tau", "rival", "difference", "difference_interval",
        "in_bands", "regret", "reason",
    }  # fmt: skip
    asked = [one["measure"] for one in data["correlations"] if not one["trivial"]]
    assert set(asked) == {"length_distortion", "length_distortion+ntk_condition_number"}
    lines = done.stderr.splitlines()
    assert lines[0].startswith("measuring 6 architectures of mine: ")
    assert "1 network each, each at its own size, device cpu, seed 0" in lines[0]
    assert [line.split("  ")[0] for line in lines if line.startswith("row ")] == [
        f"row {place}/6" for place in range(1, 7)
    ]
    assert any(line.startswith("The best count is ") for line in lines)


@pytest.fixture
def known(finished: Any, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished("correlate")[0], tmp_path / "known"))


def again(known: Path, table: str, *more: str) -> Result:
    return run("correlate", "--reference", table, *SMALL, "--out", known, *more)


def test_the_table_of_another_question_from_what_is_known(known: Path, table: str) -> None:
    result = again(known, table, "--proxy", "ntk_condition_number")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "nothing to measure: every score is known; --fresh starts over\n"
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    at = {name: rows.index(name) for name in ("params", "macs", "ntk_condition_number")}
    assert max(at["params"], at["macs"]) < at["ntk_condition_number"]
    assert "length_distortion" not in rows
    found = strict((known / "result.json").read_text())["correlations"][-1]
    low, high = found["tau_interval"]
    assert f"{found['tau']:.3f} [{low:.2f}, {high:.2f}]" in result.stdout
    assert rows.count("params") == 1


def test_on_a_narrow_screen_there_are_several_tables(known: Path) -> None:
    from rich.console import Console

    from asvit.runs import CorrelationResult

    screen = Console(file=io.StringIO(), width=90)
    CorrelationRun.show(CorrelationResult.read(known / "result.json"), screen)
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line.strip()].count("params") > 1
    assert max(map(len, lines)) <= 90
    assert not any(line.strip() == "n" for line in lines)  # no name is folded


def test_left_out_rows_are_told(known: Path, table: str) -> None:
    result = again(known, table, *TWO, "--rows", "5")
    assert result.exit_code == 0, result.stderr
    assert "5 architectures of mine; 1 not drawn" in result.stdout


def test_only_given_options_are_passed_on(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    seen: dict[str, object] = {}

    def stop(preset: str, **settings: object) -> None:
        seen.update(settings, preset=preset)
        raise ValueError("enough")

    monkeypatch.setattr(CorrelationRun, "make", stop)
    options = ["--max-params", "1M", "--target", "top1", "--radius", "unit", "--retry"]
    assert run("correlate", "--reference", table, *options).exit_code == 2
    assert seen == {
        "targets": ("top1",), "retry": True, "preset": "default", "reference": table,
        "max_params": "1M", "radius": "unit",
    }  # fmt: skip


BAD = "4,8,2|2,4,2|2,2,2|2,1,2"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, "--reference"),
        (["--reference", "vitbench101-pti"], 3, "did you mean 'vitbench101-pit'"),
        (["--reference", "vitbench101-pit", "--target", "c100"], 2, "unknown target 'c100'"),
        (["--reference", "vitbench101-pit", "--proxy", "snipp"], 2, "did you mean 'snip'"),
        (["--reference", "vitbench101-pit", "--preset", "swift"], 2, "use one of default, quick"),
        (["--reference", "vitbench101-pit", "--rows", "3"], 2, "3 of 100 rows"),
        (["--reference", "vitbench101-pit", "--max-params", "1G"], 2, "must count parameters"),
        (["--reference", "vitbench101-pit", "--max-params", "1"], 2, "did you mean 1M"),
        (["--reference", "vitbench101-pit", "--data", "no/such"], 3, "no/such"),
        (["--reference", "bad.csv"], 3, "bad.csv, line 6"),
    ],
)
def test_bad_values_are_one_line_and_leave_nothing(
    tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    text = write_table(tmp_path / "bad.csv").read_text()
    (tmp_path / "bad.csv").write_text(text.replace(NETS[1], BAD))
    result = run("correlate", *args)
    check_refused(result, code, words)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_row_in_words() -> None:
    scores = {
        "length_distortion": Score(0.25, 0.0, (0.25,), "higher"),
        "ntk_condition_number": Score(float("nan"), 0.0, (), "lower", "singular"),
    }
    assert _state(MeasuredRow("net", scores), 1) == "net (L^E 0.25, kappa –)  failed 1"
    many = {f"m{place}": Score(1.0, 0.0, (1.0,), "higher") for place in range(9)}
    assert _state(MeasuredRow("net", many), 0) == "net (9 measures)"


def test_references_are_listed() -> None:
    result = run("list", "references", "--json")
    assert result.exit_code == 0
    assert "vitbench101-pit" in [row["name"] for row in strict(result.stdout)]
