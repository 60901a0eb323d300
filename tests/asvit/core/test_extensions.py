"""Modules that the environment names are imported wherever networks are built."""

import sys
from pathlib import Path

import pytest

from asvit.core.extensions import VARIABLE, load_extensions
from tests.campaigns import forked

MINE = '''
"""A measure, a space and a controller."""

from optuna.samplers import RandomSampler
from torch import nn

import proxies
from asvit.search.controllers import register as register_controller
from asvit.search.sampler import ReseededSampler
from asvit.spaces import PlainSpace, register_space


@proxies.register_measure("how many there are", name="images")
def number_of_images(model, images):
    return len(images)


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


def _import_from_here() -> None:
    sys.path.insert(0, str(Path.cwd()))


def asvit(folder: Path, line: str, *, extensions: str) -> int:
    """The exit code of a command; it and its workers have imported none of the extensions."""
    (folder / "mine.py").write_text(MINE)
    how = {"environment": {VARIABLE: extensions}, "prepare": _import_from_here}
    return forked.run(forked.command, line.split(), folder, **how)


@pytest.mark.slow
def test_commands_and_their_workers_know_what_they_register(tmp_path: Path) -> None:
    line = f"search --space mine --controller mine --proxy images --steps 3 --jobs 2 {SMALL}"
    assert asvit(tmp_path, line, extensions="mine,json") == 0, forked.printed(tmp_path)
    assert "mine:" in forked.printed(tmp_path, forked.STDOUT)
    assert asvit(tmp_path, "list proxies images", extensions=" mine,") == 0
    assert "how many there are" in forked.printed(tmp_path, forked.STDOUT)


def test_without_the_variable_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = set(sys.modules)
    load_extensions()
    assert set(sys.modules) == before
