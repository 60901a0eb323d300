"""``asvit export``: a network in a format of other programs, verified to be equal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import emit_json, json_option, parameters, quiet_option
from asvit.core.console import console, number, table
from asvit.core.display import say
from asvit.core.errors import wrong_option
from asvit.export.settings import ExportSettings
from proxies.text import legible

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.export.card import Exported
    from asvit.export.int8 import Quantisation


@click.command(cls=Documented, params=parameters(ExportSettings))
@quiet_option
@json_option
def command(*, quiet: bool, as_json: bool, **options: Any) -> None:
    """Export a network and verify the copy.

    ARCH is an architecture text, quoted because of its bars, or timm:NAME; leave it out if the
    weights record it, as those of asvit train do. The copy is reloaded in a new process and
    compared with the network before it is put in place.
    """
    from asvit.export.exporting import export_network, name_weights

    with wrong_option():
        name_weights(ExportSettings(**options))
    exported = export_network(**options, progress=None if quiet else say)
    if as_json:
        emit_json(exported.to_json())
    if not (as_json and quiet):
        show_export(exported, console(err=as_json))


def show_export(exported: Exported, screen: Console) -> None:
    """Print the exported network, its largest differences, and how to load it."""
    network = exported.content.network
    screen.print(
        f"{network.architecture}: {exported.cost.params:,} parameters, "
        f"{exported.cost.macs:,} multiply-adds at {network.image_size} px, "
        f"{network.num_classes} classes"
    )
    cells = [
        [difference.batch, number(difference.absolute, 2), number(difference.relative, 2)]
        for difference in exported.differences
    ]
    columns = ("images", "largest difference", "over the largest output")
    before = ", before it was quantised" if exported.quantisation else ""
    screen.print(table(columns, cells, title=f"The copy beside the network{before}"))
    if exported.quantisation is not None:
        _show_int8(exported.quantisation, screen)
    out = exported.out
    size = sum(f.stat().st_size for f in (out.iterdir() if out.is_dir() else (out,)))
    lines = [f"copy:   {out} ({exported.form.name}, {number(size / 1e6, 3)} MB)"]
    if exported.card is not None:
        lines.append(f"card:   {exported.card}")
    if exported.script is not None:
        command = shlex.join(["python", str(exported.script), str(out)])
        lines.append(f"script: {command} PICTURE...")
    for line in (*map(legible, lines), "", exported.loading_code(str(out))):
        screen.print(line, soft_wrap=True)  # to be copied


def _show_int8(int8: Quantisation, screen: Console) -> None:
    """Print both copies side by side, and what the integers cost."""
    cells = [
        [name, f"{accuracy:.1f} %", number(size / 1e6, 3), number(latency.milliseconds, 3)]
        for name, accuracy, size, latency in (
            ("float32", int8.accuracy_before, int8.size_before, int8.latency_before),
            ("int8", int8.accuracy, int8.size, int8.latency),
        )
    ]
    screen.print(table(("copy", "accuracy", "MB", "ms"), cells, title=legible(int8.source)))
    screen.print(f"int8: {int8.in_words}; ranges from {int8.calibrated} to train on")
    if busy := int8.latency.busy_in_words or int8.latency_before.busy_in_words:
        screen.print(f"warning: {busy}")
