"""What callers of the public functions see: every option a keyword with its type and default."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asvit
import proxies
import scaling
from asvit.core.settings import fields_of
from asvit.search.settings import SearchSettings
from experiments.stubs import STUB, stub

PUBLIC: dict[str, Any] = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in (asvit, proxies, scaling)
    for name in package.__all__
    if callable(getattr(package, name))
}
FUNCTIONS = [name for name, public in PUBLIC.items() if inspect.isfunction(public)]
WRITTEN_OUT = {
    one.name: one
    for one in ast.parse(STUB.read_text(encoding="utf-8")).body
    if isinstance(one, ast.FunctionDef)
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_keyword_of_a_function_has_a_name_and_a_type(name: str) -> None:
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    assert [p for p in parameters if p.kind is p.VAR_KEYWORD] == []
    assert [p for p in parameters if p.annotation in (p.empty, Any, "Any")] == []


def test_the_fields_of_settings_are_keywords_with_their_defaults() -> None:
    parameters = inspect.signature(asvit.run_search).parameters
    assert parameters.keys() >= fields_of(SearchSettings).keys() - {"paces"}
    assert {*parameters} >= {"preset", "out", "fresh", "progress", "workers", "evaluate"}
    assert str(parameters["steps"]) == "steps: int = 500"
    assert str(parameters["image_size"]) == "image_size: int | None = None"
    assert str(parameters["max_params"]) == "max_params: str | int | None = None"
    assert asvit.run_search.__annotations__["steps"] is int


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda: asvit.run_search(stepz=3), "steps"),
        (lambda: asvit.run_scaling("8,2,3|4,1,2|4,1,4|4,1,6|32", repeets=3), "repeats"),
        (lambda: asvit.score("8,2,3|4,1,2|4,1,4|4,1,6|32", repeets=3), "repeats"),
        (lambda: asvit.export_network("vit", to="onnx", tolerances=1.0), "tolerance"),
    ],
)
def test_an_unknown_keyword_is_refused_with_the_nearest(
    call: Callable[[], object], nearest: str
) -> None:
    with pytest.raises(TypeError, match=rf"unknown setting '\w+'; did you mean '{nearest}'"):
        call()


def test_the_stub_is_as_it_would_be_written_now() -> None:
    assert STUB.read_text(encoding="utf-8") == stub(), "run python -m experiments.stubs"


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_function_of_the_stub_has_the_signature_that_it_has(name: str) -> None:
    signature, written = inspect.signature(getattr(asvit, name)), WRITTEN_OUT[name].args
    defaults = [*([None] * (len(written.args) - len(written.defaults))), *written.defaults]
    pairs = [*zip(written.args, defaults, strict=True)]
    pairs += zip(written.kwonlyargs, written.kw_defaults, strict=True)
    assert [one.arg for one, _ in pairs] == list(signature.parameters)
    for one, default in pairs:
        value = inspect.Parameter.empty if default is None else ast.literal_eval(default)
        assert signature.parameters[one.arg].default == value


def test_type_checkers_know_the_options(tmp_path: Path) -> None:
    file = tmp_path / "calls.py"
    file.write_text(
        "import asvit\n"
        'asvit.run_search(steps=3, max_params="5M", proxies="ntk")\n'
        'asvit.run_search(steps="x")\n'
        "asvit.run_search(stepz=3)\n"
        'asvit.run_training("timm:vit_tiny_patch16_224", epochs=1, precision="bf16")\n'
        "asvit.design()\n"
    )
    # Of other modules nothing is read: what is known comes from the stub.
    words = ["--strict", "--follow-imports=skip", f"--cache-dir={tmp_path / 'cache'}"]
    command = [sys.executable, "-m", "mypy", *words, str(STUB), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.partition("calls.py:")[2] for line in done.stdout.splitlines()]
    errors = [line.partition(": error: ")[::2] for line in lines if " error: " in line]
    assert [line for line, _ in errors] == ["3", "4", "6"], done.stdout + done.stderr
    assert 'expected "int"' in errors[0][1]
    assert 'did you mean "steps"?' in errors[1][1]
