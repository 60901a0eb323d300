"""Default run folders: one plain folder in runs, whatever the settings hold."""

import re
from pathlib import Path
from typing import Any

import pytest

from asvit.growth.settings import ScaleSettings
from asvit.runs.folder import named_folder
from asvit.runs.run_folder import RunFolder, RunOptions
from asvit.runs.scaling import SCALE
from asvit.runs.search import SEARCH
from asvit.runs.supernet import SUPERNET
from asvit.runs.training import TRAIN
from asvit.search.settings import SearchSettings
from asvit.training.settings import TrainSettings
from asvit.training.short_settings import SupernetSettings
from tests.asvit.runs.fakes import SEED

NASTY = ("../../etc", "/tmp/x", "a\\..\\b", "$(touch x)", "a\n;b", "..", "x" * 5_000, "\x00")


@pytest.mark.parametrize("text", [*NASTY, "CON", "aux.txt", "a:b", "a.", "a ", "größe", "a|b"])
def test_folders_are_inside_runs_and_any_system_takes_their_names(text: str) -> None:
    runs = [
        RunFolder(SEARCH, SearchSettings.make(space=text, controller=text), RunOptions()),
        RunFolder(SCALE, ScaleSettings(text), RunOptions()),
        RunFolder(SUPERNET, SupernetSettings.make(space=text), RunOptions()),
        RunFolder(TRAIN, TrainSettings(text), RunOptions()),
    ]
    for run in runs:
        name = run.folder.name
        assert run.folder.parent == Path("runs")
        assert len(name) <= 255
        assert re.fullmatch(f"{run.kind.command.split()[0]}-[A-Za-z0-9_.-]*[A-Za-z0-9]", name), (
            name
        )


def test_long_names_that_differ_stay_apart() -> None:
    assert named_folder("x" * 500) != named_folder("x" * 501)


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (
            SEARCH.make(space="asvit-tiny", controller="random", image_size=64, seed=5),
            "search-asvit-tiny-random-64px-seed5",
        ),
        (
            SCALE.make(architecture=SEED, image_size=32, seed=5),
            "scale-4.8.2-2.4.2-2.2.2-2.1.2-16-32px-seed5",
        ),
        (
            TRAIN.make(architecture="timm:resnet18", image_size=64, seed=3),
            "train-timm-resnet18-64px-seed3",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_the_default_folder_is_named_after_the_settings(run: Any, name: str) -> None:
    assert run.folder == Path("runs") / name
