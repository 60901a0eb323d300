"""``asvit score``: every measure of one or more architectures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import (
    architectures_argument,
    canonical,
    json_option,
    known,
    names,
    parameters,
    quiet_option,
    registered,
)
from asvit.cli.output import emit_json, write_json
from asvit.core.console import clock, console, networks, table
from asvit.core.display import progress_display, say
from asvit.core.files import check_target
from asvit.core.settings import MeasuringSettings, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asvit.search import SearchSettings
    from proxies import Score


SCHEMA_VERSION = 1


@click.command(cls=Documented)
@architectures_argument
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    callback=names,
    metavar="NAME",
    shell_complete=registered("proxies", "PROXIES"),
    help="Measure to use; repeat it or separate names by commas (see asvit list proxies).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the scores to as JSON, too.",
)
@quiet_option
@json_option
def command(
    architectures: tuple[str, ...],
    *,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure each ARCH with every measure, or with those of --proxy.

    ARCH is an architecture text, quoted because of its bars, timm:NAME, or the folder of a run
    that ended in an architecture. A measure that fails has no value but a reason.
    """
    from asvit.search import SearchSettings
    from proxies import PROXIES

    given: dict[str, Any] = {name: one for name, one in options.items() if one is not None}
    for name in given.setdefault("proxies", tuple(PROXIES)):
        known("proxy", name, list(PROXIES))
    try:
        settings = SearchSettings.make(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if out is not None:
        check_target(out)  # before the long part
    found = _measure(canonical(architectures), settings, quiet=quiet)
    data = {
        "schema_version": SCHEMA_VERSION,
        "settings": {name: getattr(settings, name) for name in fields_of(MeasuringSettings)},
        "architectures": [
            {"architecture": text, "scores": scores} for text, scores in found.items()
        ],
    }
    try:
        if as_json:
            emit_json(data)
        else:
            _show(found, settings)
    finally:  # also when the reader of our output has left
        if out is not None:
            write_json(out, data)


command.params[2:2] = parameters(MeasuringSettings)


def _show(found: Mapping[str, Mapping[str, Score]], settings: SearchSettings) -> None:
    """Write a table for each architecture on stdout, and what was measured on."""
    screen = console()
    for text, scores in found.items():
        cells = [
            [name, score.value, score.std, score.better, score.reason]
            for name, score in scores.items()
        ]
        columns = ["measure", "value", "std", "better", "reason"]
        shown = 5 if any(score.reason for score in scores.values()) else 4
        screen.print(
            table(
                columns[:shown],
                [row[:shown] for row in cells],
                title=text,
                left=("measure", "better", "reason"),
            )
        )
    screen.print(
        f"{networks(settings.repeats)} each, {settings.image_size} px, {settings.images} images "
        f"({settings.data}), {settings.points} points, seed {settings.seed}"
    )


def _measure(
    texts: Sequence[str], settings: SearchSettings, *, quiet: bool
) -> dict[str, dict[str, Score]]:
    """The scores of every architecture, with a line on stderr as each one's turn comes."""
    from asvit.runs.scoring import measured, measuring_context

    with progress_display("", quiet=quiet) as tell:
        context = measuring_context(texts, settings, tell)
    found: dict[str, dict[str, Score]] = {}
    started = time.monotonic()
    for place, text in enumerate(texts):
        if not quiet:
            line = f"measuring {text} on {context.device} ({place + 1}/{len(texts)})"
            if place:
                left = (time.monotonic() - started) / place * (len(texts) - place)
                line += f"  ETA {clock(left)}"
            say(line)
        found[text] = dict(measured(text, settings.proxies, context).scores)
    return found
