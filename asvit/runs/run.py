"""A run, written once: what is common to searches, scalings, trainings and every other kind."""

from __future__ import annotations

import copy
import dataclasses
import os
import shlex
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

from asvit.core.console import clock, number
from asvit.core.display import in_notebook, progress_display
from asvit.core.files import check_plain
from asvit.core.journal import Journal
from asvit.core.progress import Progress, Tell, ignore
from asvit.core.results import Result, article
from asvit.core.run_files import REPORT, RESULT
from asvit.core.settings import (
    Option,
    Settings,
    check_same_device,
    check_same_images,
    check_same_settings,
    check_same_versions,
    fields_of,
    option_of,
    setting,
)
from asvit.core.versions import versions
from asvit.runs.folder import RUNS as RUNS
from asvit.runs.folder import RunFiles, claimed, kinds_in, named_folder, remove_files, seems_usable
from proxies.messages import legible, unknown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from asvit.report.pictures import Picture

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)
J = TypeVar("J")

K = TypeVar("K", bound="type[Run[Any, Any, Any]]")


def register_run(kind: K) -> K:
    """Class decorator: give a kind of run its command, and make its folders known."""
    RUNS.register(kind.command, kind)
    return kind


def kind_of(folder: Path) -> type[Run[Any, Any, Any]] | None:
    """The kind of run that ``folder`` holds; None where no kind known here has written in it.

    Without a result or a state to tell, the names of its files do.
    """
    found = kinds_in(folder)
    kind: type[Run[Any, Any, Any]]
    for kind in RUNS.values():
        if found & kind.files.kinds:
            return kind
    files = [(kind, name) for kind in RUNS.values() for name in kind.files.outputs]
    files += [(kind, kind.files.state) for kind in RUNS.values()]
    return next((kind for kind, name in files if not found and (folder / name).is_file()), None)


