"""The examples in the docstrings of the public names run."""

import ast
import doctest
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import asvit
import proxies
import scaling

# Processes and figures would take most of the time.
pytestmark = pytest.mark.usefixtures("forked_modules", "quick_figures")

#: They are called by name, as an example of :func:`proxies.measure` shows.
MEASURES = {getattr(proxy.value, "__wrapped__", None) for proxy in proxies.PROXIES.values()}
PUBLIC: dict[str, Any] = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in (asvit, proxies, scaling)
    for name in package.__all__
    if name not in ("__version__", "PROXIES") and getattr(package, name) not in MEASURES
    if package is asvit or ">>>" in (getattr(package, name).__doc__ or "")
}
IMPORTED = {
    **{"asvit": asvit, "proxies": proxies, "scaling": scaling},
    **{"np": np, "partial": partial, "timm": timm, "torch": torch},
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few pictures, in which a run of one example is that of the next."""
    folder = tmp_path_factory.mktemp("examples")
    for number, kind in enumerate(("cat", "dog")):
        place = folder / "pictures" / kind
        place.mkdir(parents=True)
        Image.new("RGB", (40, 40), (90, 200 * number, 50)).save(place / "0.png")
    return folder


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_public_name_runs(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    example = parser.get_doctest(PUBLIC[name].__doc__, dict(IMPORTED), name, None, 0)
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    assert runner.run(example, out=said.append).failed == 0, "".join(said)
    # What takes too long fits the options of what it calls.
    slow = "".join(line.source for line in example.examples if doctest.SKIP in line.options)
    for call in ast.walk(ast.parse(slow)):
        if isinstance(call, ast.Call) and (called := ast.unparse(call.func)).startswith("asvit."):
            options = dict.fromkeys(option.arg for option in call.keywords)
            signature(eval(called)).bind(*call.args, **options)
