"""``asvit test`` and ``asvit compare``: what they print, and how they end."""

from pathlib import Path

import pytest

from tests.asvit.cli.commands import check_refused, run, strict, write_weights
from tests.asvit.runs.fakes import write_pictures


@pytest.fixture(autouse=True)
def _files() -> None:
    """Weights of two classes, and pictures of which one cannot be read."""
    write_weights(Path("a.safetensors"))
    write_pictures(Path("pets"), each=5)


def test_without_out_it_only_prints(tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    told = run("test", "pets", "--weights", "a.safetensors", "--device", "cpu")
    assert told.exit_code == 0, told.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert "of 9 pictures" in told.stdout
    assert "class1" in told.stdout
    assert "folder:" not in told.stdout
    assert "1 picture(s) left out, which could not be read" in told.stdout
    lines = told.stderr.splitlines()
    assert lines[0] == "testing a.safetensors on pets"
    assert len([line for line in lines if "cannot read image 'pets/class1/009.jpg'" in line]) == 1


def test_json_is_data_alone_and_names_a_folder_only_if_there_is_one() -> None:
    words = ["test", "pets", "--weights", "a.safetensors", "--device", "cpu", "--json"]
    data = strict(run(*words).stdout)
    assert "folder" not in data
    assert data["pictures"] == 9
    assert sum(pair["images"] for pair in data["confusion"]) == 9
    quiet = run(*words, "--quiet", "--out", "tested")
    assert strict(quiet.stdout)["folder"] == "tested"
    assert quiet.stderr.count("\n") == 1  # the picture


def test_a_comparison_needs_two_finished_runs() -> None:
    check_refused(run("compare", "pets"), 2, "1 run to compare; name two or more")
    check_refused(run("compare", "pets", "pets"), 3, "pets is no run folder of asvit; name one")
