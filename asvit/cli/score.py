"""``asvit score``: every measure of one or more architectures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import (
    architectures_argument,
    canonical,
    checked_choice,
    emit_json,
    json_option,
    names,
    parameters,
    preset_option,
    quiet_option,
    registered,
    write_json,
)
from asvit.core.console import console, number, quantity, table
from asvit.core.display import progress_display
from asvit.core.errors import wrong_option
from asvit.core.files import check_target
from asvit.core.programs import file_command
from asvit.core.settings import Settings, settings_class
from asvit.core.shared_settings import MeasuringSettings, command_setting
from asvit.core.tables import csv_text
from proxies.registry import PROXIES

if TYPE_CHECKING:
    from asvit.runs.scoring import Scores
    from proxies import Score


SCHEMA_VERSION = 1


@settings_class
class Options(Settings):
    """How a latency is taken."""

    latency_command: str | None = command_setting()


@click.command(
    cls=Documented,
    params=[
        architectures_argument,
        click.Option(
            ["--proxy", "proxies"],
            multiple=True,
            callback=names,
            metavar="NAME",
            shell_complete=registered("proxies:PROXIES"),
            help="Measure to use; repeat it or separate names by commas (see asvit list proxies).",
        ),
        *parameters(MeasuringSettings, Options),
        preset_option(MeasuringSettings),
    ],
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
    out: Path | None = None,
    latency_command: str | None = None,
    preset: str,
    quiet: bool,
    as_csv: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure each ARCH with every measure but latency, or with those of --proxy.

    ARCH is an architecture text, quoted because of its bars, timm:NAME, or the folder of a run
    that ended in an architecture. A measure that fails has no value but a reason.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json write on stdout alike; give one of them")
    measures = options.pop("proxies", None)
    for name in measures or ():
        checked_choice("proxy", name, list(PROXIES))
    checked_choice("preset", preset, list(MeasuringSettings.presets))
    with wrong_option():
        settings = MeasuringSettings.make(preset, **options)
        if latency_command is not None:
            file_command(latency_command)
            if measures and "latency" not in measures:
                raise ValueError("--latency-command is for --proxy latency; name it, too")
    if out is not None:
        check_target(out)  # before the long part
    from asvit.runs.scoring import score

    texts = canonical(architectures)
    title = f"measuring {quantity(len(texts), 'architecture')}"
    with progress_display(lambda: f"{title}: {settings.in_words()}", quiet=quiet) as tell:
        timing = {"latency_command": latency_command}
        scores = score(texts, measures, progress=tell, **timing, **vars(settings))
    rows = [{"architecture": row.architecture, "scores": row.scores} for row in scores]
    data = {"schema_version": SCHEMA_VERSION, "settings": settings, "architectures": rows}
    try:
        if as_json:
            emit_json(data)
        elif as_csv:
            click.echo(_csv(scores, with_std=settings.repeats > 1), nl=False)
        else:
            _show(scores, settings)
    finally:  # also if stdout is a closed pipe
        if out is not None:
            write_json(out, data)


def _show(scores: Scores, settings: MeasuringSettings) -> None:
    """Print the scores side by side, and the settings of the measurement."""
    screen = console()
    places = {str(place): row for place, row in enumerate(scores, 1)}
    alone, title = len(scores) == 1, None
    if alone:
        title = scores[0].architecture
    else:
        for place, row in places.items():
            screen.print(f"{place}  {row.architecture}", soft_wrap=True)
    columns = ["measure", *(["value"] if alone else places), "better"]
    cells = [
        [name, *(_cell(row.scores[name]) for row in scores), score.better]
        for name, score in scores[0].scores.items()
    ]
    screen.print(table(columns, cells, title=title, left=("measure", "better")))
    for place, row in places.items():
        for name, value in row.scores.items():
            if value.reason:
                screen.print(f"{name} of {place}: {value.reason}")
    screen.print(
        f"{quantity(settings.repeats, 'network')} each, {settings.image_size} px, "
        f"{quantity(settings.images, 'image')} ({settings.data}), {settings.points} points, "
        f"seed {settings.seed}"
    )


def _cell(score: Score) -> str:
    """The value, with the standard deviation over networks, if there are several."""
    value = number(score.value)
    return (
        f"{value} ± {number(score.std, 2)}" if len(score.values) > 1 and score.std > 0 else value
    )


def _csv(scores: Scores, *, with_std: bool) -> str:
    """A row for each architecture: values, standard deviations, and reasons of failures."""
    measures = list(scores[0].scores)
    stds = measures if with_std else []
    rows: list[list[object]] = [
        ["architecture", *measures, *(f"{name}_std" for name in stds), "reason"]
    ]
    rows += [
        [row.architecture, *row.values.values(), *(row.scores[n].std for n in stds), row.reason]
        for row in scores
    ]
    return csv_text(rows)
