"""Completion in the shells themselves, each driven through a terminal of its own."""

import os
import pty
import select
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "--interactive"],
}
# What makes completion work, as `asvit completion --help` says it.
TEACH = {
    "bash": 'eval "$(asvit completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u; eval "$(asvit completion zsh)"',
    "fish": "asvit completion fish | source",
}
PATIENCE = 120.0  # seconds, for a machine with much else to do


class Terminal:
    """A shell that believes a person types."""

    def __init__(self, shell: str, folder: Path) -> None:
        program = folder / "bin" / "asvit"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m asvit "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        environment = {"PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "", **kept}
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(folder)
            os.execvpe(shell, [shell, *START[shell]], environment)

    def type(self, keys: str, *, until: str) -> str:
        """What comes back after ``keys``, up to the first ``until``."""
        os.write(self._terminal, keys.encode())
        seen = ""
        end = time.monotonic() + PATIENCE
        while until not in seen:
            ready, _, _ = select.select([self._terminal], [], [], end - time.monotonic())
            assert ready, f"{keys!r} gave {seen!r}, without {until!r}"
            seen += os.read(self._terminal, 4096).decode(errors="replace")
        return seen

    def close(self) -> None:
        """End the shell."""
        os.kill(self._process, 9)
        os.waitpid(self._process, 0)
        os.close(self._terminal)


@pytest.fixture(params=["bash", "zsh", pytest.param("fish", marks=pytest.mark.nightly)])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "weights-of-mine.pth").touch()
    run = tmp_path / "runs" / "scale-of-mine"
    run.mkdir(parents=True)
    (run / "result.json").write_text("{}")
    opened = Terminal(request.param, tmp_path)
    opened.type(f"{TEACH[request.param]}; echo rea''dy\n", until="ready")
    yield opened
    opened.close()


CLEAR = "\x15"  # Ctrl-U


def test_words_complete(terminal: Terminal) -> None:
    for typed, until in (
        ("asvit search --contr\t", "--controller"),
        ("asvit search --proxy macs,feature_c\t", "condition_number"),
        ("asvit train --weights weights-o\t", "weights-of-mine.pth"),
        ("asvit train runs/sca\t", "runs/scale-of-mine"),
    ):
        terminal.type(typed, until=until)
        terminal.type(f"{CLEAR}echo do''ne\n", until="done")
