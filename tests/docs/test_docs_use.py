"""The questions of docs/use.md: threads, commands that there are, and tests that there are."""

import ast
import re
import shlex
from collections.abc import Iterator

import pytest
from doc_examples import ROOT, check_options

#: What stands for something of the reader's in a command.
STANDS_FOR = {"ARCH": "8,2,3|4,1,2|4,1,4|4,1,6|32", "DATA": str(ROOT / "docs"), "RUN": "seed.pt"}


def rows() -> Iterator[list[str]]:
    """The cells of the table."""
    for line in (ROOT / "docs/use.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| question"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


ROWS = list(rows())


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_answer_is_a_command_that_a_test_runs(row: list[str]) -> None:
    place, _, name = row[3].strip("`").partition("::")
    tree = ast.parse((ROOT / place).read_text(encoding="utf-8"))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert name in functions
    for command in re.findall(r"`(asvit .*?)`", row[2]):
        words = [STANDS_FOR.get(word, word) for word in shlex.split(command)[1:]]
        check_options([str(ROOT) if word == "FOLDER" else word for word in words])


def test_other_tools_are_named_with_their_sources() -> None:
    text = (ROOT / "docs/which_tool.md").read_text(encoding="utf-8")
    tools = [part for part in text.split("\n## ")[1:] if "\nNot for" in part]
    named = [part.partition("\n")[0] for part in tools]
    assert len(named) == len(set(named)) >= 8
    for part, name in zip(tools, named, strict=True):
        assert "\nFor: " in part, name
        assert name == "asvit" or "](https://" in part, name
