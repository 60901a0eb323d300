"""Run folders of tables: what they hold, and what they refuse."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asvit.core.files import write_text
from asvit.reference import load_reference
from asvit.reference.build import Outcome, Training
from asvit.reference.build_result import BuildResult, BuiltRow
from asvit.runs.algorithms import reference
from asvit.runs.algorithms.reference import find_devices
from asvit.runs.folder import newest_run
from asvit.runs.reference import BuildRun, build_reference
from tests.asvit.runs import fakes
from tests.asvit.runs.stored_results import RIGHT

SETTINGS = {"preset": "quick", "n": 6, "device": "cpu"}


@pytest.fixture(autouse=True)
def _faked(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.fake_trainings(monkeypatch.setattr)


def build(out: Path, **settings: Any) -> BuildResult:
    return build_reference(out=out, **{**SETTINGS, **settings})


def test_a_table_of_too_few_rows_to_rank_has_no_next_command(tmp_path: Path) -> None:
    assert build(tmp_path, n=4).next_command == ""
    assert "asvit correlate" in build(tmp_path).next_command


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


def test_a_table_of_images_in_a_folder_of_any_name_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pets\u200e\nof mine"
    (tmp_path / name).mkdir()
    images = {"source": f"folder {name}, 9 images", "digest": "f" * 64}
    monkeypatch.setattr(fakes.FakeTrainer, "provenance", images)
    result = build(tmp_path / "run", n=12, data=str(tmp_path / name))
    lines = load_reference(result.table, check=False).provenance
    assert lines["images"].startswith(r"folder pets\u200e\nof mine, 9 images; 32 px, ")
    assert r"pets\u200e\nof mine" in lines["source"]


@pytest.mark.parametrize(("varied", "words"), [(0.75, ", 75% of them"), (0.125, ", 12.5% of")])
def test_a_table_says_what_share_of_it_varies(tmp_path: Path, varied: float, words: str) -> None:
    assert words in build(tmp_path / "run", varied=varied).table.read_text()


@pytest.mark.parametrize(("every", "times"), [(60, 1), (0, 13)])
def test_the_table_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float, times: int
) -> None:
    monkeypatch.setattr(reference, "_EVERY_SECONDS", every)
    written = list[str]()
    monkeypatch.setattr(
        reference, "write_text", lambda path, text: write_text(path, text) or written.append(text)
    )
    result = build(tmp_path / "run")
    assert len(written) == times
    assert written[-1] == result.table.read_text()
    result.table.unlink()
    assert build(tmp_path / "run").table.read_text() == written[-1]


def test_a_finished_table_has_the_versions_that_it_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build(tmp_path / "run").table.read_bytes()
    monkeypatch.setattr("asvit.core.versions.__version__", "99.0")
    assert build(tmp_path / "run").table.read_bytes() == before


def test_one_seed_has_no_noise_to_tell_of(tmp_path: Path) -> None:
    one, two = (build(tmp_path / str(seeds), n=9, seeds=seeds) for seeds in (1, 2))
    lines = ["\n".join(map(str, BuildRun.summary(result))) for result in (one, two)]
    assert "noise ceiling" not in lines[0]
    assert "between seeds" not in lines[0]
    assert "'noise ceiling': 'tau between two training seeds is" in lines[1]
    tables = [result.table.read_text() for result in (one, two)]
    assert ["nan" in text.partition("\narchitecture,")[0] for text in tables] == [False, False]
    assert ["between architectures\n" in text for text in tables] == [True, False]
    assert ["\n# noise: " in text for text in tables] == [False, True]


def test_one_architecture_without_a_failure_has_no_spread() -> None:
    rows = [BuiltRow(str(one), 1, 1, (one, one)) for one in (math.nan, 50.0)]
    facts = next(iter(BuildRun.summary(replace(RIGHT[BuildResult][0], rows=rows))))
    assert "nan" not in str(facts)
    assert "fewer than two architectures" in str(facts)


def test_a_seed_with_equal_accuracies_is_the_reason_for_no_noise_ceiling() -> None:
    rows = [BuiltRow(str(one), 1, 1, (50.0, one)) for one in (51.0, 52.0)]
    facts = next(iter(BuildRun.summary(replace(RIGHT[BuildResult][0], rows=rows))))
    assert "'noise ceiling': 'a training seed with equal accuracies ranks nothing'" in str(facts)
    assert "nan" not in str(facts)


def test_a_failed_training_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    result = build(tmp_path / "run")
    assert len(result.rows) == 6
    failed = {f"{row.architecture}, seed {i}" for row in result.rows
              for i, value in enumerate(row.accuracies) if value != value}  # fmt: skip
    assert failed == set(result.failures)
    assert len(failed) >= 1
    assert set(result.failures.values()) == {"the loss became nan in step 1"}


def test_a_network_that_cannot_be_trained_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = fakes.FakeTrainer.__call__

    def fails(self: fakes.FakeTrainer, training: Training) -> Outcome:
        if training.seed == 1:
            raise TypeError("unsupported operand")
        return train(self, training)

    monkeypatch.setattr(fakes.FakeTrainer, "__call__", fails)
    result = build(tmp_path / "run")
    reasons = [why for name, why in result.failures.items() if name.endswith("seed 1")]
    assert len(reasons) == len(result.rows) == 6
    assert all(why.startswith("TypeError: unsupported operand (") for why in reasons)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("no such layer"), ValueError, "cannot be built for 32 px: no such layer$"),
        (MemoryError("no room"), MemoryError, "^no room$"),
    ],
)
def test_a_network_that_cannot_be_built_is_told_before_any_is_trained(
    error: Exception,
    kind: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("asvit.reference.build.cost", fails)
    with pytest.raises(kind, match=words):
        build(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_devices_are_shared_out_among_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvit.runs.algorithms.reference.resolve_device", str)
    assert find_devices("cpu", 1) == ("cpu",)
    assert find_devices("cpu", 3) == ("cpu",) * 3
    assert find_devices("cuda:0, cuda:1", 1) == ("cuda:0", "cuda:1")
    assert find_devices("cuda:0,cuda:1", 3) == ("cuda:0", "cuda:1", "cuda:0")
    with pytest.raises(ValueError, match="are of 2 kinds, cpu and cuda, whose results differ"):
        find_devices("cuda:0,cpu", 1)
