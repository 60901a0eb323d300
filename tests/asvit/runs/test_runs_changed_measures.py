"""Measures and spaces of one's own that are edited between two calls: no stale score is served."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import asvit
from asvit.runs import lifecycle
from asvit.runs.algorithms.search import SearchAlgorithm
from asvit.runs.measurement_worker import MeasurementWorker, measuring_work
from asvit.search import CONTROLLERS
from asvit.spaces import SPACES
from proxies import PROXIES
from proxies.registry import Registry
from tests.asvit.runs.fakes import (
    ARCHITECTURES,
    SEED,
    fake_evaluate,
    fake_trainings,
    write_table,
)

CODE = """\
import proxies

CALLS = []

@proxies.register_measure("d", name="mine")
def value(model):
    CALLS.append(model)
    return float({factor} * sum(p.numel() for p in model.parameters()))
"""
SPACE_CODE = """\
from torch import nn

from asvit.spaces import PlainSpace, register_space

CALLS = []

@register_space
class Mine(PlainSpace):
    name, prefix = "mine", "mine:"
    description = paper = "none"
    dimensions = {{"side": (1, 2, 3, 4, 6, 8)}}

    def network(self, choices, *, num_classes, in_chans=3, **_):
        CALLS.append(choices)
        width = {factor} * in_chans * choices["side"] ** 2
        pool = nn.AdaptiveAvgPool2d(({factor} * choices["side"], choices["side"]))
        return nn.Sequential(pool, nn.Flatten(), nn.Linear(width, num_classes, bias=False))
