"""``result.json`` of every kind with anything in it: read and shown, or refused in one line."""

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

import asvit
from asvit.core.console import console
from asvit.core.results import Result
from asvit.designs import DesignResult, predict_command
from asvit.runs.architectures import find_architecture
from asvit.runs.folder import newest_run
from asvit.training.result import TrainResult
from tests.asvit.runs.stored_results import RIGHT, SEED, VALUES, Kind, content_of
from tests.hostile import (
    FIXED,
    changed_bytes,
    changed_json,
    refused_or,
    sealed_bytes,
    sealed_result,
    with_digest,
)

MANY = settings(
    FIXED, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
each = pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)


def check(kind: Kind, folder: Path, data: bytes) -> bool:
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


@each
def test_it_is_shown_in_a_line_and_importable_from_asvit(kind: Kind) -> None:
    line = repr(RIGHT[kind][0])
    assert line.startswith(f"{kind.__name__}(")
    assert "'run'" in line
    assert len(line) < 400  # not a page of nested dataclasses
    if kind.__module__.startswith("asvit."):
        assert getattr(asvit, kind.__name__) is kind


def test_every_kind_of_result_is_here() -> None:
    kinds = [one for kind in Result.__subclasses__() for one in kind.__subclasses__() or [kind]]
    ours = {kind for kind in kinds if kind.__module__.startswith(("asvit.", "experiments."))}
    assert ours == set(RIGHT)


@each
def test_right_ones_come_back(kind: Kind, tmp_path: Path) -> None:
    assert check(kind, tmp_path, sealed_result(content_of(kind)))
    right = dataclasses.replace(RIGHT[kind][0], folder=tmp_path)
    if isinstance(right, DesignResult):  # which may be moved
        right = dataclasses.replace(right, next_command=predict_command(tmp_path))
    assert kind.read(tmp_path / "result.json").to_json() == right.to_json()


@pytest.mark.parametrize(("classes", "told"), [(5, False), (6, True)])
def test_top_5_is_told_of_more_than_five_classes(classes: int, told: bool) -> None:
    right, show = RIGHT[TrainResult]
    network = dataclasses.replace(right.network, num_classes=classes)
    screen = Console(file=io.StringIO(), width=200, record=True)
    show(dataclasses.replace(right, network=network), screen)
    assert ("top-5" in screen.export_text()) == told


@each
def test_names_of_files_forge_no_line(kind: Kind) -> None:
    forged = "a\nnext:   evil"
    named = {"unreadable": {forged: forged}, "bad_images": {forged: 2}, "folder": Path(forged)}
    fields = {field.name for field in dataclasses.fields(kind)}
    result = dataclasses.replace(
        RIGHT[kind][0], **{name: value for name, value in named.items() if name in fields}
    )
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        RIGHT[kind][1](result, console())
    assert r"a\nnext:   evil" in stdout.getvalue()
    assert "\nnext:   evil" not in stdout.getvalue()


@each
@MANY
@given(data=st.data())
def test_any_content(kind: Kind, tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(changed_json(content_of(kind)))
    check(kind, tmp_path, sealed_result(content))


@each
@MANY
@given(data=st.data())
def test_any_bytes(kind: Kind, tmp_path: Path, data: st.DataObject) -> None:
    right = with_digest(content_of(kind)).encode()
    check(kind, tmp_path, sealed_bytes(data.draw(changed_bytes(right))))


#: Each of them in each place, as a file that somebody changed by hand may have it.
ODD: tuple[Any, ...] = (None, True, 0, 10**400, 1e300, "x\x1b[2J\n", [], [None], {"a": []})


@each
def test_odd_values_in_every_place(kind: Kind, tmp_path: Path) -> None:
    content = content_of(kind)
    for name in content:
        for odd in ODD:
            check(kind, tmp_path, sealed_result({**content, name: odd}))
        check(kind, tmp_path, sealed_result({**content, name: [content[name]]}))


DAMAGED = (
    *(b"", b"\xff\xfe", b"nul", b"[]", b"3", b'"x"', b"{}", b"NaN", b"\0" * 4096),
    *(b"[" * 10**5, b'{"a":' * 10**5, b'{"kind":' + b"9" * 10**5 + b"}", b'{"kind": 1e999}'),
    *(sealed_result({"kind": odd, "schema_version": 1}) for odd in ([], {}, "x" * 10**6)),
    sealed_result({"kind": "search", "seed_architecture": ["x"]}),
    sealed_result({"kind": "scale", "architecture": SEED, "steps": 3}),
    sealed_result({"kind": "scale", "architecture": SEED, "steps": [[]]}),
)


@each
def test_damaged_files(kind: Kind, tmp_path: Path) -> None:
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
    looked_at(tmp_path, sealed_result(data.draw(changed_json(right))))