def write_report(folder: Path | str) -> list[Path]:
    """Write the report of a run of any kind anew; what is of no other kind is taken for a search.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If it is no run folder, or nothing is finished in it yet.
        ValueError: If a file in it is not what it should be, or its kind has no report.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    kind: type[Run[Any, Any, Any]] = kind_of(Path(folder)) or RUNS["search"]
    written = kind.write_report(Path(folder))
    if not written:
        raise ValueError(f"{folder} holds {article(kind.files.noun)}, which has no report")
    return written


class UnusableRunError(ValueError):
    """Another run that this one starts from cannot be used: no fault of the options."""


class imported:
    """A class attribute, ``"module:name"``, that is imported when it is first looked at."""

    def __init__(self, place: str) -> None:
        self._module, _, self._name = place.partition(":")

    def __get__(self, _run: object, _kind: object = None) -> Any:
        """The attribute."""
        return getattr(import_module(self._module), self._name)


@dataclass(kw_only=True)
class Run(ABC, Generic[S, R, J]):
    """One call of a kind of run: its settings, and the options that do not change its result.

    A kind of run is a subclass, registered in :data:`RUNS`. It declares its settings, its result
    and its files, and supplies the algorithm (:meth:`execute`); :meth:`run` does the rest. It
    claims the folder, continues or extends what is there, checks images and device, and writes
    result and report. Options are fields made by :func:`asvit.core.settings.setting`; commands and
    their help follow from them. What does not suit raises ValueError, what is missing or cannot
    be written OSError.

    Type parameters: settings, result, and what a stopped run continues from: a journal, or a
    checkpoint whose ``origin`` tells how the run began.
    """

    command: ClassVar[str]
    summary: ClassVar[str]  # the first line of its docstring, unless given
    files: ClassVar[RunFiles]
    settings_type: ClassVar[Any]
    result_type: ClassVar[Any]
    journal_type: ClassVar[Any] = None  # an :class:`asvit.core.journal.Journal`, for most kinds
    folder_name: ClassVar[str] = ""  # with settings as {s.seed}; else all without a default
    about: ClassVar[str] = ""  # what is done, likewise
    needs: ClassVar[Sequence[str]] = ()  # attributes that :meth:`check` makes
    inputs: ClassVar[Sequence[str]] = ()  # attributes that :meth:`prepare` makes
    report: ClassVar[Any] = None  # a :class:`asvit.report.html.Report`; None for the usual one
    written: ClassVar[str] = ""  # the files that :meth:`show` names
    may_grow: ClassVar[Sequence[str]] = ()
    may_change: ClassVar[Sequence[str]] = ()  # settings that matter only once all is measured
    libraries: ClassVar[Sequence[str]] = ("torch", "timm", "numpy")  # that must not change
    always_typed: ClassVar[Sequence[str]] = ()  # settings that the command line always names
    no_work: ClassVar[str] = "this {noun} had finished before; --fresh starts it over"

    settings: S  #: what to do
    out: Path | str | None = setting(
        None,
        "Run folder.",
        metavar="DIRECTORY",
        shown="a folder in runs, named after the settings",
        complete="paths",
    )
    fresh: bool = setting(False, "Start over instead of continuing the run.", repeats=False)
    progress: Tell = ignore  #: called as the run goes on
    may_move: Sequence[str] = ()  #: settings that may name the same images by another path
    #: Whether this call has done any work, rather than found its result.
    work_done: bool = dataclasses.field(default=False, init=False)
    _started: float = dataclasses.field(default=0.0, init=False)

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "summary" not in vars(cls):
            cls.summary = (cls.__doc__ or "").partition("\n")[0]

    def tell(self, progress: Progress) -> None:
        """Say how far the run is; the time is filled in where it is not given."""
        self.work_done = True
        if not progress.seconds:
            progress = dataclasses.replace(progress, seconds=time.monotonic() - self._started)
        self.progress(progress)

    # What a kind of run supplies.

    def default_name(self) -> str:
        """Name of the folder in ``runs`` where no other is given."""
        fields = fields_of(self.settings_type).values()
        required = [f"{{s.{one.name}}}" for one in fields if one.default is dataclasses.MISSING]
        named = self.folder_name or "-".join([self.command, *required])
        return named.format(s=self.settings)

    def check(self) -> None:
        """Refuse what cannot be done, by looking names up: quickly, and without writing."""
        for name in self.needs:
            getattr(self, name)

    def prepare(self) -> None:
        """Load images and networks; called before anything is made or removed, perhaps twice."""
        for name in self.inputs:
            getattr(self, name)

    def open(self) -> J:
        """What the folder holds of earlier sessions: an empty journal, or None, in a new one."""
        return self.journal_type(self.folder / self.files.state)  # type: ignore[no-any-return]

    def start_values(self) -> Mapping[str, Any]:
        """What a journal keeps beside the settings: ``images`` and ``device`` must not change."""
        return {}

    def begin(self, journal: J) -> None:
        """Check that the run goes on as it was started, and keep what it is started with."""
        begun, now = _origin(journal), self.start_values()
        if begun is not None:
            if "device" in now:
                check_same_device(self.folder, begun.device, now["device"])
            if "images" in now:
                check_same_images(self.folder, begun.images, now["images"])
            if begun.settings is not None:
                kept = getattr(begun, "versions", None)
                check_same_versions(self.folder, kept, self.libraries)
        if isinstance(journal, Journal):
            journal.start(self.settings, **now, versions=self.versions(journal.versions))

    def versions(self, kept: Mapping[str, str] | None) -> Mapping[str, str]:
        """The versions to keep with the run, which has ``kept`` some if it was started before."""
        return kept or versions()

    @abstractmethod
    def execute(self, journal: J) -> R:
        """The algorithm: from what earlier sessions left to the result."""

    def settled(self, journal: J, result: R) -> bool:
        """Whether ``result``, which the folder holds, is all that is asked for."""
        return bool(result.settings == self.settings)

    def stored_settings(self, journal: J) -> S | None:
        """The settings that the folder's run was started with; None in a new one."""
        begun = _origin(journal)
        return None if begun is None else begun.settings

    @property
    def title(self) -> str:
        """What is about to be done, in a line."""
        told = self.about.format(s=self.settings)
        return told or f"{self.files.noun} in {self.folder}"

    @classmethod
    def facts(cls, result: R) -> Mapping[str, object]:
        """What a run came to, as names and values: every number and text of its result.json."""
        return {name.replace("_", " "): value for name, value in result.facts().items()}

    @classmethod
    def pictures(cls, result: R) -> Sequence[Picture] | None:
        """The figures of the report and of ``result.plot``; None for a kind without a report."""
        return None if cls.report is None else cls.report.pictures(cls.report.read(result.folder))

    @classmethod
    def write_report(cls, folder: Path) -> list[Path] | None:
        """Write the report of a run folder: facts and figures of its result.

        Returns:
            The files written, the page last; None for a kind without a report.

        Raises:
            FileNotFoundError: If the run has not finished.
            ValueError: If its result cannot be read.
            OSError: If it cannot be written to.
        """
        if cls.report is not None:
            return cls.report(folder)  # type: ignore[no-any-return]
        from asvit.report.html import read_result, result_page, write_files

        result: R = read_result(folder, cls.result_type, f"asvit {cls.command}")
        drawn = cls.pictures(result)
        if drawn is None:
            return None
        facts = {name: number(value) for name, value in cls.facts(result).items()}
        page = result_page(f"asvit {cls.command}", result, facts, drawn)
        return write_files(folder, drawn, page)

    @classmethod
    def told(cls, result: R, screen: Console) -> Iterator[RenderableType]:
        """Lines and tables that say on a console what a run came to."""
        yield ""
        yield from (f"{name}: {number(value)}" for name, value in cls.facts(result).items())

    @classmethod
    def show(cls, result: R, screen: Console) -> None:
        """Write what a run came to on a console, and what to type next."""
        for part in cls.told(result, screen):
            screen.print(part)
        folder, names = result.folder, cls.written.split(", ")
        there = ", ".join(n for n in names if "." not in n or (folder / n).exists())
        more = f" ({there})" if there else f", after {clock(result.wall_seconds)}"
        screen.print(legible(f"folder: {folder}{more}"))
        if result.next_command:
            screen.print(f"next:   {result.next_command}", soft_wrap=True)  # to be copied

    def plan_facts(self) -> Mapping[str, Any]:
        """What ``--dry-run`` tells of this kind alone, as JSON values."""
        return {}

    @property
    def first(self) -> bool:
        """Whether this process tells of the run and writes its files, where several share it."""
        return True

    def extra_files(self, folder: Path) -> Sequence[str]:
        """Names of files that the earlier run in ``folder`` wrote beside :attr:`files`."""
        return ()

    # What follows.

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """A run from the names that functions and commands take."""
        if given.get("progress", ignore) is None:
            del given["progress"]
        own = {name for name in fields_of(cls) if name != "settings"}
        options = {name: given.pop(name) for name in list(given) if name in own}
        known = fields_of(cls.settings_type)
        for name in given:
            if name not in known:
                raise TypeError(unknown("setting", name, [*known, *own]))
        return cls(settings=cls.settings_type.make(preset, **given), **options)

    @classmethod
    def option_types(cls) -> Sequence[Any]:
        """The dataclasses whose fields are the options, in the order of the help."""
        return cls.settings_type, cls

    @property
    def folder(self) -> Path:
        """The run folder."""
        return named_folder(self.default_name()) if self.out is None else Path(self.out)

    @property
    def elsewhere(self) -> bool:
        """Whether what a stopped run continues from is kept outside its folder."""
        return False

    @property
    def outside(self) -> bool:
        """Whether the next session would keep that outside the folder; nothing is opened."""
        return False

    def run(self) -> R:
        """Start, continue or extend the run, or find that it has finished.

        A notebook shows a bar meanwhile, unless :attr:`progress` was given.

        Raises:
            ValueError: If the folder's run has other settings, images or device, or is in use, or
                something does not suit.
            OSError: If the folder cannot be written to, or something cannot be found.
        """
        if self.progress is not ignore or not in_notebook():
            return self.perform()
        with progress_display(lambda: self.title) as self.progress:
            return self.perform()

    def perform(self) -> R:
        """What :meth:`run` does, whoever shows its progress."""
        self.check()
        folder = self.folder
        usable = seems_usable(folder, self.files, fresh=self.fresh, elsewhere=self.elsewhere)
        if usable and (self.fresh or not os.path.lexists(folder / self.files.state)):
            self.prepare()
        with self.claim():
            journal = self.open()
            stored = self.stored_settings(journal)
            self.check_settings(stored)
            result = self._stored_result(journal)
            if result is None:
                self.prepare()
                self.begin(journal)
                self._started = time.monotonic()
                result = self.execute(journal)
                self.finish(result)
            self.complete(journal, result)
        return result

    def peeked(self) -> J:
        """What the folder holds, read from a copy: opening a journal may repair it."""
        state = self.folder / self.files.state
        with TemporaryDirectory() as place:
            if state.exists() and not self.fresh:
                check_plain(state)
                shutil.copy(state, place)
            copied = copy.copy(self)
            copied.out = place
            return copied.open()

    def result(self, journal: J, kept: Mapping[str, Any] | None = None, **values: Any) -> R:
        """The result of a run with the fields of its own kind, ``values``.

        ``kept`` tells how it was made, beside versions and command. The time is the journal's
        unless ``values`` has ``wall_seconds``.
        """
        if "wall_seconds" not in values:
            values["wall_seconds"] = cast("Any", journal).elapsed
        kept = self.provenance(**(kept or {}))
        made: R = self.result_type(
            folder=self.folder, settings=self.settings, provenance=kept, **values
        )
        return made

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep the folder for this run."""
        where = {"fresh": self.fresh, "elsewhere": self.elsewhere}
        with claimed(self.folder, self.files, more=self.extra_files, **where):
            yield

    def finish(self, result: R) -> None:
        """Write the result; the report of an earlier one goes."""
        remove_files(self.folder, [REPORT])
        result.write()

    def complete(self, journal: J, result: R) -> None:
        """Write what follows from a finished run, where it is not there."""
        if self.first and not (self.folder / REPORT).exists():
            self.write_report(self.folder)

    def _stored_result(self, journal: J) -> R | None:
        try:
            result: Any = self.result_type.read(self.folder / RESULT)
        except (FileNotFoundError, ValueError):
            return None  # it follows from the journal and is written again
        return result if self.settled(journal, result) else None

    def check_settings(self, stored: S | None) -> None:
        """Check that the settings are those that the folder's run was started with, if it was."""
        free = {"growing": self.may_grow, "changing": (*self.may_change, *self.may_move)}
        check_same_settings(self.folder, stored, self.settings, **free)

    def provenance(self, **known: Any) -> dict[str, Any]:
        """What is kept with a result: ``known``, versions, and the command that repeats it."""
        return {**known, "versions": versions(), "command": self.command_line()}

    def command_line(self) -> str:
        """The command that gives the same result."""
        arguments, options = ["asvit", *self.command.split()], list[str]()
        for owner, names in self.typed_names():
            more, words = typed_options(owner, names)
            arguments += more
            options += words
        return shlex.join([*arguments, *options])

    def typed_names(self) -> Sequence[tuple[Any, Collection[str] | None]]:
        """What holds the values of the options, each with what :func:`typed_options` takes."""
        return (self.settings, self._typed_settings()), (self, None)

    def _typed_settings(self) -> Collection[str]:
        """Names of the settings that a command without them would not have.

        A default may follow from other options, so each is that beside the ones typed already.
        """
        fields = fields_of(self.settings_type).values()
        required = [one.name for one in fields if one.default is dataclasses.MISSING]
        typed = {*required, *self.always_typed}
        while True:
            usual = self.settings_type.make(**{one: getattr(self.settings, one) for one in typed})
            if not (missing := self.settings.difference(usual).keys() - typed):
                return typed
            typed |= missing


