"""``asvit export``: a network in a form that others read, proved equal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.architectures import canonical
from asvit.cli.manual import Documented
from asvit.cli.options import (
    POSITIVE,
    Setting,
    json_option,
    quiet_option,
    registered,
)
from asvit.cli.output import emit_json
from asvit.console import console, number, table

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.export.exported import Exported


@click.command(cls=Documented)
@click.argument("architecture", metavar="[ARCH]", required=False)
@click.option(
    "--weights",
    metavar="PATH",
    type=click.Path(),
    help="File of weights, or run folder of a training.",
)
@click.option("--random", is_flag=True, help="Export freshly initialised weights.")
@click.option(
    "--to",
    metavar="FORMAT",
    required=True,
    shell_complete=registered("asvit.export", "FORMATS"),
    help="timm, onnx, pt2 or safetensors.",
)
@click.option(
    "--out",
    metavar="PATH",
    type=click.Path(),
    cls=Setting,
    show_default="beside the weights",
    help="The copy: a file, or a folder for timm.",
)
@click.option(
    "--image-size",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="that of the weights, else 224",
    help="Side of the square images, in pixels.",
)
@click.option(
    "--classes",
    "num_classes",
    cls=Setting,
    metavar="N",
    type=click.IntRange(min=0),
    show_default="those of the weights, else 1000",
    help="Classes.",
)
@click.option("--attention", metavar="KIND", help="hallucinated, where the weights do not say it.")
@click.option("--ffn", metavar="KIND", help="compact, where the weights do not say it.")
@click.option(
    "--branches",
    metavar="N",
    type=click.IntRange(min=0),
    help="Branches of compact parts, where the weights do not say it.",
)
@click.option(
    "--merge/--no-merge",
    default=True,
    show_default=True,
    help="Merge the branches of compact parts, for inference.",
)
@click.option(
    "--batch",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="any number",
    help="Images in a batch, for onnx and pt2.",
)
@click.option(
    "--opset",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="PyTorch's default",
    help="Operator set for onnx, at least 18.",
)
@click.option(
    "--card/--no-card", default=True, show_default=True, help="Write a model card beside it."
)
@click.option("--force", is_flag=True, help="Replace a copy that is there.")
@quiet_option
@json_option
def command(*, quiet: bool, as_json: bool, **options: Any) -> None:
    """Export a network and prove the copy equal.

    ARCH is an architecture text, quoted because of its bars, or timm:NAME; it may be left out
    where the weights say what they are of, as those of asvit train do. The copy is reloaded in a
    fresh process and compared with the network before it is put in its place.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _check(given)
    from asvit.runs.exporting.run import export_network

    exported = export_network(**given, progress=None if quiet else _tell)
    if as_json:
        emit_json(exported.to_json())
    if not (as_json and quiet):
        show_export(exported, console(err=as_json))


def _check(given: dict[str, Any]) -> None:
    """Make sure that the options can be meant.

    Raises:
        click.UsageError: If a value is not allowed, or there is no such architecture.
    """
    from asvit.runs.exporting.settings import ExportSettings
    from asvit.runs.exporting.source import name_weights

    try:
        asked = name_weights(ExportSettings(**given))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if asked.architecture is not None:
        canonical([asked.architecture])


def _tell(what: str) -> None:
    click.echo(what, err=True)


def show_export(exported: Exported, screen: Console) -> None:
    """Write what was exported on ``screen``, how equal it is, and how to load it."""
    network = exported.content.network
    screen.print(
        f"{network.architecture}: {exported.cost.params:,} parameters, "
        f"{exported.cost.macs:,} multiply-adds at {network.image_size} px, "
        f"{network.num_classes} classes"
    )
    cells = [
        [one.batch, number(one.absolute, 2), number(one.relative, 2)]
        for one in exported.differences
    ]
    columns = ("images", "largest difference", "over the largest output")
    screen.print(table(columns, cells, title="The copy beside the network"))
    size = _bytes(exported.out)
    screen.print(f"copy:   {exported.out} ({exported.form.name}, {number(size / 1e6, 3)} MB)")
    if exported.card is not None:
        screen.print(f"card:   {exported.card}")
    screen.print(f"\n{exported.loading_code(str(exported.out))}")


def _bytes(path: Path) -> int:
    """Size of a file, or of those in a folder."""
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)
