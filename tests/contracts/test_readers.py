"""What every reader of files promises: valid ones are read, others refused in one line, intact."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.core.journal import Journal
from asvit.core.measuring_settings import MeasuringSettings
from asvit.core.results import Result
from asvit.core.settings import (
    LARGEST,
    Option,
    Settings,
    fields_of,
    hints_of,
    option_of,
    plain_type,
)
from asvit.executors import Workers
from asvit.export.settings import ExportSettings
from asvit.networks import Network
from asvit.runs.run import RUNS
from asvit.search.settings import SearchSettings
from asvit.training.short_settings import ShortTrainingSettings
from asvit.transfer.settings import TransferSettings
from tests.asvit.runs.stored_results import RIGHT as RIGHT_RESULTS
from tests.contracts.formats import Lines, Table
from tests.contracts.readers import JOURNALS, KIND, READERS, RIGHT_SETTINGS, Reader
from tests.hostile import FIXED, PUT, changed_bytes, changed_json, flipped, refused_or, texts

SOME = settings(FIXED, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
@SOME
@given(data=st.data())
def test_any_bytes(reader: Reader, path: Path, data: st.DataObject) -> None:
    changed = data.draw(changed_bytes(valid(reader)))
    taken(reader, path, changed)
    taken(reader, path, reader.format.sealed(changed))


hold_json = [name for name, one in READERS.items() if not isinstance(one.format, Table)]
with_json = pytest.mark.parametrize("reader", [READERS[n] for n in hold_json], ids=hold_json)


@with_json
@SOME
@given(data=st.data())
def test_any_content(reader: Reader, path: Path, data: st.DataObject) -> None:
    parts = reader.format.parts(valid(reader))
    at = data.draw(st.sampled_from([at for at, part in enumerate(parts) if part]))
    parts[at] = data.draw(changed_json(parts[at]))
    taken(reader, path, reader.format.joined(valid(reader), parts))


#: What a value may be in a file that somebody changed by hand.
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**400, 1e300, "", "x\x1b[2J\n", "x" * 5_000, "5"),
    *([], [None], ["x"], [["a"]], {}, {"a": []}, {"source": 1, "digest": 1}),
)


@with_json
def test_odd_values_in_every_place_and_none_there(reader: Reader, path: Path) -> None:
    """Every place meets some of the values, and every value some of the places."""
    parts, turn = reader.format.parts(valid(reader)), count()
    for at, part in enumerate(parts):
        before, after = parts[:at], parts[at + 1 :]
        for name in part:
            for odd in (*ODD[next(turn) % 4 :: 4], [part[name]]):
                changed = [*before, {**part, name: odd}, *after]
                taken(reader, path, reader.format.joined(valid(reader), changed))
            left = {other: value for other, value in part.items() if other != name}
            taken(reader, path, reader.format.joined(valid(reader), [*before, left, *after]))


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


summed = [name for name, one in READERS.items() if one.format.summed and not one.tolerant]


@pytest.mark.parametrize("reader", [READERS[name] for name in summed], ids=summed)
def test_a_flipped_bit_is_noticed(reader: Reader, path: Path) -> None:
    whole = valid(reader)
    last = len(whole) - 1  # without a line end, the last record of a journal is cut off
    for place in range(0, 8 * last, 8 * last // 60 | 1):
        assert not taken(reader, path, flipped(whole, place))


of_journals = [name for name in summed if name in JOURNALS]


@pytest.mark.parametrize("reader", [JOURNALS[name] for name in of_journals], ids=of_journals)
def test_a_line_of_a_journal_that_is_missing_or_elsewhere_is_named(
    reader: Reader, path: Path
) -> None:
    first, second, *rest = valid(reader).splitlines(keepends=True)
    for lines, number in (([second, *rest], 1), ([first, first, second, *rest], 2)):
        path.write_bytes(b"".join(lines))
        assert f"{reader.name}, line {number} is not" in refusal(reader, path)


@each
def test_a_missing_file_or_a_folder_in_its_place_is_no_crash(reader: Reader, path: Path) -> None:
    path.unlink()
    refused_or(lambda: reader.read(path))
    path.unlink(missing_ok=True)  # what opens a journal starts one
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    path.mkdir()
    assert refused_or(lambda: reader.read(path)) is None


# Links, pipes and devices in the place of a run's files


OF_RUNS = {**{name: one for name, one in READERS.items() if one.of_run}, "kind of a run": KIND}


@pytest.mark.parametrize("reader", OF_RUNS.values(), ids=OF_RUNS)
def test_links_and_devices_in_run_folders_are_not_opened(
    reader: Reader, path: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(data := valid(reader))
    for name, put in PUT.items():
        path.unlink()
        put(path, mine)
        assert f"{reader.name} is {name.split(' to ')[0]}" in refusal(reader, path)
        assert mine.read_bytes() == data


# Everything is here


def below(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from below(kind)


def ours(base: type) -> set[type]:
    return {kind for kind in below(base) if kind.__module__.startswith("asvit.")}


def test_every_settings_result_and_journal_of_asvit_is_here() -> None:
    bases = {MeasuringSettings, SearchSettings, ShortTrainingSettings, TransferSettings}
    assert ours(Settings) - {*bases, Workers} == {type(one) for one in RIGHT_SETTINGS}
    results = {kind for kind in ours(Result) if not kind.__subclasses__()}
    assert results == set(RIGHT_RESULTS)
    assert ours(Journal) <= {one.read for one in JOURNALS.values()}
    assert {one.result_type for one in RUNS.values()} <= results


# Texts above and inside reference tables


ESCAPES = "\x1b]0;x\x07\x9b2J\u202e"
NASTY = (ESCAPES, "\x00", "x" * 5_000, "\r", "\u2028", '"', "nan", "1e999", "-1", "9" * 5_000, "٣")
TABLES = {name: one for name, one in READERS.items() if "reference table" in name[:16]}


@pytest.mark.parametrize("reader", TABLES.values(), ids=TABLES)
def test_odd_words_in_every_cell_and_comment_of_a_table(reader: Reader, path: Path) -> None:
    whole = valid(reader).decode()
    words = list(re.finditer(r"[^,\n|#:\" ]+(?= ?[,\n|:\"])", whole))
    for word in words[:: max(1, len(words) // 25)]:
        for odd in NASTY:
            changed = whole[: word.start()] + odd + whole[word.end() :]
            taken(reader, path, changed.encode())
    for comment in ("target", "noise_ceiling", "default_target", "num_classes", "image_size", "x"):
        for odd in NASTY:
            for form in ("{}", "{} | a | scratch", "a | {} | scratch", "{} | 0.5"):
                taken(reader, path, f"# {comment}: {form.format(odd)}\n{whole}".encode())


@pytest.mark.parametrize("reader", TABLES.values(), ids=TABLES)
@SOME
@given(data=st.data())
def test_any_text_of_a_table(reader: Reader, path: Path, data: st.DataObject) -> None:
    text = data.draw(texts(valid(reader).decode()))
    taken(reader, path, text.encode("utf-8", "surrogatepass"))


# Values of settings


def outside(option: Option, kind: type) -> list[Any]:
    """Values that the bounds of an option do not allow, or that are no such number at all."""
    if option.choices:
        return ["another"]
    if kind not in (int, float):
        return []
    ends = [(option.above, 0), (option.at_least, -1), (option.at_most, 1)]
    limits = [end + by for end, by in ends if end is not None]
    return ["1", True, [], math.nan, math.inf, -math.inf, 1.5 if kind is int else LARGEST, *limits]


@pytest.mark.parametrize("right", RIGHT_SETTINGS, ids=lambda right: type(right).__name__)
def test_a_value_outside_the_bounds_of_a_setting_is_named(right: Settings) -> None:
    kind, checked = type(right), 0
    for name, field in fields_of(kind).items():
        option = option_of(field)
        if option is None or option.convert is not None:
            continue
        for value in outside(option, plain_type(hints_of(kind)[name])[0]):
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
        option = option_of(fields_of(type(right))["seed"])
        assert (option.at_least, option.at_most) == (0, 2**63 - 1)
        content = json.loads(json.dumps(right.to_json()))
        assert type(right).from_json({**content, "seed": 2**63 - 1}).to_json()["seed"] == 2**63 - 1
        for seed in (2**63, 10**300, -1, 1.5, "1", True):
            with pytest.raises(ValueError, match=r"seed|'int' object"):
                type(right).from_json({**content, "seed": seed})
