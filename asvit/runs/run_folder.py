"""A kind of run, and the folder in which one of them goes on: claimed, continued, finished.

A kind is a row of facts and three functions: ``execute`` is its algorithm, from settings and a
:class:`RunFolder` to a result; ``summary`` shows a result; ``prepare`` completes what was asked
for by what other runs ended in. Its command, its typed function and its report follow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asvit.core.codec import check_schema, from_json, to_json, value_from_json
from asvit.core.command_line import command_line
from asvit.core.console import clock
from asvit.core.continuing import check_same
from asvit.core.display import in_notebook, progress_display
from asvit.core.errors import WrongOption, wrong_option
from asvit.core.files import append_record, expanded, read_records
from asvit.core.progress import Progress, Tell, ignore
from asvit.core.results import NO_FOLDER, RUNS, Result, article
from asvit.core.run_files import RECORDS, REPORT, RESULT
from asvit.core.settings import Settings, fields_of, option_of, setting, settings_class
from asvit.core.summary import SummaryPart, Table
from asvit.core.versions import versions
from asvit.runs import reporting
from asvit.runs.folder import RunFiles, claimed, named_folder, remove_files
from proxies.messages import unknown

if TYPE_CHECKING:
    from asvit.report.pictures import Picture

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)
T = TypeVar("T")

_TIME = "elapsed"  # seconds of all sessions, in every record

#: What was asked for, completed: values by name, and facts for the algorithm.
Prepared = tuple[Mapping[str, Any], Mapping[str, Any]]
#: Refuses values by name that are not allowed.
Check = Callable[[Mapping[str, Any]], object]


@settings_class
class RunOptions(Settings):
    """Options of a run that do not change its result."""

    out: Path | str | None = setting(
        None,
        "Run folder.",
        metavar="DIRECTORY",
        shown="a folder in runs, named after the settings",
        complete="paths",
    )
    fresh: bool = setting(False, "Start over instead of continuing the run.", repeats=False)


def facts_and_time(result: Result) -> Iterable[SummaryPart]:
    """Every number and text of result.json, and the time."""
    facts = {name.replace("_", " "): value for name, value in result.facts().items()}
    return [facts, f"finished in {clock(result.wall_seconds)}"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """What is known of a kind of run.

    A function may be given as ``"module:name"``, which is imported when it is first called: the
    help of a command loads neither torch nor Optuna nor matplotlib.
    """

    command: str  #: as it is typed behind ``asvit``
    help: str  #: of the command; its first line stands in the list of commands
    files: RunFiles
    settings_type: type[Settings]
    result: type[Result] | str
    execute: Callable[[Any, Any], Any] | str  #: settings and a :class:`RunFolder` to the result
    options_type: type[RunOptions] = RunOptions
    #: Settings and options as they were given to what they stand for.
    #: It gets a function that refuses wrong ones before any run is looked for.
    prepare: Callable[[dict[str, Any], Check], Prepared] | str | None = None
    #: Settings and options to the name of a folder in ``runs``.
    name: Callable[[Any, Any], str] | str | None = None
    summary: Callable[[Any], Iterable[SummaryPart]] = facts_and_time
    pictures: Callable[[Any], Sequence[Picture]] | str = lambda _: ()  #: of page and ``plot``
    details: Callable[[Any], Iterable[Table]] | str = lambda _: ()  #: long tables of the page
    records: Sequence[type] = ()  #: dataclasses of what it stores on its way
    may_grow: Sequence[str] = ()  #: settings that may become larger
    may_change: Sequence[str] = ()  #: settings that matter only once all is measured
    written: str = ""  #: the files that are named with its result
    complete: Sequence[str] = ()  #: files without which a result is made again
    #: Whether the stored result of the same settings is the answer; else ``execute`` looks again.
    settles: bool = True
    ends_in: str = ""  #: key of the architecture in result.json, if it ends in one
    keeps: bool = True  #: whether it has a folder where none is named
    shared: bool = False  #: whether several processes, each with a rank, may share a run
    dry_run: Any = None  #: what tells the plan of a run
    no_work: str = "this {noun} had finished before; --fresh starts it over"

    def __post_init__(self) -> None:
        for name in ("execute", "prepare", "name", "pictures", "details", "dry_run"):
            if isinstance(place := getattr(self, name), str):
                object.__setattr__(self, name, _imported_when_called(place))

    @property
    def result_type(self) -> Any:
        """The subclass of :class:`asvit.core.results.Result` that it ends in."""
        return resolve_name(self.result) if isinstance(self.result, str) else self.result

    def make(self, preset: str = "default", **values: Any) -> RunFolder[Any, Any]:
        """A run from the names that functions and commands take; nothing is touched yet.

        Raises:
            WrongOption: If a value is not allowed.
        """
        progress = values.pop("progress", None) or ignore
        prepared: Prepared = values, {}
        if callable(self.prepare):
            prepared = self.prepare(values, lambda known: self._checked(preset, known))
        run = self._checked(preset, prepared[0])
        run.progress, run.facts = progress, prepared[1]
        return run

    def _checked(self, preset: str, values: Mapping[str, Any]) -> RunFolder[Any, Any]:
        """A run of these settings and options; a WrongOption if one is not allowed."""
        of_settings, of_options = fields_of(self.settings_type), fields_of(self.options_type)
        if names := values.keys() - of_settings.keys() - of_options.keys():
            raise TypeError(unknown("setting", min(names), [*of_settings, *of_options]))
        workers = values.get("workers")
        if isinstance(workers, int) and option_of(of_options["workers"]) is None:
            raise WrongOption(f"workers={workers}; use asvit.executors.Workers(jobs={workers})")
        arguments = {name: value for name, value in values.items() if name in of_settings}
        options = {name: value for name, value in values.items() if name in of_options}
        with wrong_option():
            return RunFolder(
                self,
                self.settings_type.make(preset, **arguments),
                self.options_type.make(**options),
                arguments={**self.settings_type.presets[preset], **arguments},
            )

    def first(self) -> bool:
        """Whether this process tells of the run and writes its files, where several share it."""
        return not self.shared or os.environ.get("RANK", "0") == "0"

    def html(self, result: Result) -> str:
        """The summary as a notebook shows it."""
        from asvit.report.html import summary_html

        return summary_html(self.summary(result), heading="h4")


def _imported_when_called(place: str) -> Callable[..., Any]:
    return lambda *given, **named: resolve_name(place)(*given, **named)


@dataclass(frozen=True)
class Start:
    """What a run was started with, or last extended to."""

    request: Settings
    settings: Settings  #: as they are where some follow from images
    values: Mapping[str, Any]  #: images, device and what else every session has, in JSON's types


@dataclass
class RunFolder(Generic[S, R]):
    """A run, as its algorithm has it: what was asked for, what is stored, and how it tells.

    The algorithm calls :meth:`begin` once it knows what every session of the run must have in
    common, :meth:`add` for every step that is not to be done again, and :meth:`result` in the end.
    """

    kind: Kind
    settings: S  #: as they were asked for
    options: Any
    progress: Tell = ignore
    facts: Mapping[str, Any] = field(default_factory=dict)  #: what ``prepare`` found
    arguments: Mapping[str, Any] = field(default_factory=dict)  #: settings of preset and by name
    title: str = ""  #: what is about to be done, in a line
    records: list[Any] = field(default_factory=list, init=False)  #: of all sessions
    start: Start | None = field(default=None, init=False)
    page: bool = True  #: whether it gets a report
    #: Whether this call has done any work, rather than found its result.
    work_done: bool = field(default=False, init=False)
    _scratch: Path | None = field(default=None, init=False)  # folder of a run that is not kept
    _opened: float = field(default_factory=time.monotonic, init=False)
    _before: float = field(default=0.0, init=False)  # seconds of earlier sessions

    @property
    def folder(self) -> Path:
        """The run folder; by default one in ``runs``, named after settings without a default."""
        kind, out = self.kind, self._scratch or self.options.out
        if out is not None:
            return expanded(str(out))
        if callable(kind.name):
            return named_folder(kind.name(self.settings, self.options))
        fields = fields_of(kind.settings_type)
        named = [str(getattr(self.settings, n)) for n in fields if fields[n].is_required()]
        return named_folder("-".join([kind.command, *named]))

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions until now."""
        return self._before + time.monotonic() - self._opened

    @property
    def start_values(self) -> Mapping[str, Any]:
        """What the run was started with beside its settings; empty before."""
        return {} if self.start is None else self.start.values

    def run(self) -> R:
        """Start, continue or extend the run, or find that it has finished.

        A notebook shows a bar meanwhile, unless the run tells of its progress otherwise.

        Raises:
            ValueError: If the folder's run has other settings, images or device, or is in use, or
                something does not suit.
            OSError: If the folder cannot be written to, or something cannot be found.
        """
        kind, first = self.kind, self.kind.first()
        kept = kind.keeps or self.options.out is not None
        with ExitStack() as stack:
            if self.progress is ignore and in_notebook():
                self.progress = stack.enter_context(progress_display(lambda: self.title))
            if not kept:
                self._scratch = Path(stack.enter_context(TemporaryDirectory()))
            self.title = self.title or f"{kind.files.noun} in {self.folder}"
            if first:
                fresh = self.options.fresh
                stack.enter_context(claimed(self.folder, kind.files, fresh=fresh))
            self._opened = time.monotonic()
            self.read()
            result = self.settled() if kind.settles else None
            if result is None:
                result = kind.execute(self.settings, self)  # type: ignore[operator]
            if first and kept and self.page and not (self.folder / REPORT).exists():
                reporting.write_report(kind, self.folder)
        return result if kept else replace(result, folder=NO_FOLDER)

    def read(self) -> None:
        """Read what earlier sessions stored."""
        if not self.options.fresh:
            path, noun = self.folder / RECORDS, self.kind.files.noun
            read_records(path, self._take, what=article(noun))

    def _take(self, line: Mapping[str, Any]) -> None:
        if "record" in line:
            if self.start is None:
                raise ValueError("it comes before the settings of the run")
            self._before = value_from_json(line[_TIME], float)
            classes = {kind.__name__: kind for kind in self.kind.records}
            self.records.append(from_json(line, classes[line["record"]]))
            return
        check_schema(line, self.kind.files.kind, self.kind.result_type.schema_version)
        settings = self.kind.settings_type.from_json
        values = value_from_json(line["start"], Mapping[str, Any])
        self.start = Start(settings(line["asked"]), settings(line["settings"]), values)

    def settled(self) -> R | None:
        """The result in the folder, if it is all that is asked for."""
        if self.start is None or self.start.request != self.settings:
            return None
        there = all((self.folder / name).exists() for name in self.kind.complete)
        result = self.earlier_result() if there else None
        # One that was extended, and stopped before its new end, has an older result.
        return result if result is not None and result.settings == self.start.settings else None

    def earlier_result(self) -> R | None:
        """The result in the folder, of whatever settings; None if there is none."""
        with suppress(OSError, ValueError):  # it follows from the rest and is made again
            if self.start is not None:
                result: R = self.kind.result_type.read(self.folder / RESULT)
                return result
        return None

    def begin(self, settings: S | None = None, *, free: Sequence[str] = (), **values: Any) -> None:
        """Say what every session must have in common; refuse to go on with something else.

        Only from here on is anything in the folder changed: with ``--fresh``, what an earlier run
        left goes now.

        Args:
            settings: The settings as they are by now, where some follow from images.
            free: Names of those that may differ from before.
            **values: Images (``source`` and ``digest``), ``device`` and what else matters.

        Raises:
            ValueError: If an earlier session was started with others.
        """
        kind, before = self.kind, self.start
        values = to_json(values)
        now = Start(self.settings, settings or self.settings, {**self.start_values, **values})
        if before is not None:
            # The device is compared by its kind; images are the same where their digests are.
            free = [*free, *kind.may_change, "device", *["data"] * ("images" in values)]
            check_same(
                *(self.folder, before.settings, now.settings),
                growing=kind.may_grow,
                changing=free,
            )
            check_same(self.folder, before.values, values)
        elif self.options.fresh and kind.first():
            figures = kind.result_type.figure_files(self.folder)
            remove_files(self.folder, [*figures, *kind.files.names])
        self.start = now
        if kind.first() and now != before:
            head = {"schema_version": kind.result_type.schema_version, "kind": kind.files.kind}
            head |= {"asked": now.request.to_json(), "settings": now.settings.to_json()}
            append_record(self.folder / RECORDS, {**head, "start": now.values})

    def needs(self, what: str, path: Path) -> None:
        """Refuse to start over where that removes a file that the run needs."""
        names = self.kind.files.names if self.options.fresh else ()
        if path.resolve() in {self.folder.resolve() / name for name in names}:
            raise ValueError(
                f"{path}, {what}, is in the folder that --fresh empties; give --out another"
            )

    def add(self, record: Any) -> None:
        """Store a record, one of the kind's classes: on the disk before the next one is made."""
        line = {"record": type(record).__name__, **to_json(record), _TIME: round(self.seconds, 3)}
        append_record(self.folder / RECORDS, line)
        self.records.append(record)

    def count(self, seconds: float) -> None:
        """Count time of an earlier session that no record has."""
        self._before += seconds

    def of(self, record: type[T]) -> list[T]:
        """The records of a class, in their order."""
        return [one for one in self.records if isinstance(one, record)]

    def tell(self, progress: Progress) -> None:
        """Tell of the progress, with the time of this session where it is not given."""
        self.work_done = True
        if not progress.seconds:
            progress = replace(progress, seconds=time.monotonic() - self._opened)
        self.progress(progress)

    def result(self, provenance: Mapping[str, Any] | None = None, **values: Any) -> R:
        """The result with these fields of its own kind, which is written into the folder.

        ``provenance`` tells how it was reached, beside what the run was started with.
        """
        if self.start is None:
            raise RuntimeError(f"the {self.kind.files.noun} has not begun")
        kind, settings = self.kind, self.start.settings
        known = {**self.start.values, **(provenance or {}), "versions": versions()}
        known["command"] = command_line(kind.command, settings, self.options)
        result: R = kind.result_type(
            folder=self.folder,
            settings=settings,
            provenance={name: known.get(name) for name in kind.result_type.provenance_keys},
            **{"wall_seconds": self.seconds, **values},
        )
        if kind.first():
            remove_files(self.folder, [REPORT])
            result.write()
        return result


def register_kind(kind: Kind) -> Kind:
    """Give a kind of run its command, and make its folders known."""
    RUNS.register(kind.command, kind, code=kind.settings_type)
    return kind
