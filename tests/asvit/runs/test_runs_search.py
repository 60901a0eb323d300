import json
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from asvit.core.progress import Progress
from asvit.core.run_files import REPORT, figure_files
from asvit.data import load_images
from asvit.runs import reporting
from asvit.runs.search import SEARCH, run_search
from asvit.search import CONTROLLERS, Measurement, read_trials
from asvit.search.conclusion import picked
from asvit.search.result import Entropy, SearchResult
from asvit.spaces import build, cost, load_space
from proxies import get_proxy, measure
from proxies.evaluation import seed_for
from scaling import Budget
from tests.asvit.runs.fakes import fake_evaluate

QUICK: dict[str, Any] = {"space": "asvit-tiny", "steps": 6}
DESIGN_KEYS = {
    "schema_version", "space", "seed_architecture", "params", "macs", "length_distortion",
    "ntk_condition_number", "steps", "entropy", "wall_seconds", "settings",
}  # fmt: skip


def search(out: Path | None = None, **settings: Any) -> SearchResult:
    return run_search(out=out, **{"evaluate": fake_evaluate, **QUICK, **settings})


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "report" not in request.node.name:
        monkeypatch.setattr(reporting, "write_report", lambda *_: None)


@pytest.mark.parametrize("controller", sorted({*CONTROLLERS} - {"predictor"}))
def test_a_run_folder_holds_the_result(tmp_path: Path, controller: str) -> None:
    result = search(tmp_path / "run", controller=controller)
    content = json.loads(
        (tmp_path / "run" / "result.json").read_text(), parse_constant=pytest.fail
    )
    assert content.keys() >= DESIGN_KEYS
    assert content["schema_version"] == 1
    assert content["kind"] == "search"
    assert content["settings"] == result.settings.to_json()
    assert content["versions"].keys() == {*("asvit", "python", "torch", "timm", "numpy", "optuna")}
    rows = read_trials(tmp_path / "run" / "trials.csv")
    assert [row.number for row in rows] == list(range(6))
    assert result.steps == len(rows)
    load_space("asvit-tiny").parse(result.seed_architecture)
    expected = fake_evaluate(result.seed_architecture)
    assert (result.params, result.macs) == (expected.params, expected.macs)
    assert {row.architecture for row in result.front} <= {row.architecture for row in rows}


SMALL: dict[str, Any] = {
    "data": "gaussian", "image_size": 32, "images": 4, "repeats": 1, "points": 3, "recheck": 2,
}  # fmt: skip


def test_finalists_are_measured_again_on_other_networks(tmp_path: Path) -> None:
    told: list[Progress] = []
    result = search(tmp_path, evaluate=None, progress=told.append, **{**SMALL, "steps": 3})
    assert {one.after for one in told if one.unit == "step"} == {4 * 2}  # in its time to the end
    assert result.finalists[0].likeliest
    for one in result.finalists[:2]:
        fresh = measure(
            lambda text=one.architecture: build(text, 32, 1000),
            result.settings.proxies,
            key=one.architecture,
            repeats=2,
            seed=seed_for(0, "measured again"),
            images=load_images("gaussian", count=4, image_size=32, seed=0).pixels,
            points=3,
        )
        assert one.again == {name: score.value for name, score in fresh.items()}
        assert one.again != one.values
    better = {name: get_proxy(name).better for name in result.settings.proxies}
    again = picked(result.finalists, better, "measured")
    assert (result.seed_architecture, result.values) == (again.architecture, again.values)
    assert SearchResult.read(tmp_path / "result.json").to_json() == result.to_json()


def test_the_entropy_is_that_of_the_first_and_the_last_trial(tmp_path: Path) -> None:
    result = search(tmp_path)
    rows = read_trials(tmp_path / "trials.csv")
    assert result.entropy == Entropy(rows[0].entropy, rows[-1].entropy)
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["entropy"] == {"first": rows[0].entropy, "last": rows[-1].entropy}


def test_the_next_command_and_this_one_can_be_pasted(tmp_path: Path) -> None:
    result = search(tmp_path / "my run", proxies=["length_distortion"], seed=7)
    budget = Budget("params", round(float(f"{10 * result.params:.2g}")))
    assert result.next_command == (
        f"asvit scale --arch '{result.seed_architecture}' --budget {budget} "
        "--proxy length_distortion --seed 7"
    )
    assert result.provenance["command"] == (
        "asvit search --space asvit-tiny --proxy length_distortion --steps 6 --seed 7 "
        f"--out '{tmp_path}/my run'"
    )


