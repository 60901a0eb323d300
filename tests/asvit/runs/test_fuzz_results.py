"""``result.json`` of every kind with anything in it: read and shown, or refused in one line."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from asvit.cli.correlate_tables import show_result as show_correlation
from asvit.cli.scale import show_result as show_scale
from asvit.cli.search import show_result as show_search
from asvit.cli.supernet_tables import show_evolution, show_supernet
from asvit.cli.train_tables import show_result as show_training
from asvit.growth import ScaleSettings
from asvit.networks import Network
from asvit.reference.findings import Finding
from asvit.reference.settings import CorrelationSettings, Question
from asvit.reference.statistics import Band, Correlation, Interval
from asvit.reference.table import Target
from asvit.reference.values import Values
from asvit.report.run import read_object
from asvit.runs import newest_run
from asvit.runs.correlation.result import CorrelationResult
from asvit.runs.result_file import StoredResult
from asvit.runs.scale_result import ScaleResult
from asvit.runs.search_result import SearchResult
from asvit.runs.supernets.evolution_result import (
    Compared,
    EvolutionResult,
    Generation,
    Winner,
)
from asvit.runs.supernets.result import Spread, SupernetResult
from asvit.runs.training.result import TrainResult
from asvit.runs.training.source import find_architecture
from asvit.search import SearchSettings, TrialRow
from asvit.search.supernet_settings import EvolutionSettings
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from asvit.training.supernets.settings import SupernetSettings
from scaling import Row
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or

MANY = settings(
    FIXED, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HERE = Path("run")
SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
PATH = "psvit1d:bbs---|bs----|bb----|3,4,9|192"
ORIGIN: Mapping[str, Any] = {
    "images": {"source": "fractals", "digest": "12"},
    "device": "cpu",
    "versions": {"asvit": "0.1"},
    "command": "asvit",
}
INTERVAL = [0.1, 0.9]
TOLD = {
    **{"measure": "macs", "better": "higher", "n": 9, "dropped": 0, "tau": 0.5},
    **{"tau_interval": INTERVAL, "difference": None, "difference_interval": [None, None]},
    "reason": "",
}
RELIABILITY = {
    **{"reference": "mine", "digest": "12", "target": "top1", "description": "of nine"},
    **{"noise_ceiling": 0.9, "rows": 9, "folder": "correlate-mine-12"},
    **{"measures": [TOLD], "best_count": TOLD},
}


def trial(number: int) -> TrialRow:
    values = {"length_distortion": 2.0, "ntk_condition_number": math.nan}
    return TrialRow(number, SEED, 10, 20, values, 0.1, 9.0, "failed", "singular")


def step(number: int) -> Row:
    values = {"length_distortion": 1.0 + number}
    kind, size = ("start", 10**6) if not number else ("depth", 10**6 * (number + 1))
    rank = number or None
    return Row(number, kind, SEED, (1, 1, 1, 1), 16, 16, size, 2 * size, values, rank, True, "")


def finding(measure: str) -> Finding:
    interval = Interval(*INTERVAL)
    found = Correlation(
        9, 0, 0.5, interval, 0.6, 0.5, 0.1, "macs", 0.1, interval,
        (Band("params", 1.0, 2.0, 3, 0.5),), {1: 0.1, 5: 0.0, 10: 0.0}, "",
    )  # fmt: skip
    return Finding(measure, "top1", "higher", measure == "macs", found)


def epoch(number: int) -> EpochRow:
    return EpochRow(number, "", 0.1, 2.0, 2.0, 10.0, 50.0, None, None, None, 99.0, 1.5)


VALUES = Values((SEED,) * 5, (32,) * 5, {"top1": (1.0,) * 5}, {"macs": (9.0,) * 5}, ("",) * 5)
SPREAD = Spread(4, 1.0, 2.0, 3.0)
MEASURES = ("length_distortion", "ntk_condition_number")

Show = Callable[[Any, Console], None]
RIGHT: Mapping[type[StoredResult], tuple[StoredResult, Show]] = {
    type(result): (result, show)
    for result, show in (
        (
            SearchResult(
                HERE, SEED, 10, 20, dict.fromkeys(MEASURES, 1.0), "", 2, 1, (9.0, math.nan), 3.5,
                [trial(0), trial(1)], SearchSettings(steps=2, proxies=MEASURES), ORIGIN,
                "asvit scale", RELIABILITY,
            ),
            show_search,
        ),
        (
            ScaleResult(
                HERE, "asvit", [step(0), step(1), step(2)], [step(0), step(1), step(2)], "", 2.0,
                ScaleSettings(SEED, budgets=("1M", "2M")), {"seed_run": None, **ORIGIN},
                "asvit train", RELIABILITY,
            ),
            show_scale,
        ),
        (
            CorrelationResult(
                HERE, "mine", "12", [Target("top1", "of nine", "scratch", 0.9)], 5,
                {"not drawn": 4}, [finding("macs"), finding("length_distortion")], VALUES, 9.0,
                CorrelationSettings(image_size=32), Question(), ORIGIN,
            ),
            show_correlation,
        ),
        (
            SupernetResult(
                HERE, [2.0, 1.0], 10, SPREAD, 1000, 5.0, SupernetSettings(), ORIGIN, "asvit"
            ),
            show_supernet,
        ),
        (
            EvolutionResult(
                HERE, "psvit-1d", Winner(PATH, "bbs---|bs----|bb----", 10, 20, 50.0, 49.0),
                [Generation(1, 4, 50.0, 40.0, 50.0)], Compared(SPREAD, SPREAD),
                Compared(SPREAD, SPREAD), 30, 4, "", {"accuracy": 60.0, "loss": 1.0,
                "seconds": 2.0, "reason": ""}, 3.0, EvolutionSettings(max_macs=30),
                {"supernet": {"folder": "s", "digest": "12"}, **ORIGIN}, "asvit train",
            ),
            show_evolution,
        ),
        (
            TrainResult(
                HERE, Network(SEED, 32, 10), 10, 20, [epoch(1), epoch(2)], 1, [], None,
                {"a/1.png": 2}, 3.0, TrainSettings(SEED, epochs=2, warmup_epochs=0),
                {"found_by": None, "processes": 1, **ORIGIN}, "asvit export",
            ),
            show_training,
        ),
    )
}  # fmt: skip

each = pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)


def content_of(kind: type[StoredResult]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(RIGHT[kind][0].to_json(), allow_nan=False))
    return content


def check(kind: type[StoredResult], folder: Path, data: bytes) -> bool:
    """Whether a file is taken: then it can be shown, and written again."""
    path = folder / "result.json"
    path.write_bytes(data)
    (folder / "values.csv").write_text(VALUES.to_csv())
    found = refused_or(lambda: kind.read(path))
    if found is None:
        return False
    screen = Console(file=io.StringIO(), width=200)
    RIGHT[kind][1](found, screen)
    json.dumps(found.to_json(), allow_nan=False)
    return True


def test_every_kind_of_result_is_here() -> None:
    ours = {kind for kind in StoredResult.__subclasses__() if kind.__module__.startswith("asvit.")}
    assert ours == set(RIGHT)


@each
def test_right_ones_come_back(kind: type[StoredResult], tmp_path: Path) -> None:
    assert check(kind, tmp_path, json.dumps(content_of(kind)).encode())
    assert kind.read(tmp_path / "result.json").to_json() == RIGHT[kind][0].to_json()


@each
@MANY
@given(data=st.data())
def test_any_content(kind: type[StoredResult], tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(changed_json(content_of(kind)))
    check(kind, tmp_path, json.dumps(content).encode())


@each
@MANY
@given(data=st.data())
def test_any_bytes(kind: type[StoredResult], tmp_path: Path, data: st.DataObject) -> None:
    check(kind, tmp_path, data.draw(changed_bytes(json.dumps(content_of(kind)).encode())))


#: Each of them in each place, as a file that somebody changed by hand may have it.
ODD: tuple[Any, ...] = (None, True, 0, 10**400, 1e300, "x\x1b[2J\n", [], [None], {"a": []})


@each
def test_odd_values_in_every_place(kind: type[StoredResult], tmp_path: Path) -> None:
    content = content_of(kind)
    for name in content:
        for odd in ODD:
            check(kind, tmp_path, json.dumps({**content, name: odd}).encode())
        check(kind, tmp_path, json.dumps({**content, name: [content[name]]}).encode())


DAMAGED = (
    *(b"", b"\xff\xfe", b"nul", b"[]", b"3", b'"x"', b"{}", b"NaN", b"\0" * 4096),
    *(b"[" * 10**5, b'{"a":' * 10**5, b'{"kind":' + b"9" * 10**5 + b"}", b'{"kind": 1e999}'),
    *(b'{"kind": [], "schema_version": 1}', b'{"kind": {}}', b'{"kind": "' + b"x" * 10**6),
    b'{"kind": "search", "seed_architecture": ["x"]}',
    b'{"kind": "scale", "architecture": "4,2,2|2,1,2|2,1,2|2,1,2|16", "steps": 3}',
    b'{"kind": "scale", "architecture": "4,2,2|2,1,2|2,1,2|2,1,2|16", "steps": [[]]}',
)


@each
def test_damaged_files(kind: type[StoredResult], tmp_path: Path) -> None:
    for data in DAMAGED:
        assert not check(kind, tmp_path, data)


ENDS = {"search": "seed_architecture", "evolution": "architecture", "training": "architecture"}


def looked_at(folder: Path, data: bytes) -> None:
    """Where runs look into the folders of others, of whatever kind these are."""
    path = folder / "result.json"
    path.write_bytes(data)
    found = refused_or(lambda: find_architecture(str(folder)))
    if found is not None:
        json.dumps(found.by, allow_nan=False)
    refused_or(lambda: read_object(path))
    refused_or(lambda: newest_run("search", folder.parent))


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:40]))
def test_damaged_files_of_others(data: bytes, tmp_path: Path) -> None:
    looked_at(tmp_path, data)


@MANY
@given(data=st.data())
def test_files_of_others(tmp_path: Path, data: st.DataObject) -> None:
    kind, name = data.draw(st.sampled_from([*ENDS.items(), ("scale", "architecture")]))
    right = {"kind": kind, name: SEED, "length_distortion": 1.0, "ntk_condition_number": None}
    if kind == "scale":
        right["steps"] = [{"length_distortion": 1.0}]
    looked_at(tmp_path, json.dumps(data.draw(changed_json(right))).encode())
