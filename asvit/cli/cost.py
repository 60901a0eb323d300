"""``asvit cost``: parameters and multiply-adds of architectures, part by part."""

from dataclasses import asdict, astuple

import click

from asvit.cli.manual import Documented
from asvit.cli.options import (
    TIMM,
    Setting,
    architectures_argument,
    canonical,
    data_names,
    emit_json,
    json_option,
    parameters,
)
from asvit.core.console import console, table
from asvit.core.settings import MeasuringSettings

Part = dict[str, object]

SCHEMA_VERSION = 1
HEADINGS = {"tokens_per_side": "tokens a side", "window": "window side", "macs": "multiply-adds"}


@click.command(cls=Documented)
@architectures_argument
@click.option(
    "--classes",
    cls=Setting,
    type=click.IntRange(min=1),
    metavar="N",
    show_default="those of --data, else 1000",
    help="Classes to count with.",
)
@click.option(
    "--data",
    metavar="DATA",
    shell_complete=data_names,
    help="Images whose classes to count with, as asvit train takes them.",
)
@json_option
def command(
    architectures: tuple[str, ...],
    *,
    image_size: int | None,
    classes: int | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Count parameters and multiply-adds of each ARCH, part by part.

    ARCH is an architecture text, quoted because of its bars, timm:NAME, or the folder of a run
    that ended in an architecture.
    """
    from asvit.spaces import cost

    side = 224 if image_size is None else image_size
    texts = canonical(architectures)
    if classes is None and data is not None:
        from asvit.data.training_sets import class_count

        classes = class_count(data)
    classes = 1000 if classes is None else classes
    parts = {text: _parts(text, side, classes) for text in texts}
    totals = {text: asdict(cost(text, side, classes)) for text in parts}
    if as_json:
        counted = [
            {
                "architecture": text,
                "image_size": side,
                "classes": classes,
                **totals[text],
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
    screen.print(f"multiply-adds, batch 1, {side} px, {classes} classes")


command.params[1:1] = [one for one in parameters(MeasuringSettings) if one.name == "image_size"]


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
