"""Modules that the environment names are imported wherever networks are built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asvit.core.extensions import VARIABLE, load_extensions

MINE = '''
"""A measure, a space and a controller."""

from optuna.samplers import RandomSampler
from torch import nn

import proxies
from asvit.search.controllers import register as register_controller
from asvit.search.reseeded import ReseededSampler
from asvit.spaces import PlainSpace, register_space
from proxies.registry import register

register(
    proxies.Proxy("images", "how many there are", "higher", "none", lambda _, i: len(i.images))
)


@register_space
class Mine(PlainSpace):
    name = "mine"
    prefix = "mine:"
    description = "a linear map"
    paper = "none"
    dimensions = {"side": (1, 2)}

    def network(self, choices, *, num_classes, **_):
        side = choices["side"]
        return nn.Sequential(
            nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(3 * side**2, num_classes)
        )


@register_controller("mine", "random", paper="none")
def make(_dimensions, _better, settings):
    return ReseededSampler(RandomSampler, seed=settings.seed)
'''
SMALL = "--image-size 16 --repeats 1 --images 2 --points 3 --device cpu --quiet"


def asvit(folder: Path, line: str, *, extensions: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(MINE)
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "asvit", *line.split()],
        cwd=folder,
        env={**os.environ, VARIABLE: extensions, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_commands_and_their_workers_know_what_they_register(tmp_path: Path) -> None:
    line = f"search --space mine --controller mine --proxy images --steps 3 --jobs 2 {SMALL}"
    done = asvit(tmp_path, line, extensions="mine,json")
    assert done.returncode == 0, done.stderr
    assert "mine:" in done.stdout
    listed = asvit(tmp_path, "list proxies images", extensions=" mine,")
    assert "how many there are" in listed.stdout


def test_what_cannot_be_imported_is_named(tmp_path: Path) -> None:
    done = asvit(tmp_path, "cost mine:1", extensions="mine,yours")
    assert done.returncode == 3
    assert done.stderr == (
        "asvit: ASVIT_EXTENSIONS names 'yours', which cannot be imported: "
        "No module named 'yours'\n"
    )


def test_without_the_variable_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = set(sys.modules)
    load_extensions()
    assert set(sys.modules) == before
