"""``--reference`` of searches and scalings: how far their measures can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from asvit.cli.app import again
from asvit.cli.correlate_progress import table_progress
from asvit.cli.options import registered
from asvit.console import networks

if TYPE_CHECKING:
    from asvit.growth import ScaleSettings
    from asvit.reference import ReferenceTable
    from asvit.search import SearchSettings

R = TypeVar("R")

reference_option = click.option(
    "--reference",
    metavar="TABLE",
    shell_complete=registered("asvit.reference", "REFERENCES"),
    help="Reference table that tells how far the measures can be trusted, by its name (see asvit "
    "list references) or path: they are correlated with its accuracies in the end.",
)


def find_table(reference: str | None) -> ReferenceTable | None:
    """The table that the option names; None where it was not given.

    Raises:
        ValueError: If it is no table.
        OSError: If there is none.
    """
    if reference is None:
        return None
    from asvit.reference import load_reference

    return load_reference(reference)


def judge(
    context: click.Context,
    table: ReferenceTable,
    settings: SearchSettings | ScaleSettings,
    run: Callable[..., R],
    *,
    quiet: bool,
) -> R:
    """Have the finished run that ``run`` gives judged by ``table``, with progress of its own."""
    title = (
        f"measuring the {len(table)} architectures of {table.name}: "
        f"{networks(settings.repeats)} each, {settings.image_size} px"
    )
    try:
        with table_progress(title, quiet=quiet) as watch:
            return run(reference=table, reference_progress=watch.row, image_progress=watch.images)
    except KeyboardInterrupt:
        click.echo(f"stopped in table {table.name}; to go on: {again(context)}", err=True)
        raise
