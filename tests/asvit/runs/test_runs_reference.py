"""Run folders of tables: what they hold, and what they refuse."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import stoppable_reference
from stoppable_reference import SETTINGS

import asvit
from asvit.core.progress import Progress
from asvit.reference.build_result import BuildResult
from asvit.runs import build_reference, newest_run
from asvit.runs.reference import BuildRun, find_devices


@pytest.fixture(autouse=True)
def _faked(monkeypatch: pytest.MonkeyPatch) -> None:
    stoppable_reference.faked(monkeypatch.setattr)


def build(out: Path, **settings: Any) -> BuildResult:
    return build_reference(out=out, **{**SETTINGS, **settings})


def test_a_run_folder_holds_the_table(tmp_path: Path) -> None:
    result = build(tmp_path / "run")
    assert result.table == tmp_path / "run" / "table.csv"
    text = result.table.read_text()
    for key in ("title", "source", "recipe", "images", "accuracies", "rows", "spread", "target"):
        assert text.count(f"\n# {key}: ") + text.startswith(f"# {key}: ") >= 1
    assert "--preset" not in text
    assert "asvit reference build --n 6 " in text
    assert "# num_classes: 10\n# image_size: 32\n" in text
    assert "300 steps of 32 images, learning rate 0.001 (10% linear warm-up" in text
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert content["kind"] == "reference"
    assert [row["architecture"] for row in content["rows"]] == [
        row.architecture for row in result.rows
    ]
    assert newest_run("reference", tmp_path) == tmp_path / "run"


def test_a_failed_training_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    result = build(tmp_path / "run")
    assert len(result.rows) == 6
    failed = {f"{row.architecture}, seed {i}" for row in result.rows
              for i, value in enumerate(row.accuracies) if value != value}  # fmt: skip
    assert failed == set(result.failures)
    assert len(failed) >= 1
    assert set(result.failures.values()) == {"the loss became nan in step 1"}


def test_progress_counts_all_sessions(tmp_path: Path) -> None:
    events: list[Progress] = []
    build(tmp_path / "run", n=2)
    build(tmp_path / "run", n=4, progress=events.append)
    assert [(event.done, event.total, event.resumed) for event in events] == [
        (5, 8, 4), (6, 8, 4), (7, 8, 4), (8, 8, 4),
    ]  # fmt: skip


def test_a_finished_run_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build(tmp_path / "run")
    monkeypatch.setattr("asvit.reference.trainer.Trainer", None)
    assert build(tmp_path / "run").to_json() == before.to_json()


def test_fresh_starts_over_and_leaves_other_files(tmp_path: Path) -> None:
    build(tmp_path / "run", n=3)
    (tmp_path / "run" / "mine.txt").write_text("keep")
    events: list[Progress] = []
    build(tmp_path / "run", n=2, seed=1, fresh=True, progress=events.append)
    assert len(events) == 4
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 301}, "started with other settings: steps 300 (now 301); give --out"),
        ({"n": 5}, "started with other settings: n 6 (now 5); give --out"),
        ({"seeds": 1}, "started with other settings: seeds 2 (now 1); give --out"),
        ({"n": 7, "seed": 3}, "started with other settings: seed 0 (now 3); give --out"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changed: dict[str, int], message: str) -> None:
    build(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        build(tmp_path / "run", **changed)
    assert message in str(caught.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_other_images_and_devices_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "run")
    other = {"source": "other images", "digest": "e" * 64}
    with monkeypatch.context() as patch:
        patch.setattr(stoppable_reference.FakeTrainer, "provenance", other)
        with pytest.raises(ValueError, match="was started with other images: fake images, digest"):
            build(tmp_path / "run", n=7)
    journal = tmp_path / "run" / "trainings.jsonl"
    journal.write_text(journal.read_text().replace('"device":"cpu"', '"device":"cuda"'))
    with pytest.raises(ValueError, match=r"was started on device cuda \(now cpu\)"):
        build(tmp_path / "run", n=7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("study.journal", "holds a search; give --out another folder for the reference table"),
        ("measured.jsonl", "holds a scaling; give --out another folder for the reference table"),
        ("table.csv", "has table.csv but not trainings.jsonl; put it back"),
        ("result.json", "has result.json but not trainings.jsonl; put it back"),
    ],
)
def test_the_folder_of_another_run_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=message):
        build(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        build(tmp_path / "file" / "run")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "shut").mkdir(mode=0o500)
        with pytest.raises(PermissionError, match="may not be written to"):
            build(tmp_path / "shut" / "run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 1}, "n must be at least 2, got 1"),
        ({"space": "asvitt"}, "unknown space 'asvitt'; did you mean 'asvit'"),
        ({"image_size": 48}, "image 48 px"),
        ({"jobs": 0}, "jobs=0; use at least 1"),
        ({"preset": "quik"}, "unknown preset 'quik'"),
    ],
)
def test_bad_input_makes_nothing(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_devices_are_shared_out_among_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxies.evaluation.resolve_device", lambda name: name)
    assert find_devices("cpu", 1) == ("cpu",)
    assert find_devices("cpu", 3) == ("cpu",) * 3
    assert find_devices("cuda:0, cuda:1", 1) == ("cuda:0", "cuda:1")
    assert find_devices("cuda:0,cuda:1", 3) == ("cuda:0", "cuda:1", "cuda:0")
    with pytest.raises(ValueError, match="are of 2 kinds, cpu and cuda, whose results differ"):
        find_devices("cuda:0,cpu", 1)


def test_the_default_folder_is_named_after_the_settings() -> None:
    assert BuildRun.make(seed=4).folder == Path("runs/reference-asvit-64px-seed4")


def test_it_is_offered_by_the_package() -> None:
    assert asvit.build_reference is build_reference
