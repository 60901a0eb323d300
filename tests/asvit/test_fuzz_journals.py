"""The journals of runs with anything in a line: read as meant, or refused in one line."""

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.core.settings import check_same_device, check_same_images
from asvit.reference.scores import ScoreJournal, table_id
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable, Target
from asvit.search.supernet_journal import Retrained
from proxies import Score
from tests.asvit import test_run_journals
from tests.asvit.test_run_journals import IMAGES, SCORE, Kind
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or

MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
FAILED = Score(value=float("nan"), std=float("nan"), values=(), better="higher", reason="singular")
TABLE = ReferenceTable(
    "mine", Path("mine.csv"), "12" * 32, {}, 10, (SEED,), (32,), None, None,
    {"top1": Target("top1", "", "scratch")}, {"top1": (50.0,)}, "top1",
)  # fmt: skip


def add_scores(journal: ScoreJournal, at: int) -> None:
    journal.add_images(32, IMAGES)
    journal.add(SEED if at == 1 else f"{SEED}{at}", {"x": SCORE, "y": FAILED}, 1.5)


def looked_up(journal: ScoreJournal, _at: int) -> bool:
    journal.check_table(TABLE)
    check_same_images(Path(), journal.images_of.get(32), IMAGES)
    return not journal.missing(SEED, ["x", "y"], failed=True)


KINDS: Mapping[str, Kind] = {
    **test_run_journals.KINDS,
    "correlation": Kind(
        ScoreJournal,
        CorrelationSettings(),
        {"table": table_id(TABLE), "device": "cpu"},
        add_scores,
        looked_up,
        "a correlation",
    ),
}
#: What else a run writes, and what it does with the values.
MORE: Mapping[str, Callable[[Any], object]] = {
    "evolution": lambda journal: journal.add_retrained(Retrained(50.0, None, 1.0, ""))
}
USED: Mapping[str, Callable[[Any], object]] = {
    "reference table": lambda journal: sum(
        outcome.accuracy + outcome.loss + outcome.seconds for outcome in journal.outcomes.values()
    ),
    "evolution": lambda journal: journal.retrained and len(journal.retrained.reason),
}
each = pytest.mark.parametrize("name", KINDS)


def nothing(_journal: object) -> None: ...


@functools.cache  # times are in it, and every example must begin with the same
def right(name: str) -> bytes:
    """The content of a journal of this kind."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        journal = kind.journal(path)
        journal.start(kind.settings, **kind.values)
        kind.add(journal, 1)
        MORE.get(name, nothing)(journal)
        return path.read_bytes()


def go_on(name: str, journal: Any) -> None:
    """Do what a run does with the journal that it finds."""
    kind = KINDS[name]
    check_same_device(Path(), journal.device, "cpu")
    if "images" in kind.values:
        check_same_images(Path(), journal.images, IMAGES)
    kind.has(journal, 1)
    USED.get(name, nothing)(journal)
    journal.start(kind.settings, **kind.values)
    kind.add(journal, 2)


def check(name: str, folder: Path, data: bytes) -> bool:
    """Whether a journal is taken: then its run can go on with it."""
    path = folder / "journal.jsonl"
    path.write_bytes(data)
    journal = refused_or(lambda: KINDS[name].journal(path))
    if journal is None:
        assert path.read_bytes() == data  # nothing was changed
        return False
    refused_or(lambda: go_on(name, journal))
    assert KINDS[name].journal(path) is not None  # what the run wrote can be read again
    return True


@each
def test_right_ones_are_taken(name: str, tmp_path: Path) -> None:
    assert check(name, tmp_path, right(name))
    (tmp_path / "journal.jsonl").write_bytes(right(name))
    go_on(name, KINDS[name].journal(tmp_path / "journal.jsonl"))


@each
def test_one_that_is_cut_anywhere_has_its_whole_records(name: str, tmp_path: Path) -> None:
    path, content = tmp_path / "journal.jsonl", right(name)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        journal = KINDS[name].journal(path)
        whole = content[: content[:length].rfind(b"\n") + 1]
        assert path.read_bytes() == whole
        assert (journal.settings is not None) == bool(whole)


@each
@MANY
@given(data=st.data())
def test_any_record(name: str, tmp_path: Path, data: st.DataObject) -> None:
    lines = right(name).splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    changed: Any = data.draw(changed_json(json.loads(lines[at])))
    lines[at] = json.dumps(changed).encode() + b"\n"
    check(name, tmp_path, b"".join(lines))


@each
@MANY
@given(data=st.data())
def test_any_bytes(name: str, tmp_path: Path, data: st.DataObject) -> None:
    check(name, tmp_path, data.draw(changed_bytes(right(name))))


ODD: tuple[Any, ...] = (None, True, 0, "x\x1b[2J\n", [], [None], {"a": []}, 10**400, "5")


@each
def test_odd_values_in_every_place(name: str, tmp_path: Path) -> None:
    lines = right(name).splitlines(keepends=True)
    for at, line in enumerate(lines):
        record = json.loads(line)
        for key in record:
            for odd in ODD:
                changed = json.dumps({**record, key: odd}).encode() + b"\n"
                check(name, tmp_path, b"".join([*lines[:at], changed, *lines[at + 1 :]]))


@each
@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"[]", b"3", b"null", b"\xff\xfe", b"\0" * 512, b"{}", b"[" * 10**5),
        *(b'{"settings":' * 10**4, b'{"settings": {}}', b'{"settings": NaN}'),
        b'{"settings": 1, "kind": [], "schema_version": {}}',
        b'{"elapsed": ' + b"9" * 10**4 + b"}",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_damaged_lines(name: str, line: bytes, tmp_path: Path) -> None:
    whole = right(name)
    for data in (line + b"\n", whole + line + b"\n", line + b"\n" + whole):
        assert not check(name, tmp_path, data)


@each
def test_a_folder_in_the_place_of_a_journal(name: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    assert refused_or(lambda: KINDS[name].journal(tmp_path / "journal.jsonl")) is None
