"""Measures of one's own whose code is edited between two calls: no stale score is served."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import asvit
from asvit.runs import lifecycle
from asvit.runs.measurement_worker import MeasurementWorker, measuring_work
from proxies import PROXIES
from tests.asvit.runs.fakes import ARCHITECTURES, SEED, write_table

CODE = """\
import proxies
from proxies.registry import register

CALLS = []

def value(model, inputs):
    CALLS.append(model)
    return float({factor} * sum(p.numel() for p in model.parameters()))

register(proxies.Proxy(name="mine", description="d", better="higher", paper="none", value=value))
"""
SMALL: dict[str, Any] = {
    "data": "gaussian", "image_size": 32, "images": 2, "points": 3, "repeats": 1,
}  # fmt: skip

Edit = Callable[[int], list[Any]]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Write the measure ``mine`` with a factor, and import it as a new process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lifecycle, "write_report", lambda *_: None)

    def written(factor: int) -> list[Any]:
        path = tmp_path / "my_measure.py"
        path.write_text(CODE.format(factor=factor))
        PROXIES.pop("mine", None)
        sys.modules.pop("my_measure", None)
        importlib.invalidate_caches()
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
        return importlib.import_module("my_measure").CALLS

    yield written
    PROXIES.pop("mine", None)
    sys.modules.pop("my_measure", None)


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


def test_a_worker_that_has_other_code_measures_nothing(edit: Edit) -> None:
    import torch

    edit(1)
    images = {"images": torch.zeros(2, 3, 32, 32), "labels": None}
    shared = {"repeats": 1, "seed": 0, "points": 3, "radius": 1.0}
    context = {32: {**images, **shared}}
    work = measuring_work(context)
    arrays = work.arrays
    MeasurementWorker(work.settings, arrays, "cpu")
    edit(2)
    with pytest.raises(ValueError, match="the code of measure 'mine' has changed since"):
        MeasurementWorker(work.settings, arrays, "cpu")
    PROXIES.pop("mine")  # one that is not asked for need not be known
    MeasurementWorker(work.settings, arrays, "cpu")
    for options, words in (
        ({"names": ["mine"]}, "unknown proxy 'mine'"),
        ({"architecture": "mine:1,2"}, "architecture text 'mine:1,2' has 1 part"),
    ):
        work = measuring_work(context, **options)
        with pytest.raises(ValueError, match=f"a worker does not know .*: {words}"):
            MeasurementWorker(work.settings, arrays, "cpu")
