"""``--dry-run``: what a training or design would do and write, and a rough time.

Each gives the plan of a run as JSON, and as lines for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from asvit.core.console import duration
from asvit.core.display import say
from asvit.runs.folder import check_folder

if TYPE_CHECKING:
    from asvit.runs.run_folder import RunFolder

SCHEMA_VERSION = 1

Plan = tuple[Mapping[str, Any], Iterable[str]]


def plan_of_training(run: RunFolder[Any, Any], *, quiet: bool) -> Plan:
    """The plan of a training."""
    from asvit.runs.algorithms.training import plan
    from asvit.runs.training import plan_lines

    head = _checked(run)
    facts = plan(run)
    return {**head, **facts}, plan_lines(facts)


def plan_of_design(run: RunFolder[Any, Any], *, quiet: bool) -> Plan:
    """The plan of a design: its pictures, and which stages are done."""
    from asvit.runs.algorithms.designing import plan

    head = _checked(run)
    if not quiet:
        say("timing a few networks; nothing is written")
    facts = plan(run)
    title, seconds = facts.pop("title"), facts["seconds"]
    whole, hours = sum(seconds.values()), run.settings.hours
    times = ", ".join(f"{name} {duration(took)}" for name, took in seconds.items())
    time = f"about {duration(whole)}: {times}" if seconds else ""
    if hours is not None and 3600 * hours < whole:
        time = f"{duration(3600 * hours)}, as --hours asks for; else about {duration(whole)}"
    lines = {
        "pictures": f"{facts['pictures']:,} of {len(facts['classes'])} classes",
        "done": ", ".join(facts["done"]) or "nothing",
        "next": ", ".join(facts["next"]) or "nothing",
        "time": time,
        "writes": f"{run.folder}/",
    }
    data = {**head, "settings": run.settings, "folder": str(run.folder), **facts}
    return data, [title, *(f"{name:9}{text}" for name, text in lines.items() if text)]


def _checked(run: RunFolder[Any, Any]) -> Mapping[str, Any]:
    """What the JSON of a plan begins with, if the run may use its folder."""
    check_folder(run.folder, run.kind.files, fresh=run.options.fresh)
    return {"schema_version": SCHEMA_VERSION, "kind": run.kind.files.kind, "dry_run": True}
