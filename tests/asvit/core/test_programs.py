"""Programs of the user's: what they print, and every way in which they fail, in one line."""

import os
import shlex
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.core.programs import SAFE_PATH, file_command, output_of

PYTHON = shlex.quote(sys.executable)


def python(code: str) -> str:
    """A command that runs a line of Python on the file."""
    return f"{PYTHON} -c {shlex.quote(code)} {{onnx}}"


def test_the_file_is_one_word_wherever_it_stands() -> None:
    name = "/tmp/a b;touch $(x) 'c'.onnx"
    code = "import sys; print(*sys.argv[1:], sep='|')"
    command = f"{python(code)} --model={{onnx}} 'two words'"
    assert output_of(command, name, 30) == f"{name}|--model={name}|two words\n"


def test_no_shell_is_run(tmp_path: Path) -> None:
    command = f"echo {{onnx}} > {tmp_path}/made && touch {tmp_path}/other"
    assert "&& touch" in output_of(command, "a.onnx", 30)
    assert not list(tmp_path.iterdir())


def test_a_program_in_python_finds_what_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside.py").write_text("TIME = 7")
    (tmp_path / "bench.py").write_text("import beside; print(beside.TIME)")
    command = f"{PYTHON} {shlex.quote(str(tmp_path / 'bench.py'))} {{onnx}}"
    monkeypatch.setenv(*SAFE_PATH)
    assert output_of(command, "a", 30) == "7\n"
    monkeypatch.setenv(SAFE_PATH[0], "1")  # the user's own
    with pytest.raises(ChildProcessError, match="No module named 'beside'"):
        output_of(command, "a", 30)


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        ("no-such-program {onnx}", FileNotFoundError, "cannot be run: No such file or directory"),
        (python("raise SystemExit(3)"), ChildProcessError, "ended with exit code 3$"),
        (python("print('all'); exit('no pi\\nno route')"), ChildProcessError, "1: no route$"),
        (python("print('told here'); exit(2)"), ChildProcessError, "exit code 2: told here$"),
        (python("import os; os.kill(os.getpid(), 9)"), ChildProcessError, "with signal 9$"),
        (python("print('x' * 9999)"), ChildProcessError, "printed more than 4,000 characters$"),
        (python(r"exit('a\x1b[2Jb')"), ChildProcessError, r"1: a\\x1b\[2Jb$"),
    ],
)
def test_a_failure_is_one_line(command: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as refusal:
        output_of(command, "a.onnx", 30)
    assert len(str(refusal.value).splitlines()) == 1
    assert str(refusal.value).isprintable()


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at /proc")
def test_a_program_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "open(sys.argv[1], 'w').write(str(p.pid)); "
        "print('it is asleep', file=sys.stderr, flush=True); time.sleep(600)"
    )
    path = tmp_path / "pid"
    with pytest.raises(TimeoutError, match="not ended after 5 s; it was stopped: it is asleep"):
        output_of(python(code), str(path), 5)
    for _ in range(50):
        if ended := _ended(int(path.read_text())):
            break
        time.sleep(0.1)
    assert ended


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("./bench", r"'\./bench' does not name the file as \{onnx\}; use e\.g\. 'ssh pi"),
        ("{onnx}", "does not name the file"),
        ("", "does not name the file"),
        ("bench '{onnx}", "is no command: No closing quotation"),
        (3, "a command must be a text, got 3"),
    ],
)
def test_what_is_no_command(command: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        file_command(command)


@given(st.text(max_size=30))
def test_fuzz_any_text_is_a_command_or_refused_in_a_line(text: str) -> None:
    told = ""
    try:
        assert file_command(text) == text
    except ValueError as error:
        told = str(error)
    assert len(told.splitlines()) <= 1
    assert told.isprintable()
