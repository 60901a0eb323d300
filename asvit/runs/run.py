"""A run, written once: what is common to searches, scalings, trainings and every other kind."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, get_args

from asvit.core.command_line import command_line
from asvit.core.console import clock
from asvit.core.errors import wrong_option
from asvit.core.files import expanded
from asvit.core.progress import Tell, ignore
from asvit.core.results import RUNS as RUNS
from asvit.core.results import Result, kind_in
from asvit.core.run_files import MARKER, TRACKED
from asvit.core.settings import Settings, fields_of, option_fields
from asvit.core.store import Store
from asvit.core.summary import SummaryPart, Table
from asvit.core.versions import versions
from asvit.runs import reporting
from asvit.runs.folder import RunFiles, has_state, named_folder
from asvit.runs.lifecycle import perform
from asvit.runs.run_folder import Kind
from asvit.runs.tracking import event_files
from proxies.messages import unknown

if TYPE_CHECKING:
    from asvit.report.pictures import Picture

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)
J = TypeVar("J", bound=Store[Any])

K = TypeVar("K", bound="type[Run[Any, Any, Any]]")


def register_run(kind: K) -> K:
    """Class decorator: give a kind of run its command, and make its folders known."""
    RUNS.register(kind.command, kind)
    return kind


def kind_of(folder: Path) -> type[Run[Any, Any, Any]] | None:
    """The kind of run that ``folder`` holds; None where no kind known here has written in it."""
    name = kind_in(folder)
    return next((kind for kind in RUNS.values() if kind.files.kind == name), None)


def write_report(folder: Path | str) -> list[Path]:
    """Write the report of a finished run of any kind anew.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If it is no run folder, or the run has not finished.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    folder = expanded(str(folder))
    kind = kind_of(folder)
    if kind is None:
        raise FileNotFoundError(f"{folder} is no run folder of asvit: it has no {MARKER}")
    return reporting.write_report(kind, folder)


def help_of(kind: Any) -> str:
    """The help of a kind of run."""
    return kind.help if isinstance(kind, Kind) else inspect.getdoc(kind) or ""


class _Imported:
    def __init__(self, place: str) -> None:
        self._place = place

    def __get__(self, _run: object, _kind: object = None) -> Any:
        return resolve_name(self._place)


def imported(place: str) -> Any:
    """A class attribute, ``"module:name"``, that is imported when it is first looked at."""
    return _Imported(place)


