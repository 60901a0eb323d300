"""Kinds of run are light to import; their algorithms, in modules of their own, are not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import asvit.runs.algorithms
from asvit.runs.run import RUNS

ALGORITHMS = Path(asvit.runs.algorithms.__file__).parent
HEAVY = ("torch", "timm", "optuna", "scipy", "numpy", "matplotlib")
MODULES = sorted(ALGORITHMS.glob("[!_]*.py"))
MODULES += [ALGORITHMS.parent / path.name for path in MODULES]


def test_declarations_load_nothing_heavy() -> None:
    program = f"import sys, asvit.runs.kinds; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.parametrize("path", [path for path in MODULES if path.exists()], ids=str)
def test_declarations_and_algorithms_import_at_their_top(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    late = [one for function in functions for one in ast.walk(function)]
    assert not [ast.unparse(one) for one in late if isinstance(one, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("kind", RUNS.values(), ids=lambda kind: kind.command)
def test_a_kind_makes_its_algorithm(kind: type) -> None:
    algorithm = kind.algorithm
    if algorithm is not None:
        assert issubclass(algorithm, kind)
        assert algorithm.algorithm is algorithm
