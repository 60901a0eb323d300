"""What ``--dry-run`` shows: what a run would do, what it would write and how long it takes."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from asvit.core.console import clock
from asvit.core.display import say
from asvit.core.run_files import REPORT, RESULT, figure_files
from asvit.core.settings import WrongOption
from asvit.executors.base import cores

if TYPE_CHECKING:
    from asvit.runs.correlation import CorrelationRun
    from asvit.runs.designing import DesignRun
    from asvit.runs.estimate import Estimate
    from asvit.runs.run import Run
    from asvit.runs.scaling import ScaleRun
    from asvit.runs.search import SearchRun
    from asvit.runs.training import TrainRun

SCHEMA_VERSION = 1


#: What a dry run finds, in JSON types, and its lines for people.
Found = tuple[Mapping[str, Any], Iterable[str]]


def plan_of_training(run: TrainRun, *, quiet: bool) -> Found:
    """What a training would do."""
    from asvit.runs.training import plan_lines

    plan = run.plan()
    return plan, plan_lines(plan)


def plan_of_design(run: DesignRun, *, quiet: bool) -> Found:
    """What a design would look at and do, and what of it is done."""
    _checked(run)
    if not quiet:
        say("timing a few networks; nothing is written")
    run.prepare()
    plan = run.plan_facts()
    seconds = plan["seconds"]
    each = (f"{name} {clock(took)}" for name, took in seconds.items())
    told = {
        "pictures": f"{plan['pictures']:,} of {len(plan['classes'])} classes",
        "done": ", ".join(plan["done"]) or "nothing",
        "next": ", ".join(plan["next"]) or "nothing",
        "time": f"about {clock(sum(seconds.values()))} if nothing is cut short: {', '.join(each)}"
        * bool(seconds),
        "writes": f"{run.folder}/",
    }
    about = {"schema_version": SCHEMA_VERSION, "kind": run.files.kind, "dry_run": True}
    data = {**about, "settings": run.settings, "folder": str(run.folder), **plan}
    return data, _lines(run.title, told)


def _lines(title: str, told: Mapping[str, str]) -> list[str]:
    return [title, *(f"{name:9}{text}" for name, text in told.items() if text)]


def _checked(run: Run[Any, Any, Any]) -> None:
    """Check what a run is to do, and its folder."""
    from asvit.runs.folder import check_folder

    try:
        run.check()
    except WrongOption as error:
        raise click.UsageError(str(error)) from error
    check_folder(run.folder, run.files, fresh=run.fresh, elsewhere=run.outside)


def estimate_of(run: SearchRun | ScaleRun | CorrelationRun, *, quiet: bool) -> Found:
    """What a run would do and take; a storage of a search of its own is not opened."""
    from asvit.runs.folder import LOCK

    _checked(run)
    if not quiet:
        say("measuring a few architectures; nothing is written")
    found = run.estimate()
    files = run.files
    tables = [name for name in files.outputs if name not in figure_files(files.figures)]
    state = [] if run.outside else [files.state]
    data = {
        "schema_version": SCHEMA_VERSION,
        "kind": files.kind,
        "dry_run": True,
        "settings": run.settings.to_json(),
        **run.plan_facts(),
        "folder": str(run.folder),
        "files": [*state, *tables, RESULT, REPORT, "*.svg", "*.csv", LOCK],
        "steps_done": found.done,
        "estimate": found,
        "machine": machine(found.device),
    }
    return data, _lines(run.title, _told({**data, "settings": run.settings.effective()}, found))


def machine(device: str) -> dict[str, Any]:
    """What a run would be measured on."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": device,
        "device_name": name,
        "torch": torch.__version__,
    }


def _told(data: dict[str, Any], found: Estimate) -> dict[str, str]:
    trains = data["settings"].get("trainings") is not None
    return {
        "settings": ", ".join(f"{k} {_plain(v)}" for k, v in data["settings"].items()),
        "space": f"{data['space_size']:,} architectures" if "space_size" in data else "",
        "writes": f"{data['folder']}/: {', '.join(data['files'])}",
        "trials" if trains else "steps": _steps(data["steps_done"], found, trains=trains),
        "time": _time(found, trains=trains),
        "memory": _memory(found),
        "machine": _machine(data["machine"]),
    }


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _steps(done: int, found: Estimate, *, trains: bool) -> str:
    if not found.steps:
        return "all are done: the run would only show its result"
    again = f", after {done} that are done" if done else ""
    if trains:
        return f"{found.steps} trainings{again}"
    fresh = round(found.architectures)
    return f"{found.steps}{again}; about {fresh:,} different architectures to measure"


def _time(found: Estimate, *, trains: bool) -> str:
    if not found.steps:
        return "none"
    mean = sum(sample.seconds for sample in found.samples) / len(found.samples)
    told = (
        f"about {clock(found.seconds)} ({clock(found.low)} to {clock(found.high)}) and a few "
        f"seconds for start and report; from {len(found.samples)} architectures, {mean:.2g} s each"
    )
    if not trains:
        told += f" with one network, {found.growth:.2g} times that with all"
    if found.jobs > 1:
        told += f"; {found.jobs} workers, together {found.speed:.2g} times as fast at best"
    if found.failures:
        told += f"; {found.failures} of them failed"
    return told


def _memory(found: Estimate) -> str:
    if found.memory is None:
        return "not known on this system"
    return f"{found.memory / 1e9:.2f} GB at most so far; the largest architectures may take more"


def _machine(about: dict[str, Any]) -> str:
    on = about["device"] if about["device_name"] is None else about["device_name"]
    load = "" if about["load"] is None else f", load {about['load']:.1f}"
    return f"{about['system']}, cores {about['cores']}{load}; on {on}, torch {about['torch']}"