def test_the_table_is_there_from_the_first_step_and_whole_when_going_on(tmp_path: Path) -> None:
    lengths = []

    def look(text: str) -> Measurement:
        path = tmp_path / "trials.csv"
        lengths.append(len(read_trials(path)) if path.exists() else None)
        return fake_evaluate(text)

    search(tmp_path, steps=5, evaluate=look, controller="random", space="asvit")
    assert lengths[:3] == [None, 1, 1]
    (tmp_path / "trials.csv").unlink()  # or behind the study, after a kill
    search(tmp_path, steps=7, evaluate=look, controller="random", space="asvit")
    assert lengths[5:] == [5, 5]


def changed(**fields: Any) -> Callable[[], Any]:
    """A function that gives a good measurement but for these fields."""
    good = fake_evaluate("4,8,2|2,4,2|2,2,2|2,1,2|16")
    return lambda: replace(good, **fields)


def length(value: object) -> Callable[[], Any]:
    return changed(values={"length_distortion": value, "ntk_condition_number": 2.0}, reasons={})


#: What a function of the user's does for an architecture, and why that has failed.
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "key": (lambda: {}["x"], "KeyError: 'x' (test_runs_search.py:"),
    "zero": (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    "exit": (lambda: sys.exit(0), "SystemExit: 0"),
    "stop": (lambda: next(iter(())), "StopIteration"),
    "memory": (lambda: bytearray(2**62), "MemoryError"),
    "nothing": (lambda: None, "'NoneType' object has no attribute 'params'"),
    "number": (lambda: 3.5, "'float' object has no attribute 'params'"),
    "no value": (changed(values={}), "ntk_condition_number: KeyError: 'length_distortion'"),
    "no mapping": (changed(values=3.0), "TypeError"),
    "no reasons": (changed(reasons=None), "AttributeError"),
    "size of a kind": (changed(macs=1.5), "TypeError: 'float' object cannot be interpreted"),
    "large": (length(1e308), "length_distortion: the value 1e+308 is too large to be averaged"),
    "small": (length(-1e308), "the value -1e+308 is too large to be averaged"),
    "infinite": (length(math.inf), "length_distortion: the value is infinite"),
    "nan": (length(math.nan), "length_distortion: the value is nan"),
    "text": (length("large"), "length_distortion: could not convert string to float: 'large'"),
    "none": (length(None), "TypeError"),
    "complex": (length(1j), "TypeError"),
    "shape": (length(torch.ones(2)), "converted to"),
    "digits": (length(10**400), "OverflowError"),
}


# Every third architecture; all, which end the search, in two ways.
@pytest.mark.parametrize(
    ("mistake", "every"), [*((mistake, 3) for mistake in MISTAKES), ("key", 1), ("nan", 1)]
)
def test_a_function_of_the_users_may_fail_in_any_way(
    tmp_path: Path, mistake: str, every: int
) -> None:
    fails, told = MISTAKES[mistake]
    asked: list[str] = []

    def evaluate(text: str) -> Measurement:
        asked.append(text)
        good = Measurement(3, 5, {"length_distortion": 2.0, "ntk_condition_number": 1.0}, {})
        made: Measurement = good if len(asked) % every else fails()
        return made

    given: dict[str, Any] = {"evaluate": evaluate, "controller": "random", "space": "asvit"}
    if every == 1:
        with pytest.raises(ValueError, match="all of the first 6 steps failed") as caught:
            search(tmp_path, **given)
        assert told in str(caught.value)
        assert str(caught.value).endswith("give --out for a new folder or --fresh to start over")
    else:
        assert search(tmp_path, **given).failures == 2
    for _ in range(2):  # as it was written, and as the journal gives it back
        failed = [row for row in read_trials(tmp_path / "trials.csv") if row.state == "failed"]
        assert len(failed) == 6 // every
        assert all(told in row.reason for row in failed)
        (tmp_path / "trials.csv").unlink()
        with suppress(ValueError):
            search(tmp_path, **given)
    assert len(asked) == len(set(asked)) == 6


def test_real_networks_end_in_a_report(tmp_path: Path) -> None:
    settings = {"image_size": 32, "repeats": 1, "images": 2, "points": 3, "data": "gaussian"}
    result = search(tmp_path / "run", evaluate=None, device="cpu", **settings)
    assert result.length_distortion > 0
    assert result.ntk_condition_number > 1
    assert result.failures == 0
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert made == {
        ".kind", ".lock", "run.jsonl", "study.journal", "trials.csv", "result.json", REPORT,
        *figure_files(SEARCH.files.figures),
    }  # fmt: skip
    rows = read_trials(tmp_path / "run" / "trials.csv")
    size = cost(rows[0].architecture, image_size=32)
    assert (rows[0].params, rows[0].macs) == (size.params, size.macs)
    assert search(tmp_path / "run", evaluate=None, device="cpu", **settings).steps == 6
