"""What every reader of files promises: valid ones are read, others refused in one line, intact."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from pydantic.fields import FieldInfo

from asvit.core.results import RUNS, Result
from asvit.core.settings import (
    LARGEST,
    Settings,
    fields_of,
    option_of,
    plain_type,
)
from asvit.core.shared_settings import MeasuringSettings
from asvit.core.signatures import CallOptions
from asvit.executors import Workers
from asvit.export.settings import ExportSettings
from asvit.networks import Network
from asvit.runs.run_folder import RunOptions
from asvit.transfer.settings import TransferSettings
from tests.asvit.runs.stored_results import RIGHT as RIGHT_RESULTS
from tests.contracts.formats import Lines
from tests.contracts.readers import READERS, RIGHT_SETTINGS, Reader
from tests.hostile import refused_or

each = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk, as no test takes the power away."""
    monkeypatch.setattr("os.fsync", lambda _file: None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@cache
def valid(reader: Reader) -> bytes:
    """A valid file; every example begins with the same, as times are in some."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run" / reader.name
        path.parent.mkdir()
        reader.write(path)
        return path.read_bytes()


@pytest.fixture
def path(reader: Reader, tmp_path: Path) -> Path:
    """A valid file, and what lies beside it."""
    path = tmp_path / "run" / reader.name
    path.parent.mkdir()
    reader.write(path)
    return path


def taken(reader: Reader, path: Path, data: bytes) -> bool:
    """Whether ``data`` is read; then it is used as well, or refused after all in one line."""
    path.write_bytes(data)
    found = refused_or(lambda: reader.read(path))
    if found is None:
        assert path.read_bytes() == data
        return False
    refused_or(lambda: reader.use(found, path))
    return True


def refusal(reader: Reader, path: Path) -> str:
    """Why the file is not read."""
    if reader.tolerant:
        assert refused_or(lambda: reader.read(path)) is None
        return ""
    with pytest.raises((ValueError, OSError)) as caught:
        reader.read(path)
    return str(caught.value)


@each
def test_a_valid_file_is_read_and_used(reader: Reader, path: Path) -> None:
    found = reader.read(path)
    assert found is not None
    reader.use(found, path)


@each
def test_damage_is_refused(reader: Reader, path: Path) -> None:
    whole = valid(reader)
    for data in reader.format.damaged:
        if taken(reader, path, data):
            assert reader.foreign
        else:
            assert re.search(reader.refusal, refusal(reader, path))
        if isinstance(reader.format, Lines):  # before or behind right lines, too
            assert not taken(reader, path, whole + data)
            assert not taken(reader, path, data + whole)


# Everything is here


def below(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from below(kind)


def ours(base: type) -> set[type]:
    return {kind for kind in below(base) if kind.__module__.startswith("asvit.")}


def test_every_settings_result_and_journal_of_asvit_is_here() -> None:
    bases = {MeasuringSettings, TransferSettings}
    options = {*ours(RunOptions), RunOptions, CallOptions, Workers}  # which are not stored
    stored = {one for one in ours(Settings) if not one.__module__.startswith("asvit.cli.")}
    assert stored - bases - options == {type(one) for one in RIGHT_SETTINGS}
    results = {kind for kind in ours(Result) if not kind.__subclasses__()}
    assert results == set(RIGHT_RESULTS)
    assert {one.result_type for one in RUNS.values()} <= results


# Values of settings


def outside(field: FieldInfo, kind: type) -> list[Any]:
    """Values that the bounds of an option do not allow, or that are no such number at all."""
    if option_of(field).choices:
        return ["another"]
    if kind not in (int, float):
        return []
    beyond = {"above": 0, "at_least": -1, "at_most": 1, "below": 0}
    limits = [limit + beyond[name] for name, limit in option_of(field).bounds.items()]
    return ["1", True, [], math.nan, math.inf, -math.inf, 1.5 if kind is int else LARGEST, *limits]


@pytest.mark.parametrize("right", RIGHT_SETTINGS, ids=lambda right: type(right).__name__)
def test_a_value_outside_the_bounds_of_a_setting_is_named(right: Settings) -> None:
    kind, checked = type(right), 0
    for name, field in fields_of(kind).items():
        option = option_of(field)
        if option is None or option.convert is not None:
            continue
        for value in outside(field, plain_type(field.annotation)[0]):
            with pytest.raises(ValueError, match=name) as caught:
                replace(right, **{name: value})
            assert str(caught.value).isprintable()
            checked += 1
    assert checked > 5 or kind in (Network, ExportSettings)


# Seeds


def test_seeds_that_no_generator_takes_are_refused() -> None:
    seeded = [one for one in RIGHT_SETTINGS if "seed" in fields_of(type(one))]
    assert len(seeded) >= 7
    for right in seeded:
        bounds = option_of(fields_of(type(right))["seed"]).bounds
        assert bounds == {"at_least": 0, "at_most": 2**63 - 1}
        content = json.loads(json.dumps(right.to_json()))
        assert type(right).from_json({**content, "seed": 2**63 - 1}).to_json()["seed"] == 2**63 - 1
        for seed in (2**63, 10**300, -1, 1.5, "1", True):
            with pytest.raises(ValueError, match=r"seed|'int' object"):
                type(right).from_json({**content, "seed": seed})
