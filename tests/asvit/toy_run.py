"""A kind of run that adds up numbers, for tests of what all kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from asvit.core.codec import Nullable
from asvit.core.progress import Progress
from asvit.core.results import Result
from asvit.core.settings import Presets, Settings, setting, settings_class
from asvit.core.shared_settings import proxy_names
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind, RunFolder, RunOptions
from proxies.registry import Registry

IMAGES = {"source": "noise", "digest": "ab" * 32}
#: What the next runs are started with, and the steps of all runs, as they were done.
same: dict[str, Any] = {}
worked: list[int] = []


def parse_pair(text: str) -> str:
    """A text with a colon."""
    if ":" not in text:
        raise ValueError(f"{text!r} has no colon")
    return text


@settings_class
class ToySettings(Settings):
    presets: ClassVar[Presets] = Registry("preset", {"default": {}, "few": {"steps": 2}})

    name: str = setting(..., "What to add up.", argument=True)
    steps: int = setting(3, "How many numbers.", at_least=1)
    rate: float = setting(0.5, "What each adds.", above=0, at_most=1)
    pair: str = setting("a:b", "Two texts.", metavar="A:B", parse=parse_pair)
    mode: str = setting("plain", "How.", choices=("plain", "squared"))
    proxies: tuple[str, ...] = setting(
        ("params",), "Measures.", name="proxy", convert=proxy_names, complete="proxies:PROXIES"
    )
    limit: int | None = setting(None, "Where to end; nowhere unless given.", at_least=0)
    again: bool = setting(False, "Twice.")

    def check(self) -> None:
        if self.limit is not None and self.limit > self.steps:
            raise ValueError(f"limit {self.limit} is above {self.steps} steps")


@settings_class
class ToyOptions(RunOptions):
    hint: str | None = setting(None, "A word.", repeats=False)


@dataclass(frozen=True)
class ToyRow:
    step: int
    value: Nullable


@dataclass(frozen=True, kw_only=True)
class ToyResult(Result):
    kind = "toy"
    noun = "toy"
    hidden = ("rows",)

    settings: ToySettings
    rows: Sequence[ToyRow]
    note: str | None = None

    def derived(self) -> Mapping[str, Any]:
        return {"total": sum(row.value for row in self.rows), "table": list(map(vars, self.rows))}

    @classmethod
    def unfold(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**content, "rows": content["table"]}


def execute(settings: ToySettings, run: RunFolder[ToySettings, ToyResult]) -> ToyResult:
    run.title = f"adding up {settings.name}"
    run.begin(**{"images": IMAGES, "device": "cpu", **same})
    resumed = len(run.records)
    for step in range(resumed, settings.steps):
        worked.append(step)
        run.add(ToyRow(step, settings.rate * step))
        run.tell(Progress("step", step + 1, settings.steps, resumed, state=f"at {step}"))
    return run.result(rows=tuple(run.records), next_command="asvit list data")


TOY = Kind(
    command="toy",
    help="Add up numbers.\n\nA toy.",
    files=RunFiles("toy", "toy", ("toy.csv",)),
    settings_type=ToySettings,
    options_type=ToyOptions,
    result=ToyResult,
    execute=execute,
    records=(ToyRow,),
    may_grow=("steps",),
)


def changed(kind: Kind, **changes: Any) -> Kind:
    """The kind with other facts, or another algorithm."""
    return replace(kind, **changes)
