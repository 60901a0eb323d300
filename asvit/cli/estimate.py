"""What ``--dry-run`` shows: the run that would be, what it would write and how long it takes."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit._run_files import JOURNAL, REPORT, RESULT, TRIALS
from asvit.cli.output import emit_json
from asvit.console import clock

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.runs.estimate import Estimate
    from asvit.search import SearchSettings

SCHEMA_VERSION = 1
_WRITTEN = (JOURNAL, TRIALS, RESULT, REPORT, "*.svg", "*.csv", ".lock")

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only tell what the run would do and take; write nothing."
)


def estimate_search(
    settings: SearchSettings,
    title: str,
    *,
    out: Path | None = None,
    storage: str | None = None,
    fresh: bool = False,
    workers: Workers | None = None,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Show what a search with ``settings`` would do and take; nothing is written.

    Args:
        settings: Of the search.
        title: The search in a line.
        out: Run folder; by default the one that the run would take.
        storage: URL of a storage that is used instead of a journal; it is not opened.
        fresh: Whether an earlier run in the folder would be started over.
        workers: Who would measure.
        quiet: Do not say what is being done.
        as_json: Write JSON on stdout, everything else on stderr.

    Raises:
        ValueError: If the run would be refused.
        OSError: If the folder could not be written to, or images cannot be found.
    """
    from asvit.runs.checks import find_space
    from asvit.runs.estimate import estimate_search as estimated
    from asvit.runs.estimate import steps_done
    from asvit.runs.folder import SEARCH, check_folder
    from asvit.runs.search import default_folder

    folder = default_folder(settings) if out is None else out
    check_folder(folder, SEARCH, fresh=fresh, elsewhere=storage is not None)
    done = 0 if fresh or storage is not None else steps_done(folder, settings)
    if not quiet:
        click.echo("measuring a few architectures; nothing is written", err=True)
    found = estimated(settings, workers, done=done)
    data = {
        "schema_version": SCHEMA_VERSION,
        "kind": "search",
        "dry_run": True,
        "settings": settings.to_json(),
        "space_size": find_space(settings.space, image_size=settings.image_size).size,
        "folder": str(folder),
        "files": [name for name in _WRITTEN if storage is None or name != JOURNAL],
        "steps_done": done,
        "estimate": found,
        "machine": machine(found.device),
    }
    if as_json:
        emit_json(data)
    if not (as_json and quiet):
        _show(title, data, found, err=as_json)


def machine(device: str) -> dict[str, Any]:
    """What a run would be measured on."""
    import torch

    from asvit.executors.base import cores

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": device,
        "device_name": name,
        "torch": torch.__version__,
    }


def _show(title: str, data: dict[str, Any], found: Estimate, *, err: bool) -> None:
    click.echo(title, err=err)
    for name, text in {
        "settings": ", ".join(f"{k} {_plain(v)}" for k, v in data["settings"].items()),
        "space": f"{data['space_size']:,} architectures",
        "writes": f"{data['folder']}/: {', '.join(data['files'])}",
        "steps": _steps(data["steps_done"], found),
        "time": _time(found),
        "memory": _memory(found),
        "machine": _machine(data["machine"]),
    }.items():
        click.echo(f"{name:9}{text}", err=err)


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _steps(done: int, found: Estimate) -> str:
    if not found.steps:
        return "all are done: the run would only show its result"
    again = f", after {done} that are done" if done else ""
    fresh = round(found.architectures)
    return f"{found.steps}{again}; about {fresh:,} different architectures to measure"


def _time(found: Estimate) -> str:
    if not found.steps:
        return "none"
    mean = sum(sample.seconds for sample in found.samples) / len(found.samples)
    told = (
        f"about {clock(found.seconds)} ({clock(found.low)} to {clock(found.high)}) and a few "
        f"seconds for start and report; from {len(found.samples)} architectures, "
        f"{mean:.2g} s each with one network, {found.growth:.2g} times that with all"
    )
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