def _origin(journal: object) -> Any:
    """What tells how a run began: its journal, the origin of its checkpoint, or None."""
    return getattr(journal, "origin", journal)


def typed_options(
    owner: object, names: Collection[str] | None = None
) -> tuple[list[str], list[str]]:
    """The words of a command line for a run or its settings: its arguments, and its options.

    ``names`` are those of the fields to type, by default of all whose value is not the default.
    What is None is not typed: no text stands for it.
    """
    arguments: list[str] = []
    options: list[str] = []
    for name, field in fields_of(type(owner)).items():
        option, value = option_of(field), getattr(owner, name)
        if option is None or not option.repeats or value is None:
            continue
        if value != field.default if names is None else name in names:
            words = arguments if option.argument else options
            words += _typed(option, name, value)
    return arguments, options


def _typed(option: Option, name: str, value: object) -> list[str]:
    """The words for the option of the field ``name`` with a value."""
    if option.argument:
        return [str(value)]
    spelled = f"--{(option.name or name).replace('_', '-')}"
    if isinstance(value, bool):
        return [spelled] if value else [f"--no-{spelled[2:]}"]
    several = value if isinstance(value, tuple) else (value,)
    if option.parse is not None:  # from one text
        several = (",".join(map(option.spell, several)),)
    return [word for one in several for word in (spelled, str(one))]