"""
SMALL: dict[str, Any] = {
    "data": "gaussian", "image_size": 32, "images": 2, "points": 3, "repeats": 1,
}  # fmt: skip

Edit = Callable[[int], list[Any]]


def editing(code: str, registry: Registry[Any], folder: Path) -> Iterator[Edit]:
    """Write an entry ``mine`` with a factor, and import it as a new process would."""

    def forget() -> None:
        registry.pop("mine", None)
        sys.modules.pop("my_module", None)

    def written(factor: int) -> list[Any]:
        path = folder / "my_module.py"
        path.write_text(code.format(factor=factor))
        forget()
        importlib.invalidate_caches()
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
        return importlib.import_module("my_module").CALLS

    yield written
    forget()


@pytest.fixture(autouse=True)
def _imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lifecycle, "write_report", lambda *_: None)


@pytest.fixture
def edit(tmp_path: Path) -> Iterator[Edit]:
    yield from editing(CODE, PROXIES, tmp_path)


@pytest.fixture
def edit_space(tmp_path: Path) -> Iterator[Edit]:
    yield from editing(SPACE_CODE, SPACES, tmp_path)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    caplog.clear()
    return found


def test_a_correlation_measures_again_what_was_edited_and_nothing_else(
    edit: Edit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_table(tmp_path / "table.csv")
    rows = len(ARCHITECTURES)

    def values(*more: str) -> tuple[float, ...]:
        result = asvit.run_correlation(
            table, proxies=("mine", *more), out=tmp_path / "run", **SMALL
        )
        return result.values.measures["mine"]

    calls = edit(1)
    first = values("synflow")
    assert (len(calls), said(caplog)) == (rows, [])
    calls = edit(1)
    assert values("synflow") == first
    assert calls == []
    calls = edit(2)
    assert values() == tuple(2 * one for one in first)
    told = f"the code of measure mine has changed: measuring {rows} architectures again"
    assert (len(calls), said(caplog)) == (rows, [told])
    calls = edit(2)
    assert values("synflow") == tuple(2 * one for one in first)
    assert (len(calls), said(caplog)) == (0, [])
    calls = edit(1)  # the scores of this code are there
    assert values() == first
    assert (len(calls), said(caplog)) == (0, [])


def test_a_scaling_measures_again_with_what_was_edited(
    edit: Edit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"architecture": SEED, "budget": "1.6M", "proxies": ("mine",), **SMALL}

    def values() -> list[float]:
        result = asvit.run_scaling(out=tmp_path / "run", **given)
        return [row.values["mine"] for row in result.series]

    calls = edit(1)
    first = values()
    measured = len(calls)
    calls = edit(1)
    assert values() == first
    assert (len(calls), said(caplog)) == (0, [])
    calls = edit(2)
    assert values() == [2 * one for one in first]
    told = "the code of measure mine has changed: measuring every network again"
    assert (len(calls), said(caplog)) == (measured, [told])
    calls = edit(2)
    assert values() == [2 * one for one in first]
    assert (len(calls), said(caplog)) == (0, [])


@pytest.mark.parametrize("finished", [True, False])
def test_a_search_by_what_was_edited_is_refused_and_left_as_it_is(
    edit: Edit, tmp_path: Path, finished: bool
) -> None:
    given = {"space": "asvit-tiny", "proxies": ("mine",), "recheck": 1, **SMALL}
    edit(1)
    first = asvit.run_search(out=tmp_path / "run", steps=3, **given)
    edit(1)
    steps = 3 if finished else 5
    again = asvit.run_search(out=tmp_path / "run", steps=steps, **given)
    assert again.values["mine"] >= first.values["mine"]
    if not finished:
        (tmp_path / "run" / "result.json").unlink()
    before = (tmp_path / "run" / "study.journal").read_bytes()
    edit(2)
    with pytest.raises(ValueError, match=r"with other code of measure mine, .* --fresh"):
        asvit.run_search(out=tmp_path / "run", steps=steps, **given)
    assert (tmp_path / "run" / "study.journal").read_bytes() == before
    new = asvit.run_search(out=tmp_path / "run", steps=steps, fresh=True, **given)
    assert new.values["mine"] > again.values["mine"]


def test_a_correlation_measures_networks_of_an_edited_space_again(
    edit_space: Edit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = [f"mine:{side}" for side in (1, 2, 3, 4, 6, 8)]
    rows = [f'"{text}",32,{50 + place}' for place, text in enumerate([*mine, SEED])]
    lines = ["# num_classes: 10", "# target: top1 | invented | scratch"]
    table = tmp_path / "table.csv"
    table.write_text("\n".join([*lines, "architecture,image_size,top1", *rows]) + "\n")

    def params() -> tuple[float, ...]:
        result = asvit.run_correlation(table, proxies="params", out=tmp_path / "run", **SMALL)
        return result.values.measures["params"]

    edit_space(1)
    first = params()
    assert first[: len(mine)] == tuple(30 * side**2 for side in (1, 2, 3, 4, 6, 8))
    edit_space(1)
    assert (params(), said(caplog)) == (first, [])
    edit_space(2)
    second = params()
    assert second == (*(2 * each for each in first[: len(mine)]), first[-1])
    changed = f"the code of space mine has changed: measuring {len(mine)} architectures again"
    assert said(caplog) == [changed]
    edit_space(2)
    assert (params(), said(caplog)) == (second, [])


@pytest.mark.parametrize("finished", [True, False])
def test_a_search_of_an_edited_space_is_refused_and_left_as_it_is(
    edit_space: Edit, tmp_path: Path, finished: bool
) -> None:
    how = {"space": "mine", "proxies": ("params",), "recheck": 1, "out": tmp_path / "run", **SMALL}
    edit_space(1)
    asvit.run_search(steps=3, **how)
    edit_space(1)
    steps = 3 if finished else 4
    asvit.run_search(steps=steps, **how)
    if not finished:
        (tmp_path / "run" / "result.json").unlink()
    before = (tmp_path / "run" / "study.journal").read_bytes()
    edit_space(2)
    with pytest.raises(ValueError, match=r"with other code of space mine, .* --fresh"):
        asvit.run_search(steps=steps, **how)
    assert (tmp_path / "run" / "study.journal").read_bytes() == before
    asvit.run_search(steps=steps, fresh=True, **how)


def test_a_search_by_an_edited_controller_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    how = {"space": "asvit-tiny", "controller": "random", "proxies": ("params",), "recheck": 1}
    mine = CONTROLLERS["random"]
    assert not mine.source
    warnings = []
    for steps, digest in enumerate(("first", "first", "second", "second"), 3):
        monkeypatch.setitem(CONTROLLERS, "random", replace(mine, source=digest))
        result = asvit.run_search(steps=steps, out=tmp_path / "run", **how, **SMALL)
        warnings.append(caplog.text.count("the code of controller random has changed"))
    assert warnings == [0, 0, 1, 2]
    caplog.clear()
    monkeypatch.setitem(CONTROLLERS, "random", replace(mine, source="third"))
    monkeypatch.delattr(SearchAlgorithm, "execute")  # a finished one is shown as it is
    again = asvit.run_search(steps=6, out=tmp_path / "run", **how, **SMALL)
    assert (again.to_json(), caplog.text) == (result.to_json(), "")


def test_a_search_by_a_function_that_was_mended_goes_on_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    how = {"space": "asvit-tiny", "controller": "random", "out": tmp_path / "run", **SMALL}
    asvit.run_search(steps=3, evaluate=fake_evaluate, **how)
    asvit.run_search(steps=4, evaluate=partial(fake_evaluate), **how)
    names: dict[str, Any] = {"fake_evaluate": fake_evaluate}
    exec("def evaluate(text):\n    return fake_evaluate(text)", names)
    with pytest.raises(ValueError, match=r"was started with a function; give evaluate, .*fresh"):
        asvit.run_search(steps=5, **how)
    assert not caplog.text
    for steps in (5, 6):  # code without a file counts as the same
        result = asvit.run_search(steps=steps, evaluate=names["evaluate"], **how)
    assert caplog.text.count("the code of function evaluate has changed; earlier trials are") == 2
    assert asvit.run_search(steps=6, **how).to_json() == result.to_json()


def test_a_search_by_measures_does_not_go_on_by_a_function(tmp_path: Path) -> None:
    how = {"space": "asvit-tiny", "controller": "random", "proxies": ("params",), "recheck": 1}
    how |= {"steps": 3, "out": tmp_path / "run", **SMALL}
    result = asvit.run_search(**how)
    with pytest.raises(ValueError, match=r"started without a function; .* evaluate, .*--fresh"):
        asvit.run_search(evaluate=fake_evaluate, **how)
    assert asvit.run_search(**how).to_json() == result.to_json()


def test_a_scaling_in_an_edited_space_measures_again(
    edit: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = edit(1)
    how = {"architecture": SEED, "budget": "1.6M", "proxies": ("mine",), **SMALL}
    measured = []
    for digest in ("first", "first", "second", "second"):
        calls.clear()
        monkeypatch.setattr(SPACES["asvit"], "source", digest)
        asvit.run_scaling(out=tmp_path / "run", **how)
        measured.append(len(calls))
    whole = measured[0]
    assert measured == [whole, 0, whole, 0]
    assert said(caplog) == ["the code of space asvit has changed: measuring every network again"]


def test_a_table_of_an_edited_space_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_trainings(monkeypatch.setattr)
    how = {"preset": "quick", "space": "asvit", "device": "cpu", "out": tmp_path / "run"}
    for digest in ("first", "first"):
        monkeypatch.setattr(SPACES["asvit"], "source", digest)
        asvit.build_reference(n=6, **how)
    monkeypatch.setattr(SPACES["asvit"], "source", "second")
    with pytest.raises(ValueError, match=r"with other code of space asvit, .* --fresh"):
        asvit.build_reference(n=7, **how)


def test_a_worker_that_has_other_code_measures_nothing(edit: Edit, edit_space: Edit) -> None:
    import torch

    edit(1)
    images = {"images": torch.zeros(2, 3, 32, 32), "labels": None}
    shared = {"repeats": 1, "seed": 0, "points": 3, "radius": 1.0}
    context = {32: {**images, **shared}}
    work = measuring_work(context)
    arrays = work.arrays
    MeasurementWorker(work.settings, arrays, "cpu")
    edit(2)
    with pytest.raises(ValueError, match="the code of measure mine has changed since"):
        MeasurementWorker(work.settings, arrays, "cpu")
    edit(1)
    spaces = {**work.settings, "code": {**work.settings["code"], "space mine": "another"}}
    edit_space(1)
    with pytest.raises(ValueError, match="the code of space mine has changed since"):
        MeasurementWorker(spaces, arrays, "cpu")
    SPACES.pop("mine")
    PROXIES.pop("mine")  # one that is not asked for need not be known
    MeasurementWorker(work.settings, arrays, "cpu")
    for options, words in (
        ({"names": ["mine"]}, "unknown proxy 'mine'"),
        ({"architectures": [SEED, "mine:1,2"]}, "unknown prefix 'mine:'"),
    ):
        work = measuring_work(context, **options)
        with pytest.raises(ValueError, match=f"a worker does not know .*: {words}"):
            MeasurementWorker(work.settings, arrays, "cpu")
