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
from optuna.storages import BaseStorage

from asvit.core.settings import check_same_device, check_same_images, check_same_settings
from asvit.growth.journal import GrowthJournal
from asvit.growth.settings import ScaleSettings
from asvit.reference.build import Outcome, Training, TrainingJournal
from asvit.reference.build_settings import BuildSettings
from asvit.reference.scores import ScoreJournal, table_id
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable, Target
from asvit.runs.search import SearchRun
from asvit.search.journal import open_journal, read_journal
from asvit.search.settings import SearchSettings
from asvit.search.study import STUDY, create_study, find_study, keep_start
from asvit.search.supernet_result import AccuracyJournal, Retrained
from asvit.search.supernet_settings import EvolutionSettings
from proxies import Score
from scaling.shapes import Shape
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or

MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
SUPERNET = {"folder": "s", "digest": "12"}
IMAGES = {"source": "fractals", "digest": "12" * 32}
SCORE = Score(value=1.5, std=0.1, values=(1.4, 1.6), better="lower")
FAILED = Score(value=float("nan"), std=float("nan"), values=(), better="higher", reason="singular")
TABLE = ReferenceTable(
    "mine", Path("mine.csv"), "12" * 32, {}, 10, (SEED,), (32,), None, None,
    {"top1": Target("top1", "", "scratch")}, {"top1": (50.0,)}, "top1",
)  # fmt: skip


def growth(folder: Path) -> GrowthJournal:
    return GrowthJournal(folder / "measured.jsonl")


def write_growth(folder: Path) -> None:
    journal = growth(folder)
    journal.start(ScaleSettings(SEED), images=IMAGES, device="cpu")
    journal[Shape((1, 1), 16)] = {"x": SCORE, "y": FAILED}


def use_growth(journal: GrowthJournal, folder: Path) -> None:
    assert journal.elapsed >= journal.seconds
    check_same_images(folder, journal.images, IMAGES)
    check_same_device(folder, journal.device, "cpu")
    journal.start(ScaleSettings(SEED), images=IMAGES, device="cpu")
    journal[Shape((1, 2), 16)] = {"x": SCORE}


def scores(folder: Path) -> ScoreJournal:
    return ScoreJournal(folder / "scores.jsonl")


def write_scores(folder: Path) -> None:
    journal = scores(folder)
    journal.start(CorrelationSettings(), table=table_id(TABLE), device="cpu")
    journal.add_images(32, IMAGES)
    journal.add(SEED, {"x": SCORE, "y": FAILED}, 1.5)


def use_scores(journal: ScoreJournal, folder: Path) -> None:
    journal.missing(SEED, ["x", "y"], failed=True)
    journal.check_table(TABLE)
    check_same_device(folder, journal.device, "cpu")
    check_same_images(folder, journal.images_of.get(32), IMAGES)
    journal.start(CorrelationSettings(), table=table_id(TABLE), device="cpu")
    journal.add_images(32, IMAGES)
    journal.add(SEED, {"x": SCORE}, 1.5)


def trainings(folder: Path) -> TrainingJournal:
    return TrainingJournal(folder / "trainings.jsonl")


def write_trainings(folder: Path) -> None:
    journal = trainings(folder)
    journal.start(BuildSettings(), images=IMAGES, num_classes=10, device="cpu")
    journal.add(Training(SEED, 0), Outcome(50.0, 1.0, 2.0))


def use_trainings(journal: TrainingJournal, folder: Path) -> None:
    check_same_images(folder, journal.images, IMAGES)
    check_same_device(folder, journal.device, "cpu")
    sum(outcome.accuracy + outcome.loss + outcome.seconds for outcome in journal.outcomes.values())
    more = journal.num_classes + 1
    journal.start(BuildSettings(), images=IMAGES, num_classes=more, device="cpu")
    journal.add(Training(SEED, 1), Outcome(50.0, 1.0, 2.0, "why"))


def paths(folder: Path) -> AccuracyJournal:
    return AccuracyJournal(folder / "accuracies.jsonl")


def write_paths(folder: Path) -> None:
    journal = paths(folder)
    journal.start(EvolutionSettings(), supernet=SUPERNET, device="cpu")
    journal.add("test", ("bb", "s"), 50.0)
    journal.add_retrained(Retrained(50.0, None, 1.0, ""))


def use_paths(journal: AccuracyJournal, folder: Path) -> None:
    check_same_device(folder, journal.device, "cpu")
    if journal.retrained is not None:
        assert journal.retrained.reason is not None
    journal.start(EvolutionSettings(), supernet=SUPERNET, device="cpu")
    journal.add("test", ("bb", "b"), (journal.get("test", ("bb", "s")) or 0.0) + 1)


