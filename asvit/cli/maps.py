"""``asvit maps``: attention maps of a network."""

from dataclasses import dataclass
from typing import Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import (
    architecture_names,
    emit_json,
    images_argument,
    json_option,
    parameters,
)
from asvit.core.settings import setting, setting_of
from asvit.export.settings import ExportSettings
from proxies.text import legible, shown

SCHEMA_VERSION = 1


def _cell(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
        raise ValueError(f"{shown(text)} is not ROW,COLUMN, such as 3,4")
    return tuple(map(int, numbers))


@dataclass
class Options:
    """Layers and query to draw, the target, and what the network is."""

    layers: tuple[str, ...] = setting(
        (),
        "Attention layers by number from 0, or by the name of a module; repeat it or use commas.",
        name="layer",
        shown="four from the first to the last",
    )
    query: tuple[int, int] | None = setting(
        None,
        "Query token whose attention is drawn, from 0,0 in the grid of the first layer.",
        metavar="ROW,COLUMN",
        parse=_cell,
        shown="the class token, else the mean of all",
    )
    out: str = setting(
        "maps",
        "Folder for the files; or the file of a single picture, such as attention.png.",
        metavar="PATH",
        complete="paths",
    )
    weights: str | None = setting_of(ExportSettings, "weights")
    image_size: int | None = setting_of(ExportSettings, "image_size")
    attention: str | None = setting_of(ExportSettings, "attention")
    ffn: str | None = setting_of(ExportSettings, "ffn")


_MODEL = click.Argument(["model"], shell_complete=architecture_names)


@click.command(cls=Documented, params=[_MODEL, images_argument, *parameters(Options)])
@json_option
def command(model: str, images: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Draw the attention map of each head of a network on pictures.

    MODEL is an architecture text, timm:NAME, the folder of a run, or a file of weights; without
    weights it is freshly initialised. IMAGE is a picture, or a folder of them.
    """
    from asvit.runs.mapping import attention_maps, write_pictures

    out = options.pop("out", Options.out)
    files = write_pictures(attention_maps(model, images, **options), out)
    if as_json:
        emit_json({"schema_version": SCHEMA_VERSION, "model": model, "files": files})
    else:
        click.echo("\n".join(legible(str(file)) for file in files))