@dataclass(kw_only=True)
class Run(ABC, Generic[S, R, J]):
    """One call of a kind of run: its settings, and the options that do not change its result.

    A kind of run is a subclass, registered in :data:`RUNS`. It declares its settings, its result
    and its files, and supplies the algorithm (:meth:`execute`);
    :func:`asvit.runs.lifecycle.perform` does the rest. Options are fields made by
    :func:`asvit.core.settings.setting`; commands and their help follow from them. What does not
    suit raises ValueError, what is missing or cannot be written OSError.

    Where the algorithm needs libraries that are slow to import, the registered class only
    declares, and names its subclass in another module, which executes, as its ``algorithm``.

    Type parameters: settings, result, and the :class:`asvit.core.store.Store` that a stopped run
    continues from.
    """

    command: ClassVar[str]
    files: ClassVar[RunFiles]
    settings_type: ClassVar[Any]  # as the type parameters say
    result_type: ClassVar[Any]
    journal_type: ClassVar[Any] = None  # an :class:`asvit.core.journal.Journal`, for most kinds
    algorithm: ClassVar[Any] = None  # the subclass that executes, by :func:`imported`
    dry_run: ClassVar[Any] = None  # what tells the plan of a run, as in :mod:`asvit.runs.dry_runs`
    written: ClassVar[str] = ""  # the files that are named with its result
    may_grow: ClassVar[Sequence[str]] = ()
    may_change: ClassVar[Sequence[str]] = ()  # settings that matter only once all is measured
    ends_in: ClassVar[str] = ""  # key of the architecture in result.json, if it ends in one
    keeps: ClassVar[bool] = True  # whether it has a folder where none is named
    no_work: ClassVar[str] = "this {noun} had finished before; --fresh starts it over"

    settings: S  #: what to do
    out: Path | str | None = None
    fresh: bool = False
    progress: Tell = ignore  #: called as the run goes on
    may_move: Sequence[str] = ()  #: settings that may name the same images by another path
    #: Options that were not typed and follow from other runs, with what to type for them to go on.
    implied: Mapping[str, object] = dataclasses.field(default_factory=dict)
    #: Folder in place of the run folder while a run goes on that is not kept.
    scratch: Path | None = dataclasses.field(default=None, init=False)
    #: Whether this call has done any work, rather than found its result.
    work_done: bool = dataclasses.field(default=False, init=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = getattr(cls, "__orig_bases__", ())
        for parameter in chain.from_iterable(map(get_args, bases)):
            if isinstance(parameter, type) and issubclass(parameter, Settings):
                cls.settings_type = parameter
            elif isinstance(parameter, type) and issubclass(parameter, Result):
                cls.result_type = parameter

    # What a kind of run supplies.

    @classmethod
    def make(cls, preset: str = "default", **values: Any) -> Self:
        """A run from the names that functions and commands take.

        Raises:
            WrongOption: If a value is not allowed.
        """
        if cls.algorithm not in (None, cls):
            run: Self = cls.algorithm.make(preset, **values)
            return run
        if values.get("progress", ignore) is None:
            del values["progress"]
        own = {field.name for field in dataclasses.fields(cls) if field.name != "settings"}
        options = {name: values.pop(name) for name in list(values) if name in own}
        names = option_fields(cls.settings_type)
        for name in values:
            if name not in names:
                raise TypeError(unknown("setting", name, [*names, *own]))
        with wrong_option():
            settings = cls.settings_type.make(preset, **values)
        return cls(settings=settings, **options)

    def resolved(self) -> Self:
        """This run with its final settings, where some follow from images or from other runs."""
        return self

    def check(self) -> None:
        """Refuse what cannot be done, by looking names up: quickly, and without writing."""

    def load(self) -> Mapping[str, Any] | None:
        """Load images and networks, and say what the run is started with.

        Returns:
            Values by name, of which ``images`` and ``device`` must not change; None where nothing
            is left to do that depends on them.
        """
        return {}

    def open(self) -> J:
        """What the folder holds of earlier sessions."""
        return self.journal_type(self.folder / self.files.state)  # type: ignore[no-any-return]

    def check_store(self, store: J) -> None:
        """Check what else must be as it was when the run was started."""

    @abstractmethod
    def execute(self, store: J, tell: Tell) -> R:
        """The algorithm: from what earlier sessions left to the result."""

    def settled(self, store: J, result: R) -> bool:
        """Whether ``result``, which the folder holds, is all that is asked for."""
        return bool(result.settings == self.settings)

    def conclude(self, store: J, result: R) -> R:
        """Write what follows from a finished run beside its report; return its whole result."""
        return result

    def free_settings(self, store: J) -> Sequence[str]:
        """Settings that may differ from those the run was started with."""
        return self.may_change

    def session(self) -> AbstractContextManager[Any]:
        """What holds while the folder is claimed."""
        return nullcontext()

    def versions(self, stored: Mapping[str, str] | None) -> Mapping[str, str]:
        """The versions to store with the run: those of its start, ``stored``, or today's."""
        return stored or versions()

    def default_name(self) -> str:
        """Name of the folder in ``runs`` where no other is given."""
        fields = fields_of(self.settings_type)
        required = [
            str(getattr(self.settings, name))
            for name, field in fields.items()
            if field.is_required()
        ]
        return "-".join([self.command, *required])

    @property
    def title(self) -> str:
        """What is about to be done, in a line."""
        return f"{self.files.noun} in {self.folder}"

    @property
    def typed_values(self) -> Mapping[str, object]:
        """Options that the command line always has, with the values that it shows."""
        return {}

    @classmethod
    def first(cls) -> bool:
        """Whether this process tells of the run and writes its files, where several share it."""
        return True

    @classmethod
    def summary(cls, result: R) -> Iterable[SummaryPart]:
        """Facts, lines and tables, which console, notebook and page draw.

        By default every number and text of result.json, and the time.
        """
        facts = {name.replace("_", " "): value for name, value in result.facts().items()}
        return [facts, f"finished in {clock(result.wall_seconds)}"]

    @classmethod
    def pictures(cls, result: R) -> Sequence[Picture]:
        """The figures of the page and of ``result.plot``."""
        return ()

    @classmethod
    def details(cls, result: R) -> Iterable[Table]:
        """Long tables, which only the page has, below its figures."""
        return ()

    # What follows.

    @classmethod
    def option_types(cls) -> Sequence[Any]:
        """The dataclasses whose fields are the options, in the order of the help."""
        from asvit.runs.measuring_run import MeasuringOptions

        return cls.settings_type, MeasuringOptions

    def option_owners(self) -> Sequence[Any]:
        """What holds the values of :meth:`option_types`, in that order."""
        return (self.settings,)

    @property
    def kept(self) -> bool:
        """Whether the run folder stays."""
        return self.keeps or self.out is not None

    @property
    def folder(self) -> Path:
        """The run folder."""
        if self.scratch is not None:
            return self.scratch
        return named_folder(self.default_name()) if self.out is None else expanded(str(self.out))

    def other_files(self, folder: Path) -> Sequence[str]:
        """Files in the run folder that starting over removes beside :attr:`files`."""
        events = event_files(folder) if (folder / TRACKED).exists() else ()
        return [*self.result_type.figure_files(folder), *events]

    @property
    def begun(self) -> bool:
        """Whether the folder has what an earlier session left."""
        return not self.fresh and has_state(self.folder, self.files)

    @classmethod
    def html(cls, result: R) -> str:
        """The summary as a notebook shows it."""
        from asvit.report.html import summary_html

        return summary_html(cls.summary(result), heading="h4")

    def with_settings(self, settings: S, *names: str) -> Self:
        """This run with other settings, and with what it has of cached attributes so called."""
        run = dataclasses.replace(self, settings=settings)
        vars(run).update({name: vars(self)[name] for name in names if name in vars(self)})
        return run

    def run(self) -> R:
        """The result, by :func:`asvit.runs.lifecycle.perform`."""
        return perform(self.resolved())

    def result(self, store: J, provenance: Mapping[str, Any] | None = None, **values: Any) -> R:
        """The result with the fields of its own kind, ``values``.

        ``provenance`` tells how it was reached, beside the versions and the command that repeats
        it. The time is the store's unless ``values`` has ``wall_seconds``.
        """
        origin = {**(provenance or {}), "versions": versions(), "command": self.command_line()}
        values = {"wall_seconds": store.elapsed, **values}
        result: R = self.result_type(
            folder=self.folder, settings=self.settings, provenance=origin, **values
        )
        return result

    def command_line(self) -> str:
        """The command that gives the same result."""
        owners = [owner for owner in self.option_owners() if owner is not self.settings]
        return command_line(self.command, self.settings, *owners, typed=self.typed_values)
