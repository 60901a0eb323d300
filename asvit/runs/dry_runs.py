"""``--dry-run``: what a training or design would do and write, and a rough time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from asvit.core.console import duration
from asvit.core.display import say

if TYPE_CHECKING:
    from asvit.runs.algorithms.designing import DesignAlgorithm
    from asvit.runs.run import Run
    from asvit.runs.run_folder import RunFolder

SCHEMA_VERSION = 1


#: The plan of a run as JSON, and as lines for people.
Plan = tuple[Mapping[str, Any], Iterable[str]]


def plan_of_training(run: RunFolder[Any, Any], *, quiet: bool) -> Plan:
    """The plan of a training."""
    from asvit.runs.algorithms.training import plan
    from asvit.runs.folder import check_folder
    from asvit.runs.training import plan_lines

    check_folder(run.folder, run.kind.files, fresh=run.options.fresh)
    facts = plan(run)
    head = {"schema_version": SCHEMA_VERSION, "kind": run.kind.files.kind, "dry_run": True}
    return {**head, **facts}, plan_lines(facts)


def plan_of_design(run: DesignAlgorithm, *, quiet: bool) -> Plan:
    """The plan of a design: its pictures, and which stages are done."""
    run = run.resolved()
    _check(run)
    if not quiet:
        say("timing a few networks; nothing is written")
    run.load()
    plan = run.plan_facts()
    seconds = plan["seconds"]
    times = ", ".join(f"{name} {duration(took)}" for name, took in seconds.items())
    whole, hours = sum(seconds.values()), run.settings.hours
    time = f"about {duration(whole)}: {times}"
    if hours is not None and 3600 * hours < whole:
        time = f"{duration(3600 * hours)}, as --hours asks for; else about {duration(whole)}"
    lines = {
        "pictures": f"{plan['pictures']:,} of {len(plan['classes'])} classes",
        "done": ", ".join(plan["done"]) or "nothing",
        "next": ", ".join(plan["next"]) or "nothing",
        "time": time * bool(seconds),
        "writes": f"{run.folder}/",
    }
    data = {**_about(run), "settings": run.settings, "folder": str(run.folder), **plan}
    return data, _lines(run.title, lines)


def _about(run: Run[Any, Any, Any]) -> Mapping[str, Any]:
    """What the JSON of every plan begins with."""
    return {"schema_version": SCHEMA_VERSION, "kind": run.files.kind, "dry_run": True}


def _lines(title: str, values: Mapping[str, str]) -> list[str]:
    return [title, *(f"{name:9}{text}" for name, text in values.items() if text)]


def _check(run: Run[Any, Any, Any]) -> None:
    """Check the settings of a run, and its folder."""
    from asvit.runs.folder import check_folder

    run.check()
    check_folder(run.folder, run.files, fresh=run.fresh)
