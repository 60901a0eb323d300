"""``asvit cost``: parameters and multiply-adds of architectures, part by part; latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import (
    TIMM,
    architectures_argument,
    canonical,
    emit_json,
    json_option,
    known,
    parameters,
)
from asvit.core.console import console, number, table
from asvit.core.display import say
from asvit.core.settings import setting

if TYPE_CHECKING:
    from proxies.latency import Latency

Part = dict[str, object]

SCHEMA_VERSION = 1
HEADINGS = {"tokens_per_side": "tokens a side", "window": "window side", "macs": "multiply-adds"}


@dataclass
class Options:
    """What to count with, and how to time; without a default where that is for others to say."""

    image_size: int | None = setting(
        None,
        "Side of the square images, in pixels.",
        at_least=1,
        shown="that of a training or design named, else 224",
    )
    classes: int | None = setting(
        None,
        "Classes to count with.",
        at_least=1,
        shown="those of --data, else as the size, else 1000",
    )
    data: str | None = setting(
        None,
        "Images whose classes to count with, as asvit train takes them.",
        metavar="DATA",
        complete="data",
    )
    latency: bool = setting(False, "Time a forward pass, too.")
    batch: int | None = setting(None, "Images in the pass to time.", at_least=1, shown="1")
    device: str | None = setting(
        None,
        "Where to time: auto, cpu, cuda, cuda:1, mps, ... (see asvit list devices).",
        metavar="DEVICE",
        shown="cpu",
        complete="asvit.runs.timing:device_names",
    )
    runtime: str | None = setting(
        None,
        "What runs the network: eager or compile (PyTorch), or onnx (ONNX Runtime).",
        metavar="NAME",
        shown="eager",
        complete="asvit.runs.timing:RUNTIMES",
    )


@click.command(cls=Documented)
@architectures_argument
@json_option
def command(
    architectures: tuple[str, ...],
    *,
    image_size: int | None,
    classes: int | None,
    data: str | None,
    latency: bool | None,
    as_json: bool,
    **timing: Any,
) -> None:
    """Count parameters and multiply-adds of each ARCH, part by part.

    ARCH is an architecture text, quoted because of its bars, timm:NAME, or the folder of a run
    that ended in an architecture.
    """
    from asvit.spaces import cost

    given = {name: value for name, value in timing.items() if value is not None}
    if given and not latency:
        raise click.UsageError(f"--{min(given)} says how to time; give --latency, too")
    texts = canonical(architectures)
    if classes is None and data is not None:
        from asvit.data.training_sets import class_count

        classes = class_count(data)
    usual = _trained_at(architectures)
    side = usual[0] if image_size is None else image_size
    classes = usual[1] if classes is None else classes
    parts = {text: _parts(text, side, classes) for text in texts}
    totals = {text: asdict(cost(text, side, classes)) for text in parts}
    times = _timed(texts, side, classes, given) if latency else {}
    if as_json:
        counted = [
            {
                "architecture": text,
                "image_size": side,
                "classes": classes,
                **totals[text],
                **({"latency": asdict(times[text])} if times else {}),
                "parts": parts[text],
            }
            for text in parts
        ]
        emit_json({"schema_version": SCHEMA_VERSION, "architectures": counted})
        return
    screen = console()
    for text, rows in parts.items():
        columns = list(rows[0])
        cells = [[row[column] for column in columns] for row in rows]
        total = ["total", *("" for _ in columns[3:]), *totals[text].values()]
        headings = [HEADINGS.get(column, column) for column in columns]
        screen.print(
            table(headings, [*cells, total], title=text, left=headings[:1], rule=len(rows))
        )
        if times:
            screen.print(_told(times[text]), soft_wrap=True)
    screen.print(f"multiply-adds, batch 1, {side} px, {classes} classes")


command.params[1:1] = parameters(Options)


def _trained_at(texts: Sequence[str]) -> tuple[int, int]:
    """Image size and classes of the trained networks named, where they agree, else ImageNet's."""
    from asvit.runs.architectures import find_architecture

    found = {find_architecture(text).trained_at for text in texts} - {None}
    return (found.pop() if len(found) == 1 else None) or (224, 1000)


def _timed(texts: list[str], side: int, classes: int, given: dict[str, Any]) -> dict[str, Latency]:
    """The latency of each architecture, with a warning where other programs ran meanwhile."""
    from asvit.runs.timing import RUNTIMES
    from asvit.runs.timing import latency as measured

    known("runtime", given.get("runtime", "eager"), list(RUNTIMES))
    found = {text: measured(text, side, num_classes=classes, **given) for text in texts}
    if (worst := max(found.values(), key=lambda one: one.busy)).is_busy:
        say(f"warning: {worst.busy_in_words}")
    return found


def _told(found: Latency) -> str:
    """The line about a latency."""
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    return (
        f"latency {number(found.milliseconds)} ms (interquartile range {number(found.spread, 2)}, "
        f"{found.passes} passes), batch {found.batch}, {found.runtime}, {found.device}, {threads}"
    )


def _parts(text: str, side: int, classes: int) -> list[Part]:
    """The stages of an architecture of ours; what a timm model is put together of."""
    from asvit.spaces import build, stage_table
    from proxies.counts import Cost, count_by_module

    if not text.startswith(TIMM):
        return [asdict(row) for row in stage_table(text, image_size=side, num_classes=classes)]
    counted = count_by_module(build(text, side, classes), side)
    parts = {name: cost for name, cost in counted.items() if name and "." not in name}
    # Tokens and positions are parameters of the network itself; it may multiply by itself, too.
    parts["other"] = Cost(
        counted[""].params - sum(cost.params for cost in parts.values()),
        counted[""].macs - sum(cost.macs for cost in parts.values()),
    )
    return [{"part": name, **asdict(cost)} for name, cost in parts.items() if any(astuple(cost))]
