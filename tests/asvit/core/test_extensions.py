"""Modules that the environment names are imported wherever networks are built."""

import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from asvit.cli.app import app
from asvit.core import extensions
from asvit.core.extensions import VARIABLE, load_extensions
from asvit.search.controllers import CONTROLLERS
from asvit.spaces import SPACES
from proxies.registry import PROXIES
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


WRONG = """
import optuna, os, sys
from asvit.search.controllers import register as register_controller
from asvit.spaces import PlainSpace, register_space

def fail(where):
    if where == os.environ["WHERE"]:
        eval(os.environ["FAULT"])

fail("import")

@register_space
class Wrong(PlainSpace):
    name, prefix, description, paper = "wrong", "wrong:", "", ""
    dimensions = {"side": (1, 2)}

    def network(self, choices, **_):
        fail("network")

    def check(self, arch, image_size):
        fail("check")

class Sampler(optuna.samplers.RandomSampler):
    def sample_independent(self, *given):
        fail("controller")
        return super().sample_independent(*given)

@register_controller("wrong", "random", paper="none")
def make(_dimensions, _better, settings):
    return Sampler(settings.seed)
"""
FAULTS = {
    "{}['x']": "KeyError: 'x'", "sys.exit(0)": "SystemExit: 0", "next(iter(()))": "StopIteration",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("import", "ASVIT_EXTENSIONS names 'wrong', which cannot be imported: "),
        ("check", ""),
        ("network", "all of the first 3 architectures failed; the last one, wrong:"),
        ("controller", ""),
    ],
)
def test_mistakes_of_the_users_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, told: str, fault: str
) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in {VARIABLE: "wrong", "WHERE": where, "FAULT": fault}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    for names in (CONTROLLERS, SPACES):
        monkeypatch.setitem(names, "wrong", None)  # removed again, with what is registered
        del names["wrong"]
    line = (
        f"search --space wrong --controller wrong --steps 3 --jobs 1 --out {tmp_path}/run {SMALL}"
    )
    try:
        done = CliRunner().invoke(app, line.split())
    finally:
        extensions._started.discard("wrong")
    assert done.exit_code == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"asvit: {told}")
    assert FAULTS[fault] in done.stderr
    assert "bug" not in done.stderr


def test_a_mistake_of_an_installed_kind_of_run_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "steps.py").write_text("def step(): return {}['x']")
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("theirs", "theirs.runs:TheirRun", extensions.GROUP)
    monkeypatch.setattr(extensions, "installed_runs", lambda: [entry])
    step = import_module("theirs.steps").step
    monkeypatch.setattr("asvit.cli.cost.command", click.Command("cost", callback=step))
    done = CliRunner().invoke(app, ["cost"])
    assert done.exit_code == 3
    assert done.stderr == "asvit: an extension failed: KeyError: 'x' (steps.py:1)\n"


def test_an_exit_of_a_library_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    command = click.Command("cost", callback=lambda: sys.exit(0))
    monkeypatch.setattr("asvit.cli.cost.command", command)
    done = CliRunner().invoke(app, ["cost"])
    assert done.exit_code == 3
    assert "something ended the program before it was done: SystemExit: 0" in done.stderr


def test_without_the_variable_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = set(sys.modules)
    load_extensions()
    assert set(sys.modules) == before


CELL = """
from asvit.search.controllers import register as register_controller
from asvit.spaces import PlainSpace, register_space
from proxies import register_measure

@register_measure("")
def again(model):
    return {number}

@register_space
class Again(PlainSpace):
    name, prefix, description, paper = "again", "again:", "", ""
    dimensions = {{"depth": ({number},)}}

    def network(self, choices, **sizes): ...

@register_controller("again", "{number}", paper="none")
def controller(dimensions, ways, settings): ...
"""


def test_a_cell_of_a_notebook_that_runs_again_replaces_what_it_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for names in (PROXIES, CONTROLLERS, SPACES):
        monkeypatch.setitem(names, "again", None)  # removed again
        del names["again"]
    for number in (1, 2):
        exec(CELL.format(number=number), {"__name__": "__main__"})
        assert PROXIES["again"].value(None, None) == number
        assert str(SPACES["again"].parse(f"again:{number}")) == f"again:{number}"
        assert CONTROLLERS["again"].description == str(number)
    with pytest.raises(ValueError, match="'again' is already registered"):
        exec(CELL.format(number=3), {"__name__": "another_module"})
