"""Every command through the installed program: its result is what it was.

After a deliberate change, ``python -m tests.end_to_end.record`` writes the golden values anew.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.program import COMMANDS, GOLDEN, outcome, run, write_inputs

#: Fields of a design's result that programs read.
_DESIGN = {
    "architecture", "family", "params", "macs", "latency_ms", "accuracy", "accuracy_interval",
    "hand_made", "race", "limits", "exports", "image_size", "epochs",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all commands run."""
    folder = tmp_path_factory.mktemp("end_to_end")
    write_inputs(folder)
    return folder


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, floating-point numbers to 0.1 %."""
    if isinstance(one, float) and isinstance(other, float | int):
        return one == pytest.approx(other, rel=1e-3)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize("name", COMMANDS)
def test_fields_of_the_result_are_golden(name: str, folder: Path) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    values = outcome(name, folder)
    assert {path: value for path, value in values.items() if not same(value, golden[path])} == {}
    assert values.keys() == golden.keys()


@pytest.mark.slow
def test_a_design_keeps_its_limits_and_exports(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    result = run(
        "design --data PICTURES --max-params 60K --trainings 5 --image-size 32 --hours 0.03"
        " --space asvit-parts,resnet --device cpu --out design",
        tmp_path,
    )
    assert result.keys() >= _DESIGN
    assert result["params"] <= 60_000
    assert result["limits"]["max_params"]["kept"]
    guesses = run("predict PICTURES --weights design --device cpu", tmp_path)["images"]
    assert len(guesses) == 36
