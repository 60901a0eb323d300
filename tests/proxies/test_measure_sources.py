"""Which code a measure is."""

import linecache
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from proxies import PROXIES, Proxy
from proxies.registry import sources_of
from proxies.sources import same_definition, source_of


def test_measures_that_come_along_have_no_source() -> None:
    assert sources_of([*PROXIES, "none of these"]) == {}


def module(folder: Path, name: str, code: str, *, written: bool = True) -> ModuleType:
    """A module that is executed anew, as it would be in another process."""
    made = ModuleType(name)
    path = folder / f"{name}.py"
    if written:
        path.write_text(code)
        made.__file__ = str(path)
    sys.modules[name] = made
    exec(compile(code, str(path), "exec"), made.__dict__)
    return made


@pytest.fixture
def value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function ``value`` of a module with this code."""

    def made(code: str, name: str = "mine", **how: bool) -> Any:
        monkeypatch.setitem(sys.modules, name, sys)  # to be put back
        return module(tmp_path, name, code, **how).value

    return made


FORMS = [
    "def helper(): return 1\ndef value(model, inputs): return helper()",
    "value = lambda model, inputs: 1",
    "from functools import partial\ndef f(model, inputs, k): return 1\nvalue = partial(f, k=1)",
    "class Value:\n    def __call__(self, model, inputs): return 1\nvalue = Value()",
    "class Value:\n    def value(self, model, inputs): return 1\nvalue = Value().value",
    "def make(k):\n    return lambda model, inputs: k\nvalue = make(1)",
]


@pytest.mark.parametrize("code", FORMS)
def test_whatever_a_measure_is_its_module_counts(code: str, value: Callable[..., Any]) -> None:
    first = source_of([value(code)])
    assert first
    assert source_of([value(code)]) == first
    assert source_of([value(code.replace("1", "2"))]) != first


def test_every_function_of_a_measure_counts(value: Callable[..., Any]) -> None:
    def proxy(one: Any, **given: Any) -> Proxy:
        return Proxy("mine", "d", "higher", "none", value=one, **given)

    plain, ours = value(FORMS[0]), cast("Any", PROXIES["params"].value)
    other = value(FORMS[1], "other")
    assert proxy(ours).source == ""
    assert proxy(plain).source == replace(proxy(plain), check=ours).source
    sources = {proxy(plain).source, proxy(ours, check=other).source}
    assert len(sources | {proxy(plain, together=other).source}) == 3
    assert source_of([partial(ours, 1)]) != source_of([partial(ours, 2)])


def test_of_a_script_only_the_functions_count(value: Callable[..., Any]) -> None:
    first = source_of([value("def value(a, b): return 1\nsteps = 100", "__main__")])
    assert source_of([value("def value(a, b): return 1\nsteps = 200", "__main__")]) == first
    assert source_of([value("def value(a, b): return 2\nsteps = 100", "__main__")]) != first


def test_code_that_is_nowhere_is_equal_to_none(value: Callable[..., Any]) -> None:
    code = "def value(a, b): return 1"
    assert source_of([value(code, written=False)]) != source_of([value(code, written=False)])


def test_a_class_of_a_notebook_is_its_functions_and_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

    def digest(code: str) -> str:
        cell = f"<cell of {code!r}>"
        monkeypatch.setitem(linecache.cache, cell, (len(code), None, code.splitlines(True), cell))
        notebook = sys.modules["__main__"]
        exec(compile(code, cell, "exec"), notebook.__dict__)
        return source_of([notebook.Mine])

    code = "import functools\nclass Mine:\n    sides = (1, 2)\n    def value(self): return 3\n"
    kinds = ("property", "staticmethod", "classmethod", "functools.cached_property")
    for value, kind in enumerate(kinds, 5):
        code += f"    @{kind}\n    def of_{value}(*_): return {value}\n"
    assert digest(code) == digest(f"steps = 100\n{code}")
    assert len({digest(code), *(digest(code.replace(each, "9")) for each in "235678")}) == 7


def test_functions_without_names_are_different_ones_except_in_a_notebook() -> None:
    for module, same in (("__main__", True), ("another_module", False), ("asvit.own", False)):
        codes = [eval("lambda: 0", {"__name__": module}) for _ in range(2)]
        assert same_definition(*codes) is same
    assert same_definition(ModuleType("mine"), ModuleType)
    assert not same_definition(source_of, source_of)
