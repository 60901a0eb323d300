"""The program around the commands: help, lazy imports, exit codes, one-line errors."""

import subprocess
import sys
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from asvit.cli import app as app_module
from asvit.cli.app import COMMANDS, app

HEAVY = ["torch", "timm", "optuna", "matplotlib", "pandas", "numpy", "rich"]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asvit", *args], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def ending(monkeypatch):
    """Make ``asvit cost`` end by raising a given error."""

    def raising(error: BaseException):
        @click.command()
        def command() -> None:
            raise error

        module = types.SimpleNamespace(command=command)
        monkeypatch.setattr(app_module, "import_module", lambda name: module)

    return raising


def test_help_imports_nothing_heavy() -> None:
    program = f"""if True:
        import sys
        from asvit.cli.app import app
        for command in ([], ["search"], ["score"], ["report"], ["completion"]):
            try:
                app.main([*command, "--help"])
            except SystemExit as ended:
                assert not ended.code
            assert not [name for name in {HEAVY!r} if name in sys.modules], command
        """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: asvit") == 5


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    _, listed = shown.split("Commands:\n")
    assert [line.split()[0] for line in listed.splitlines()[:2]] == ["design", "predict"]
    assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["searxh"], ["'searxh'", "did you mean 'search'"]),
        (["xyzzy"], ["'xyzzy'", "search, scale, train"]),
        (["search", "--stesp", "3"], ["--stesp", "asvit search --help"]),
        (["search", "--steps", "0"], ["--steps", "0", "x>=1"]),
        (["search", "--steps", "many"], ["--steps", "'many'"]),
        (["completion", "tcsh"], ["'tcsh'", "bash"]),
    ],
)
def test_usage_errors_are_one_line_with_code_2(args: list[str], words: list[str]) -> None:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("split 3 does\nnot divide 56"), 3, "asvit: split 3 does not divide 56"),
        (FileNotFoundError(2, "No such folder", "pics"), 3, "asvit: No such folder: pics"),
        (PermissionError("folder x cannot be written"), 3, "asvit: folder x cannot be written"),
        (ImportError("needs ray: pip install '.[ray]'"), 3, "asvit: needs ray"),
        (ImportError("cannot import name", name="x"), 1, "asvit: unexpected ImportError"),
        (click.UsageError("no such thing."), 2, "asvit: no such thing (see asvit cost --help)"),
        (
            MemoryError(),
            3,
            "asvit: memory ran out; what was saved is whole; resume with more",
        ),
        (MemoryError("memory ran out in epoch 1"), 3, "asvit: memory ran out in epoch 1"),
        (OSError(12, "Cannot allocate memory"), 3, "asvit: memory ran out ([Errno 12] Cannot"),
        (RuntimeError("can't start new thread"), 3, "asvit: memory ran out (can't start new"),
        (
            type("AcceleratorError", (RuntimeError,), {})("CUDA error: unknown\nand more"),
            3,
            "asvit: the accelerator failed (CUDA error: unknown); what was saved is whole;",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
            3,
            "asvit: the accelerator failed (cuDNN error: CUDNN_STATUS_EXECUTION_FAILED); what",
        ),
        (TypeError("oops"), 1, "asvit: unexpected TypeError: oops (a bug"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(ending, error: BaseException, code: int, line: str) -> None:
    ending(error)
    result = CliRunner().invoke(app, ["cost"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.strip().startswith(line)
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 1


@pytest.mark.parametrize("args", [["--debug", "cost"], ["cost", "--debug"]])
def test_debug_shows_the_traceback_and_keeps_the_code(ending, args: list[str]) -> None:
    ending(ValueError("too wide"))
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert result.stderr.strip().endswith("asvit: too wide")


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line.replace("asvit", f"{sys.executable} -m asvit")],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("args", ["search --help", "completion zsh"])
def test_a_reader_that_leaves_early_is_no_error(args: str) -> None:
    done = shell(f"asvit {args} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_stdout_is_one_line() -> None:
    done = shell("asvit completion zsh > /dev/full")
    assert (done.returncode, done.stderr) == (3, "asvit: No space left on device\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_us(shell: str) -> None:
    result = CliRunner().invoke(app, ["completion", shell])
    assert result.exit_code == 0
    assert "_ASVIT_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "found", "left_out"),
    [
        ("asvit se", "search", "score"),
        ("asvit search --contr", "--controller", "--steps"),
        ("asvit search --controller r", "reinforce", "tpe"),
        ("asvit search --preset q", "quick", "default"),
        ("asvit search --space asvit-", "asvit-tiny", "asvit\n"),
        ("asvit score --proxy macs,ntk", "macs,ntk_condition_number", "gauss"),
        ("asvit list pro", "proxies", "spaces"),
    ],
)
def test_names_complete(words: str, found: str, left_out: str) -> None:
    environment = {
        "_ASVIT_COMPLETE": "zsh_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = CliRunner().invoke(app, [], env=environment)
    assert found in result.output
    assert left_out not in result.output
