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
    emit_json,
    json_option,
    known,
    names,
    parameters,
    quiet_option,
    registered,
    write_json,
)
from asvit.core.console import clock, console, fitting, networks, number, table
from asvit.core.display import progress_display, say
from asvit.core.files import check_target
from asvit.core.settings import MeasuringSettings, fields_of
from proxies.tables import csv_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

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
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV on stdout, a row for each ARCH.")
@json_option
def command(
    architectures: tuple[str, ...],
    *,
    out: Path | None,
    quiet: bool,
    as_csv: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure each ARCH with every measure but latency, or with those of --proxy.

    ARCH is an architecture text, quoted because of its bars, timm:NAME, or the folder of a run
    that ended in an architecture. A measure that fails has no value but a reason.
    """
    from asvit.search import SearchSettings
    from proxies.registry import PROXIES, standard_measures

    if as_csv and as_json:
        raise click.UsageError("--csv and --json write on stdout alike; give one of them")
    given: dict[str, Any] = {name: one for name, one in options.items() if one is not None}
    for name in given.setdefault("proxies", standard_measures()):
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
        elif as_csv:
            click.echo(_csv(found, settings), nl=False)
        else:
            _show(found, settings)
    finally:  # also when the reader of our output has left
        if out is not None:
            write_json(out, data)


command.params[2:2] = parameters(MeasuringSettings)


def _show(found: Mapping[str, Mapping[str, Score]], settings: SearchSettings) -> None:
    """Write the scores side by side on stdout, and what was measured on."""
    screen = console()
    places = {str(place): text for place, text in enumerate(found, 1)}

    def made(columns: Sequence[str], title: str | None = None) -> RenderableType:
        cells = [
            [name, *(_cell(found[places[one]][name]) for one in columns), score.better]
            for name, score in next(iter(found.values())).items()
        ]
        headings = ["value"] if title else columns
        return table(
            ["measure", *headings, "better"], cells, title=title, left=("measure", "better")
        )

    if len(found) == 1:
        screen.print(made(["1"], places["1"]))
    else:
        for place, text in places.items():
            screen.print(f"{place}  {text}", soft_wrap=True)
        for columns in fitting(places, made, screen):
            screen.print(made(columns))
    for place, text in places.items():
        for name, score in found[text].items():
            if score.reason:
                screen.print(f"{name} of {place}: {score.reason}")
    screen.print(
        f"{networks(settings.repeats)} each, {settings.image_size} px, {settings.images} images "
        f"({settings.data}), {settings.points} points, seed {settings.seed}"
    )


def _cell(score: Score) -> str:
    """The value, with the standard deviation over several networks."""
    told = number(score.value)
    return f"{told} ± {number(score.std, 2)}" if len(score.values) > 1 and score.std > 0 else told


def _csv(found: Mapping[str, Mapping[str, Score]], settings: SearchSettings) -> str:
    """A row for each architecture: values, standard deviations if any, and why others failed."""
    stds = settings.proxies if settings.repeats > 1 else ()
    rows: list[list[object]] = [
        ["architecture", *settings.proxies, *(f"{name}_std" for name in stds), "reason"]
    ]
    for text, scores in found.items():
        told = (f"{name}: {score.reason}" for name, score in scores.items() if score.reason)
        values = [scores[name].value for name in settings.proxies]
        rows.append([text, *values, *(scores[name].std for name in stds), "; ".join(told)])
    return csv_text(rows)


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
