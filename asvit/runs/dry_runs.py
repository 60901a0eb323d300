"""``--dry-run``: what a run would do and write, the remaining steps, and a rough time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, number
from asvit.core.continuing import check_same_settings
from asvit.core.display import say
from asvit.core.run_files import MARKER, REPORT, RESULT, figure_files

if TYPE_CHECKING:
    from asvit.runs.algorithms.correlation import CorrelationAlgorithm
    from asvit.runs.algorithms.designing import DesignAlgorithm
    from asvit.runs.algorithms.scaling import ScaleAlgorithm
    from asvit.runs.algorithms.search import SearchAlgorithm
    from asvit.runs.algorithms.training import TrainAlgorithm
    from asvit.runs.estimate import Remaining
    from asvit.runs.run import Run

SCHEMA_VERSION = 1


#: The plan of a run as JSON, and as lines for people.
Plan = tuple[Mapping[str, Any], Iterable[str]]


def plan_of_training(run: TrainAlgorithm, *, quiet: bool) -> Plan:
    """The plan of a training."""
    from asvit.runs.training import plan_lines

    _check(run)
    check_same_settings(run.folder, run.begun_with, run.settings, changing=run.may_change)
    plan = run.plan()
    return {**_about(run), **plan}, plan_lines(plan)


def plan_of_design(run: DesignAlgorithm, *, quiet: bool) -> Plan:
    """The plan of a design: its pictures, and which stages are done."""
    _check(run)
    if not quiet:
        say("timing a few networks; nothing is written")
    run.load()
    plan = run.plan_facts()
    seconds = plan["seconds"]
    times = (f"{name} {clock(took)}" for name, took in seconds.items())
    whole, hours = sum(seconds.values()), run.settings.hours
    shorter = "" if hours is None or 3600 * hours >= whole else f"{clock(3600 * hours)}, or "
    lines = {
        "pictures": f"{plan['pictures']:,} of {len(plan['classes'])} classes",
        "done": ", ".join(plan["done"]) or "nothing",
        "next": ", ".join(plan["next"]) or "nothing",
        "time": f"{shorter}about {clock(whole)} if nothing is cut short: {', '.join(times)}"
        * bool(seconds),
        "writes": f"{run.folder}/",
    }
    data = {**_about(run), "settings": run.settings, "folder": str(run.folder), **plan}
    return data, _lines(run.title, lines)


def plan_of_measures(
    run: SearchAlgorithm | ScaleAlgorithm | CorrelationAlgorithm, *, quiet: bool
) -> Plan:
    """The plan of a run that measures."""
    from asvit.runs.algorithms.search import SearchAlgorithm
    from asvit.runs.estimate import peak_memory, timed_on
    from asvit.runs.folder import LOCK
    from proxies.evaluation import resolve_device

    search = run if isinstance(run, SearchAlgorithm) else None
    _check(run)
    if not quiet:
        say("timing a network; nothing is written")
    remaining, files = run.remaining(), run.files
    tables = [name for name in files.outputs if name not in figure_files(files.figures)]
    tables = tables if search is None else [*search.tables]
    memory = peak_memory(str(resolve_device(timed_on(run.settings.device, run.workers))))
    data: dict[str, Any] = {
        **_about(run),
        "settings": run.settings.to_json(),
        **({} if search is None else {"space_size": search.space.size}),
        "folder": str(run.folder),
        "files": [files.state, *tables, RESULT, REPORT, "*.svg", "*.csv", MARKER, LOCK],
        "remaining": remaining,
        "memory": memory,
    }
    lines = {
        "settings": ", ".join(f"{k} {_plain(v)}" for k, v in run.settings.effective().items()),
        "space": f"{data['space_size']:,} architectures" if "space_size" in data else "",
        "writes": f"{run.folder}/: {', '.join(data['files'])}",
        "steps": _steps(run, remaining),
        "example": _example(remaining),
        "time": _time(remaining),
        "memory": f"{(memory or 0) / 1e9:.2f} GB at most so far" * (memory is not None),
    }
    return data, _lines(run.title, lines)


def _about(run: Run[Any, Any, Any]) -> Mapping[str, Any]:
    """What the JSON of every plan begins with."""
    return {"schema_version": SCHEMA_VERSION, "kind": run.files.kind, "dry_run": True}


def _plain(value: object) -> str:
    if value is None:
        return "not given"
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _steps(run: Run[Any, Any, Any], remaining: Remaining) -> str:
    from asvit.runs.lifecycle import finished_result

    if remaining.left == 0 and finished_result(run) is not None:
        return "all are done: the run would only show its result"
    if remaining.left == 0:
        return "all are done; what follows from them, such as finalists, is left"
    left = "as many as the budget takes" if remaining.left is None else f"{remaining.left:,}"
    return left + f", after {remaining.done:,} that are done" * bool(remaining.done)


def _example(remaining: Remaining) -> str:
    cost = remaining.cost
    size = f": {cost.params:,} params, {cost.macs:,} multiply-adds" if cost else ""
    return remaining.example + size + f"; failed: {remaining.reason}" * bool(remaining.reason)


def _time(remaining: Remaining) -> str:
    seconds, left = remaining.seconds, remaining.left
    if seconds is None:
        return ""
    whole = "" if left is None else f", {clock(left * seconds)} for {left:,} of them"
    return f"about {number(seconds, 2)} s a network{whole}"


def _lines(title: str, values: Mapping[str, str]) -> list[str]:
    return [title, *(f"{name:9}{text}" for name, text in values.items() if text)]


def _check(run: Run[Any, Any, Any]) -> None:
    """Check the settings of a run, and its folder."""
    from asvit.runs.folder import check_folder

    run.check()
    check_folder(run.folder, run.files, fresh=run.fresh)
