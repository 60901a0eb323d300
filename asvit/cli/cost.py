"""``asvit cost``: parameters and multiply-adds of architectures, part by part; latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import (
    TIMM,
    architectures_argument,
    canonical,
    checked_choice,
    emit_json,
    json_option,
    parameters,
)
from asvit.core.console import console, number, quantity, table
from asvit.core.display import say
from asvit.core.errors import wrong_option
from asvit.core.programs import file_command
from asvit.core.settings import Settings, setting, settings_class
from asvit.core.shared_settings import command_setting
from asvit.measuring.latency import COMMAND

if TYPE_CHECKING:
    from rich.console import RenderableType

    from asvit.measuring.latency import Latency

Part = dict[str, object]

SCHEMA_VERSION = 1
_COLOURS, _MOST_CHANNELS = 3, 64  # channels of pictures, and most of images
HEADINGS = {"tokens_per_side": "tokens a side", "window": "window side", "macs": "multiply-adds"}


@settings_class
class Options(Settings):
    """What to count with, and how to time; None for defaults that depend on other values."""

    image_size: int | None = setting(
        None,
        "Side of the square images, in pixels.",
        at_least=1,
        shown="that of a training, design or scaling as ARCH, else 224",
    )
    classes: int | None = setting(
        None,
        "Classes to count with.",
        at_least=1,
        shown="those of --data, else ARCH's likewise, else 1000",
    )
    data: str | None = setting(
        None,
        "Images whose classes and channels to count with, as asvit train takes them.",
        metavar="DATA",
        complete="data",
    )
    channels: int | None = setting(
        None,
        "Channels of the images to count with.",
        at_least=1,
        shown="those of --data, else a trained ARCH's, else 3",
    )
    latency: bool = setting(False, "Time a forward pass, too.")
    latency_command: str | None = command_setting()
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
        "What runs the network: eager (PyTorch) or onnx (ONNX Runtime).",
        metavar="NAME",
        shown="eager",
        complete="asvit.core.shared_settings:RUNTIME_NAMES",
    )


@click.command(cls=Documented, params=[architectures_argument, *parameters(Options)])
@json_option
def command(
    architectures: tuple[str, ...],
    *,
    image_size: int | None = None,
    classes: int | None = None,
    data: str | None = None,
    channels: int | None = None,
    latency: bool = False,
    latency_command: str | None = None,
    as_json: bool,
    **timing: Any,
) -> None:
    """Count parameters and multiply-adds of each ARCH, part by part.

    ARCH is an architecture text, quoted because of its bars, timm:NAME, or the folder of a run
    that ended in an architecture.
    """
    from asvit.spaces import cost

    if channels is not None and channels > _MOST_CHANNELS:
        raise click.UsageError(f"--channels {channels} are more than {_MOST_CHANNELS}; use fewer")
    timing_options = _timing_options(timing, latency, latency_command)
    texts = canonical(architectures)
    if data is not None and None in (classes, channels):
        from asvit.data.sources import channel_count, class_count

        classes = class_count(data) if classes is None else classes
        channels = channel_count(data) if channels is None else channels
    options = (image_size, classes, channels)
    pairs = zip(options, _sizes_of(architectures), strict=True)
    side, classes, channels = (usual if own is None else own for own, usual in pairs)
    sizes = side, classes, channels
    parts = {text: _parts(text, *sizes) for text in texts}
    totals = {text: asdict(cost(text, side, classes, in_chans=channels)) for text in parts}
    times = {} if timing_options is None else _timed(texts, *sizes, timing_options)
    if as_json:
        records = [
            {
                "architecture": text,
                "image_size": side,
                "classes": classes,
                "channels": channels,
                **totals[text],
                **({"latency": asdict(times[text])} if times else {}),
                "parts": parts[text],
            }
            for text in parts
        ]
        emit_json({"schema_version": SCHEMA_VERSION, "architectures": records})
        return
    screen = console()
    for text, rows in parts.items():
        screen.print(_parts_table(text, rows, totals[text]))
        if times:
            screen.print(_latency_line(times[text]), soft_wrap=True)
    others = f", {quantity(channels, 'channel')}" if channels != _COLOURS else ""
    screen.print(f"multiply-adds, batch 1, {side} px{others}, {classes} classes")


def _timing_options(
    options: dict[str, Any], latency: bool, command: str | None
) -> dict[str, Any] | None:
    """How to time architectures; None if they are not timed."""
    if command is None:
        if options and not latency:
            raise click.UsageError(f"--{min(options)} says how to time; give --latency, too")
        return options if latency else None
    with wrong_option():
        options["command"] = file_command(command)
    for name in ("device", "runtime"):
        if name in options:
            raise click.UsageError(f"--{name} is for this machine; leave it out")
    return options


def _sizes_of(texts: Sequence[str]) -> tuple[int, int, int]:
    """Image size, classes and channels of the runs' networks, if they agree, else ImageNet's."""
    from asvit.use.architectures import find_architecture

    sizes = {start.sizes for start in map(find_architecture, texts) if start.sizes is not None}
    return sizes.pop() if len(sizes) == 1 else (224, 1000, _COLOURS)


def _timed(
    texts: list[str], side: int, classes: int, channels: int, options: dict[str, Any]
) -> dict[str, Latency]:
    """The latency of each architecture, with a warning if other programs ran meanwhile."""
    from asvit.core.shared_settings import RUNTIME_NAMES
    from asvit.runs.timing import latency as measured

    checked_choice("runtime", options.get("runtime", "eager"), RUNTIME_NAMES)
    sizes: Any = {"num_classes": classes, "in_chans": channels}
    latencies = {text: measured(text, side, **sizes, **options) for text in texts}
    if (worst := max(latencies.values(), key=lambda latency: latency.busy)).is_busy:
        say(f"warning: {worst.busy_in_words}")
    return latencies


def _parts_table(text: str, parts: Sequence[Part], totals: Mapping[str, object]) -> RenderableType:
    """The parts of an architecture and their totals as a table to print."""
    columns = list(parts[0])
    cells = [[part[column] for column in columns] for part in parts]
    total = ["total", *("" for _ in columns[3:]), *totals.values()]
    headings = [HEADINGS.get(column, column) for column in columns]
    return table(headings, [*cells, total], title=text, left=headings[:1], rule=len(parts))


def _latency_line(latency: Latency) -> str:
    """The line about a latency."""
    passes = "runs" if latency.runtime == COMMAND else "passes"
    return (
        f"latency {number(latency.milliseconds)} ms (interquartile range "
        f"{number(latency.spread, 2)}, {latency.passes} {passes}), batch {latency.batch}, "
        f"{latency.where}"
    )


def _parts(text: str, side: int, classes: int, channels: int) -> list[Part]:
    """The stages of an architecture, or the top-level modules of a timm model."""
    from asvit.spaces import build, stage_table
    from proxies.counts import Cost, count_by_module

    if not text.startswith(TIMM):
        sizes = {"image_size": side, "num_classes": classes, "in_chans": channels}
        return [asdict(row) for row in stage_table(text, **sizes)]
    counted = count_by_module(build(text, side, classes, in_chans=channels), side, channels)
    parts = {name: cost for name, cost in counted.items() if name and "." not in name}
    # The root module has parameters (tokens, positions) and multiply-adds of its own.
    parts["other"] = Cost(
        counted[""].params - sum(cost.params for cost in parts.values()),
        counted[""].macs - sum(cost.macs for cost in parts.values()),
    )
    return [{"part": name, **asdict(cost)} for name, cost in parts.items() if any(astuple(cost))]
