"""``asvit correlate`` and its progress, on a small table of one's own."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from asvit.cli.app import app
from asvit.reference.settings import CorrelationSettings
from asvit.runs.correlation import CorrelationRun, MeasuredRow, _state
from proxies import Score

NETS = [f"4,8,{r}|2,4,2|2,2,2|2,1,2|{width}" for r in (2, 4, 6) for width in (16, 32)]
SMALL = ["--repeats", "1", "--images", "2", "--points", "3", "--data", "gaussian"]
TWO = ["--proxy", "length_distortion,length_distortion+ntk_condition_number"]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def strict(text: str) -> Any:
    """Parse JSON, refusing the NaN and Infinity that Python would let through."""
    return json.loads(text, parse_constant=pytest.fail)


def write_table(path: Path) -> Path:
    lines = [
        "# num_classes: 10",
        "# target: top1 | made up | scratch",
        "# noise_ceiling: top1|0.9",
    ]
    lines.append("architecture,image_size,top1")
    lines += [f'"{text}",32,{60 + (place * 5) % 6}' for place, text in enumerate(NETS)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "mine.csv")


@pytest.fixture(scope="module")
def correlated(
    table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """What a shell sees of the command."""
    folder = tmp_path_factory.mktemp("correlate") / "run"
    command = ["correlate", "--reference", str(table), *TWO, *SMALL, "--out", str(folder)]
    return folder, subprocess.run(
        [sys.executable, "-m", "asvit", *command, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder.parent,
    )


def again(correlated: tuple[Path, Any], table: Path, *more: str) -> Result:
    return run("correlate", "--reference", table, *SMALL, "--out", correlated[0], *more)


def test_the_answer_is_json_on_stdout_and_words_on_stderr(
    correlated: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = correlated
    assert done.returncode == 0, done.stderr
    data = strict(done.stdout)
    assert strict((folder / "result.json").read_text()) | {"folder": str(folder)} == data
    assert set(data) == {
        "folder", "schema_version", "kind", "reference", "digest", "targets", "rows", "excluded",
        "correlations", "wall_seconds", "settings", "question", "images", "device", "versions",
        "command",
    }  # fmt: skip
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
    assert any("noise ceiling 0.900" in line for line in lines)
    assert any(line.startswith("The best count is ") for line in lines)
    assert any(line.startswith(f"folder: {folder} ") for line in lines)
    assert (folder / "report.html").exists()


def test_the_table_of_another_question_from_what_is_known(
    correlated: tuple[Path, Any], table: Path
) -> None:
    result = again(correlated, table, "--proxy", "ntk_condition_number")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "nothing to measure: every score is known; --fresh starts over\n"
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    at = {name: rows.index(name) for name in ("params", "macs", "ntk_condition_number")}
    assert max(at["params"], at["macs"]) < at["ntk_condition_number"]
    assert "length_distortion" not in rows
    found = strict((correlated[0] / "result.json").read_text())["correlations"][-1]
    low, high = found["tau_interval"]
    assert f"{found['tau']:.3f} [{low:.2f}, {high:.2f}]" in result.stdout
    assert rows.count("params") == 1


def test_on_a_narrow_screen_there_are_several_tables(correlated: tuple[Path, Any]) -> None:
    from rich.console import Console

    from asvit.runs import CorrelationResult

    screen = Console(file=io.StringIO(), width=90)
    CorrelationRun.show(CorrelationResult.read(correlated[0] / "result.json"), screen)
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line.strip()].count("params") > 1
    assert max(map(len, lines)) <= 90
    assert not any(line.strip() == "n" for line in lines)  # no name is folded


def test_quiet_json_writes_only_json(correlated: tuple[Path, Any], table: Path) -> None:
    result = again(correlated, table, *TWO, "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert strict(result.stdout)["rows"] == 6


def test_other_settings_are_refused_with_the_difference(
    correlated: tuple[Path, Any], table: Path
) -> None:
    result = again(correlated, table, "--seed", "5")
    assert result.exit_code == 3
    assert "seed 0 (now 5)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_correlation_has_a_report_of_its_own(correlated: tuple[Path, Any]) -> None:
    folder, _ = correlated
    before = (folder / "report.html").read_bytes()
    result = run("report", folder, "--json")
    assert result.exit_code == 0, result.stderr
    assert "scatter-params.svg" in strict(result.stdout)["files"]
    assert (folder / "report.html").read_bytes() == before


def test_left_out_rows_are_told(correlated: tuple[Path, Any], table: Path) -> None:
    result = again(correlated, table, *TWO, "--rows", "5")
    assert result.exit_code == 0, result.stderr
    assert "5 architectures of mine; 1 not drawn" in result.stdout


def test_only_given_options_are_passed_on(monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    seen: dict[str, object] = {}

    def stop(preset: str, **settings: object) -> None:
        seen.update(settings, preset=preset)
        raise ValueError("enough")

    monkeypatch.setattr(CorrelationRun, "make", stop)
    options = ["--max-params", "1M", "--target", "top1", "--radius", "unit", "--retry"]
    assert run("correlate", "--reference", table, *options).exit_code == 2
    assert seen == {
        "targets": ("top1",), "retry": True, "preset": "default", "reference": str(table),
        "max_params": "1M", "radius": "unit",
    }  # fmt: skip


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    from asvit.runs import measurement_pool

    def stop(*_args: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measurement_pool, "measure", stop)
    result = run("correlate", "--reference", table, *TWO, *SMALL, "--out", "here", "--fresh")
    assert result.exit_code == 130
    words = f"to go on: asvit correlate --reference {table} {' '.join([*TWO, *SMALL])} --out here"
    assert result.stderr.strip() == f"stopped before its first step; {words}"


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
    assert result.exit_code == code, result.stderr
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_the_help_states_the_real_defaults() -> None:
    settings = CorrelationSettings()
    command = app.get_command(None, "correlate")  # type: ignore[arg-type]
    shown = {p.name: getattr(p, "show_default", None) for p in command.params}
    for name in ("repeats", "images", "points", "radius", "data", "seed", "device"):
        assert shown[name] == str(getattr(settings, name))
    assert "table's own" in shown["image_size"]
    # Those of the other commands are as they were.
    search = app.get_command(None, "search")  # type: ignore[arg-type]
    assert {p.name: getattr(p, "show_default", None) for p in search.params}["repeats"] == "5"


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
