"""A kind of run that adds up numbers, for tests of what all kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from asvit.core.codec import Nullable
from asvit.core.continuing import Images
from asvit.core.journal import Journal
from asvit.core.measuring_settings import proxy_names
from asvit.core.progress import Progress, Tell
from asvit.core.results import Result
from asvit.core.settings import Presets, Settings, setting
from asvit.report.pictures import Picture
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run
from proxies.registry import Registry

IMAGES = {"source": "noise", "digest": "ab" * 32}


def parse_pair(text: str) -> str:
    """A text with a colon."""
    if ":" not in text:
        raise ValueError(f"{text!r} has no colon")
    return text


@dataclass(frozen=True)
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


ToyJournal = Journal.of(ToyResult, ToyRow, images=Images, device=str)


@dataclass(kw_only=True)
class ToyRun(Run[ToySettings, ToyResult, Journal[ToySettings]]):
    """Add up numbers.

    A toy.
    """

    command = "toy"
    files = RunFiles("toy", "toy", "toy.jsonl", ("toy.csv",))
    journal_type = ToyJournal
    may_grow = ("steps",)

    device: ClassVar[str] = "cpu"
    images: ClassVar[Mapping[str, str]] = IMAGES
    worked: ClassVar[list[int]] = []  # the steps of all runs, as they were done

    hint: str = setting("", "A word.", shown="none", repeats=False)

    def load(self) -> Mapping[str, Any]:
        return {"images": dict(self.images), "device": self.device}

    def execute(self, store: Journal[ToySettings], tell: Tell) -> ToyResult:
        resumed = len(store.records)
        for step in range(resumed, self.settings.steps):
            self.worked.append(step)
            store.add_record(ToyRow(step, self.settings.rate * step))
            tell(Progress("step", step + 1, self.settings.steps, resumed, state=f"at {step}"))
        return self.result(
            store,
            {"images": store.images, "device": store.device},
            rows=tuple(store.records),
            next_command="asvit list data",
        )

    @classmethod
    def pictures(cls, result: ToyResult) -> list[Picture]:
        return []
