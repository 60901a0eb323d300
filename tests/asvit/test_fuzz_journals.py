"""The journals of runs with anything in a line: read as meant, or refused in one line."""

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.core.settings import check_same_device, check_same_images, check_same_settings
from asvit.reference.scores import ScoreJournal, table_id
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable, Target
from asvit.runs.search import SearchRun
from asvit.search.journal import open_journal, read_journal
from asvit.search.settings import SearchSettings
from asvit.search.study import create_study, first_study, keep_start
from asvit.search.supernet_result import Retrained
from proxies import Score
from tests.asvit import test_run_journals
from tests.asvit.test_run_journals import IMAGES, SCORE, VERSIONS, Kind
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or, summed, unsummed

optuna.logging.set_verbosity(optuna.logging.WARNING)
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


class StudyJournal:
    """Optuna's journal of a search, used like those of the other kinds."""

    def __init__(self, path: Path) -> None:
        if path.is_file():
            data = path.read_bytes()
            refused_or(lambda: read_journal(path))
            assert path.read_bytes() == data  # looking changes nothing
        self.storage = open_journal(path)

    def __getattr__(self, name: str) -> Any:
        study = first_study(self.storage)
        return None if study is None else study.user_attrs.get(name)

    def start(self, wanted: SearchSettings, **values: Any) -> None:
        study = first_study(self.storage)
        if study is None:
            study = create_study(self.storage, "run", {"x": "higher", "y": "lower"})
            keep_start(study, study.user_attrs, wanted, **values)
        stored = SearchRun(settings=wanted, out=Path()).stored_settings(study)
        check_same_settings(Path(), stored, wanted, growing=["steps"])

    def add(self, number: int) -> None:
        study = first_study(self.storage)
        assert study is not None
        trial = study.ask()
        trial.suggest_categorical("a", [1, 2])
        trial.set_user_attr("params", number)
        study.tell(trial, [1.0] * len(study.directions))

    def has(self, number: int) -> bool:
        study = first_study(self.storage)
        return study is not None and any(trial.number >= number for trial in study.trials)


KINDS: Mapping[str, Kind] = {
    "search": Kind(
        StudyJournal,  # type: ignore[arg-type]
        SearchSettings(steps=2),
        {"images": IMAGES, "device": "cpu", "versions": VERSIONS},
        StudyJournal.add,
        StudyJournal.has,
        "a search",
    ),
    **test_run_journals.KINDS,
    "correlation": Kind(
        ScoreJournal,
        CorrelationSettings(),
        {"table": table_id(TABLE), "device": "cpu", "versions": VERSIONS},
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
    """The content of a journal of this kind, without check sums, which hide the rest."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        journal = kind.journal(path)
        journal.start(kind.settings, **kind.values)
        kind.add(journal, 1)
        MORE.get(name, nothing)(journal)
        return unsummed(path.read_bytes())


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
    data = summed(data)
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
    (tmp_path / "journal.jsonl").write_bytes(summed(right(name)))
    go_on(name, KINDS[name].journal(tmp_path / "journal.jsonl"))


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


ODD: tuple[Any, ...] = (None, True, 0, -1, "x\x1b[2J\n", [], [None], {"a": []}, 10**400, "5")


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
        *(b'{"op_code":' * 10**4, b'{"op_code": 4}', b'{"op_code": true}', b'{"op_code": -1}'),
        *(b'{"op_code": ' + b"9" * 10**4 + b"}", b'{"op_code": 1e999}'),
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


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd)[:20])
@pytest.mark.parametrize("kept", ["settings", "images", "device"])
def test_odd_things_kept_with_a_study(tmp_path: Path, kept: str, odd: Any) -> None:
    lines = right("search").splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if f'"{kept}":' in line.decode())
    for value in (
        odd,
        {"source": odd, "digest": odd},
        SearchSettings().to_json() | {"steps": odd},
    ):
        record = {**json.loads(lines[at]), "user_attr": {kept: value}}
        changed = json.dumps(record).encode() + b"\n"
        check("search", tmp_path, b"".join([*lines[:at], changed, *lines[at + 1 :]]))
