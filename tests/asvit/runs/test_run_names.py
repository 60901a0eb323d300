"""Default run folders: one plain folder in runs, whatever the settings hold."""

from pathlib import Path

import pytest
from hypothesis import given

from asvit.growth.settings import ScaleSettings
from asvit.reference.recipe import BuildSettings
from asvit.runs import reference, search
from asvit.runs.folder import named_folder
from asvit.runs.scaling import ScaleRun
from asvit.runs.supernets import run as supernet
from asvit.runs.training import run as training
from asvit.search.settings import SearchSettings
from asvit.training.settings import TrainSettings
from asvit.training.supernets.settings import SupernetSettings
from tests.hostile import FEW, texts

NASTY = ("../../etc", "/tmp/x", "a\\..\\b", "$(touch x)", "a\n;b", "..", "x" * 5_000, "\x00")


def check(folder: Path) -> None:
    assert folder.parent == Path("runs")
    assert folder.name not in ("", ".", "..")
    assert not set(folder.name) & set("/\\\0\n$();|&<>\"'` ~*?")
    assert len(folder.name.encode()) <= 255


@pytest.mark.parametrize("text", NASTY)
def test_settings_do_not_lead_out_of_the_folder_of_runs(text: str) -> None:
    check(search.default_folder(SearchSettings(space=text, controller=text)))
    check(ScaleRun(settings=ScaleSettings(text)).folder)
    check(reference.default_folder(BuildSettings(space=text)))
    check(supernet.default_folder(SupernetSettings(space=text)))
    check(training.default_folder(TrainSettings(text)))


@FEW
@given(texts("search-asvit-reinforce-224px-seed0"))
def test_any_name(name: str) -> None:
    check(named_folder(f"search-{name}"))


def test_long_names_that_differ_stay_apart() -> None:
    assert named_folder("x" * 500) != named_folder("x" * 501)


def test_plain_names_stay_as_they_are() -> None:
    assert named_folder("search-asvit-tpe-64px-seed1") == Path("runs/search-asvit-tpe-64px-seed1")
