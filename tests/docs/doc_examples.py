"""The examples of the pages: what stands in them, and how one of them is run.

An example is a fenced block in Python or for a shell. It is run unless a comment directly above
it, which readers of the page do not see, says why not: ``<!-- not run: REASON -->``.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from asvit.cli.app import app
from asvit.cli.manual import PAGES as MANUAL

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
]
SHELLS = ("sh", "bash", "console")
LANGUAGES = ("python", *SHELLS)

# What examples may call besides `asvit`. These lines are set-up that the tests do not repeat.
_OTHERS = ("accelerate", "pip", "pip-audit", "python", "python3", "torchrun")
BASH = shutil.which("bash") or ""  # by its path, which holds where PATH does not
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")


@dataclass(frozen=True)
class Example:
    """A block of a page."""

    page: str  # path from the root of the checkout
    line: int  # of the page, on which its text starts, from 1
    language: str
    text: str
    reason: str | None = None  # why it is not run

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"


def read(page: str) -> list[Example]:
    """The blocks of a page that hold code."""
    found, comments = [], ""
    for token in MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8")):
        if token.type == "html_block":
            comments += token.content
            continue
        if token.type == "fence" and token.map is not None:
            reason = _NOT_RUN.search(comments)
            language = token.info.split()[0] if token.info else ""
            line = token.map[0] + 2
            found.append(Example(page, line, language, token.content, reason and reason[1]))
        comments = ""
    return found


def read_manual() -> list[Example]:
    """The examples of ``--help``, a block for each command."""
    path, examples = "asvit/cli/manual.txt", []
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    left_out = {"design": "takes half an hour"}
    left_out |= dict.fromkeys(("transfer detect", "transfer segment"), "needs COCO or ADE20K")
    for name, page in MANUAL.items():
        if name != "completion":  # whose lines are a shell's
            text = "\n".join(line for line, _ in page.examples)
            examples.append(Example(path, lines.index(name) + 2, "sh", text, left_out.get(name)))
    return examples


def calls(example: Example, folder: Path) -> list[list[str]]:
    """The command lines of a shell example, as bash reads them: no command is started.

    The folder was made ready by :func:`prepare_shell`.
    """
    script = example.text
    if example.language == "console":
        lines = [line for line in script.splitlines() if line.startswith("$ ")]
        script = "\n".join(line.removeprefix("$ ") for line in lines)
    if example.reason is not None:  # then other programs may be in it
        script = f"command_not_found_handle() {{ :; }}\n{script}"
    record = folder / ".calls"
    record.write_bytes(b"")
    done = subprocess.run(
        [BASH, "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"HOME": str(folder), "PATH": str(folder / ".venv" / "bin"), "CALLS": str(record)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{example.place}: {done.stderr}"
    words = record.read_bytes().decode().split("\0")[:-1]
    found: list[list[str]] = []
    while words:
        count = int(words[0])
        found.append(words[1 : count + 1])
        del words[: count + 1]
    return found


def prepare_shell(folder: Path) -> None:
    """Put programs into ``folder`` that only write down what they were asked."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("asvit", *_OTHERS):
        program = programs / name
        program.write_text(
            f'#!{BASH}\nprintf "%s\\0" "$(($# + 1))" "${{0##*/}}" "$@" >> "$CALLS"\n'
        )
        program.chmod(0o755)
    (programs / "activate").write_text("")


def arguments(call: Sequence[str]) -> list[str] | None:
    """What ``asvit`` is given by a command line, also by a launcher; None where it is not."""
    words = list(call)
    if words[0] == "asvit":
        return words[1:]
    for place in range(len(words) - 1):
        if words[place : place + 2] == ["-m", "asvit"]:
            return words[place + 2 :]
    return None


def check_options(words: Sequence[str]) -> None:
    """Read a command line as the program would, up to the point where work would start.

    Raises:
        click.UsageError: If there is no such command or option, or a value is not allowed.
    """
    context = click.Context(app, info_name="asvit")
    command: click.Command = app
    rest = list(words)
    while isinstance(command, click.Group):
        name, command, rest = command.resolve_command(context, rest)
        if isinstance(command, click.Group):
            context = click.Context(command, context, info_name=name)
    command.make_context(command.name, rest, parent=context)


def run_python(example: Example, names: dict[str, object]) -> None:
    """Run a Python example among ``names``, and compare what its comments say values are.

    A comment behind an expression is compared where it is a value itself: a literal, or what
    looks like a call and must be the value's ``repr``.
    """
    lines = example.text.splitlines()
    for statement in ast.parse(example.text).body:
        ast.increment_lineno(statement, example.line - 1)
        where = str(ROOT / example.page)
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), where, "exec"), names)
            continue
        value = eval(compile(ast.Expression(statement.value), where, "eval"), names)
        line = lines[(statement.end_lineno or 0) - example.line]
        told = line.encode()[statement.end_col_offset :].decode().strip().removeprefix("#")
        _compare(value, told.strip(), example)


def _compare(value: object, told: str, example: Example) -> None:
    try:
        expected = ast.literal_eval(told)
    except (SyntaxError, ValueError):
        if re.fullmatch(r"\w+\(.*\)", told):
            assert repr(value) == told, f"{example.place}: {value!r} is said to be {told}"
        return
    same = value == pytest.approx(expected) if isinstance(expected, float) else value == expected
    assert same, f"{example.place}: {value!r} is said to be {told}"