def study(folder: Path) -> BaseStorage:
    path = folder / "study.journal"
    if path.is_file():
        data = path.read_bytes()
        refused_or(lambda: read_journal(path))
        assert path.read_bytes() == data  # looking changes nothing
    return open_journal(path)


def write_study(folder: Path) -> None:
    made = create_study(study(folder), STUDY, {"x": "higher", "y": "lower"})
    keep_start(made, SearchSettings(steps=2), IMAGES, "cpu")
    for _ in range(2):
        trial = made.ask()
        trial.suggest_categorical("a", [1, 2])
        trial.set_user_attr("params", 3)
        made.tell(trial, [1.0, 2.0])


def use_study(storage: BaseStorage, folder: Path) -> None:
    found, run = (
        find_study(storage, STUDY),
        SearchRun(settings=SearchSettings(steps=2), out=folder),
    )
    if found is not None:
        assert all(trial.number >= 0 for trial in found.trials)
        stored = run.stored_settings(found)
        check_same_settings(folder, stored, run.settings, growing=["steps"])
        run.check_same(images=(found.user_attrs.get("images"), IMAGES))
        run.check_same(device=(found.user_attrs.get("device"), "cpu"))


Read = Callable[[Path], Any]
Write = Callable[[Path], None]
Use = Callable[[Any, Path], None]
KINDS: Mapping[str, tuple[str, Read, Write, Use]] = {
    "growth": ("measured.jsonl", growth, write_growth, use_growth),
    "scores": ("scores.jsonl", scores, write_scores, use_scores),
    "trainings": ("trainings.jsonl", trainings, write_trainings, use_trainings),
    "paths": ("accuracies.jsonl", paths, write_paths, use_paths),
    "study": ("study.journal", study, write_study, use_study),
}
each = pytest.mark.parametrize("kind", KINDS)


@functools.cache  # times are in it, and every example must begin with the same
def right(kind: str) -> bytes:
    """The content of a journal of this kind."""
    name, _, write, _ = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return (Path(folder) / name).read_bytes()


def check(kind: str, folder: Path, data: bytes) -> bool:
    """Whether a journal is taken: then its run can go on with it."""
    name, read, _, use = KINDS[kind]
    path = folder / name
    path.write_bytes(data)
    journal = refused_or(lambda: read(folder))
    if journal is None:
        assert path.read_bytes() == data  # nothing was changed
        return False
    refused_or(lambda: use(journal, folder))
    assert read(folder) is not None  # what the run wrote can be read again
    return True


@each
def test_right_ones_are_taken(kind: str, tmp_path: Path) -> None:
    assert check(kind, tmp_path, right(kind))


@each
@MANY
@given(data=st.data())
def test_any_record(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    lines = right(kind).splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    changed: Any = data.draw(changed_json(json.loads(lines[at])))
    lines[at] = json.dumps(changed).encode() + b"\n"
    check(kind, tmp_path, b"".join(lines))


@each
@MANY
@given(data=st.data())
def test_any_bytes(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    check(kind, tmp_path, data.draw(changed_bytes(right(kind))))


ODD: tuple[Any, ...] = (None, True, 0, -1, "x\x1b[2J\n", [], [None], {"a": []}, 10**400, "5")


@each
def test_odd_values_in_every_place(kind: str, tmp_path: Path) -> None:
    lines = right(kind).splitlines(keepends=True)
    for at, line in enumerate(lines):
        record = json.loads(line)
        for name in record:
            for odd in ODD:
                changed = json.dumps({**record, name: odd}).encode() + b"\n"
                check(kind, tmp_path, b"".join([*lines[:at], changed, *lines[at + 1 :]]))


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
def test_damaged_lines(kind: str, line: bytes, tmp_path: Path) -> None:
    whole = right(kind)
    for data in (line + b"\n", whole + line + b"\n", line + b"\n" + whole):
        assert not check(kind, tmp_path, data)


@each
def test_a_folder_in_the_place_of_a_journal(kind: str, tmp_path: Path) -> None:
    name, read, _, _ = KINDS[kind]
    (tmp_path / name).mkdir()
    assert refused_or(lambda: read(tmp_path)) is None


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd)[:20])
@pytest.mark.parametrize("name", ["settings", "images", "device"])
def test_odd_things_kept_with_a_study(tmp_path: Path, name: str, odd: Any) -> None:
    lines = right("study").splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if f'"{name}":' in line.decode())
    for value in (
        odd,
        {"source": odd, "digest": odd},
        SearchSettings().to_json() | {"steps": odd},
    ):
        record = {**json.loads(lines[at]), "user_attr": {name: value}}
        changed = json.dumps(record).encode() + b"\n"
        check("study", tmp_path, b"".join([*lines[:at], changed, *lines[at + 1 :]]))
