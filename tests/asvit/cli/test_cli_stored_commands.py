"""Commands that runs store and print: each is read as the settings it stands for."""

from __future__ import annotations

import dataclasses
import random
import shlex
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import click
import pytest

from asvit.cli.app import app
from asvit.cli.options import names_in
from asvit.core.settings import (
    Option,
    fields_of,
    hints_of,
    option_fields,
    option_of,
    plain_type,
)
from asvit.export.settings import ExportSettings
from asvit.runs.command_line import typed_options
from asvit.runs.run import RUNS, Run
from tests.asvit.cli.commands import SEED, run
from tests.asvit.runs.designing_fakes import Fakes, fakes, pictures  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("quick_figures")

Read = Callable[[str], Run[Any, Any, Any]]

_BASES: dict[str, dict[str, Any]] = {
    "design": {"data": "pets", "max_params": "5M"},
    "scale": {"architecture": SEED},
    "train": {"architecture": SEED},
    "supernet evolve": {"supernet": "here"},
    "test": {"data": "pets", "weights": "run"},
    "correlate": {"reference": "timm-in1k"},
    "transfer detect": {"architecture": SEED, "data": "scenes"},
    "transfer segment": {"architecture": SEED, "data": "scenes"},
}
#: Values of options that no type tells.
_VALUES: dict[str, list[Any]] = {
    "radius": ["unit", 2.5], "depths": ["2,2,6,2"], "max_latency": ["8ms", "0.5s"],
    "budgets": ["2M", "30M,50M"], "retokenize": ["0.4/0.3/0.3"],
    "proxies": ["macs", ("params", "zico")],
    "max_params": ["3M"], "max_macs": ["600M", 7], "stop_within": [0.1], "ratio": [0.5],
    "teacher": [SEED], "ffn": ["compact"], "attention": ["hallucinated"],
    "data": ["digits", "a folder"], "device": ["cpu"], "min_macs": ["5M"],
}  # fmt: skip
#: Options whose defaults follow from others.
_TOGETHER: dict[str, list[dict[str, Any]]] = {
    "search": [
        {"controller": "predictor", "max_params": "5M"},
        {"controller": "predictor", "max_params": "5M", "width": 16},
        {"trainings": 9, "controller": "tpe"},
    ],
    "scale": [{"data": "digits"}, {"data": "digits", "classes": 1000}],
    "train": [
        {"ffn": "compact", "branches": 0},
        {"teacher": SEED, "teacher_weights": "w", "distillation": "soft",
         "distillation_weight": 0.5},
        {"learning_rate": 1e-6, "epochs": 10, "warmup_epochs": 0},
    ],
}  # fmt: skip
_CASES = 60


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """What a command line would run."""
    seen: list[Run[Any, Any, Any]] = []

    def stop(started: Run[Any, Any, Any]) -> None:
        seen.append(started)
        raise KeyboardInterrupt

    def parsed(line: str) -> Run[Any, Any, Any]:
        seen.clear()
        name, *words = shlex.split(line)
        assert name == "asvit"
        with monkeypatch.context() as patch:
            for kind in RUNS.values():
                patch.setattr(kind.algorithm or kind, "resolved", stop)
            ended = run(*words)
        assert ended.exit_code == 130, f"{line}: {ended.stderr}"
        return seen[0]

    return parsed


def values_of(name: str, field: dataclasses.Field[Any], option: Option, kind: Any) -> list[Any]:
    """Values to try for an option; its default is one of them, as a user may type it."""
    default = [] if field.default in (None, dataclasses.MISSING) else [field.default]
    if name in _VALUES:
        return default + _VALUES[name]
    if option.choices:
        return list(option.choices)
    if ":" in option.complete:
        return default + names_in(option.complete)[:20]
    if kind is bool:
        return [not field.default]
    if kind in (int, float):
        least = option.at_least if option.at_least is not None else option.above or 0
        return [*default, kind(least + 1), kind(least + 7)] + [0.25] * (kind is float)
    return [*default, "some 'text"]


def made(command: str) -> Iterator[Run[Any, Any, Any]]:
    """Runs of a kind with a few options each; what does not fit together is left out."""
    kind, draw = RUNS[command], random.Random(command)
    options = {
        name: (field, option, plain_type(hints_of(declaring)[name])[0])
        for owner in kind.option_types()
        for name, (declaring, field) in option_fields(owner).items()
        if (option := option_of(field)) is not None and option.repeats
    }
    base = _BASES.get(command, {})
    yield from (kind.make(**base, **given) for given in _TOGETHER.get(command, []))
    for case in range(_CASES):
        asked = draw.sample(sorted(options), k=min(len(options), 1 + case % 5))
        given = {name: draw.choice(values_of(name, *options[name])) for name in asked}
        try:
            yield kind.make(**{**base, **given})
        except (ValueError, FileNotFoundError):
            continue


def told(one: Run[Any, Any, Any]) -> dict[str, Any]:
    """What has to be the same again."""
    own = [name for name, field in fields_of(type(one)).items() if option_of(field) is not None]
    return {
        **one.settings.to_json(),
        **{name: str(getattr(one, name)) for name in own},
        "folder": str(one.folder),
        "classes of the data": getattr(one, "classes_of_data", None),
    }


@pytest.mark.parametrize("command", list(RUNS))
def test_the_command_of_a_run_is_read_as_the_run(command: str, read: Read) -> None:
    runs = [*made(command)]
    assert len(runs) > _CASES / 5
    for one in runs:
        line = one.command_line()
        assert told(read(line)) == told(one), line


def given_in(line: str) -> tuple[str, dict[str, Any]]:
    """The command of a line, and the options and arguments that the program reads."""
    found: Any = app
    context = click.Context(app)
    words = shlex.split(line)[1:]
    names = []
    while isinstance(found, click.Group):
        names.append(words.pop(0))
        found = found.get_command(context, names[-1])
        assert found is not None, line
    params = found.make_context(names[-1], words).params
    return " ".join(names), {name: value for name, value in params.items() if value is not None}


@pytest.mark.parametrize(
    "given",
    [
        {"to": "onnx", "weights": "my run", "batch": 4, "opset": 20, "merge": False, "out": "-.x"},
        {"to": "timm", "architecture": SEED, "random": True, "out": "x", "num_classes": 0},
        {"to": "pt2", "weights": "it's", "image_size": 32, "card": False, "licence": "mit"},
    ],
)
def test_the_command_of_an_export_is_read_as_it(given: dict[str, Any]) -> None:
    settings = ExportSettings(**given, force=True)
    line = shlex.join(["asvit", "export", *chain(*typed_options(settings))])
    assert "--force" not in line
    found = given_in(line)[1]
    assert {name: found.get(name) for name in given} == given
