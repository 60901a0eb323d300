"""Options that several commands share, and the checks of their values.

An option that was not given is None, so that a command passes on only what its user typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from asvit.core.run_files import RESULT
from proxies.messages import shown, unknown

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

F = TypeVar("F", bound=Callable[..., Any])

POSITIVE = click.IntRange(min=1)


def names(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> tuple[str, ...] | None:
    """Join repeated and comma-separated names into one tuple without repeats; None when absent."""
    parts = [part.strip() for value in values for part in value.split(",")]
    if not all(parts):
        raise click.BadParameter(f"{shown(','.join(values))} has an empty name in it")
    return tuple(dict.fromkeys(parts)) or None


def completes(names: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    """A completion from ``names``, which are gathered only when a shell asks for them."""

    def complete(
        _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[str]:
        done, comma, begun = incomplete.rpartition(",")
        return [f"{done}{comma}{name}" for name in names() if name.startswith(begun)]

    return complete


def registered(module: str, registry: str) -> Callable[..., list[str]]:
    """A completion from the names in ``registry`` of ``module``, or that it gives when called."""

    def listed() -> Iterable[str]:
        found = getattr(import_module(module), registry)
        return cast("Iterable[str]", found() if callable(found) else found)

    return completes(listed)


def paths(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """A completion left to the shell, which knows the files there are."""
    return [CompletionItem(incomplete, type="file")]


def data_names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """A completion of images: those that have a name of their own, and folders."""
    named = [name for name in ("fractal", "gaussian", "digits") if name.startswith(incomplete)]
    found = [CompletionItem(name) for name in named]
    return found or paths(context, parameter, incomplete)


def run_folders() -> list[str]:
    """The folders in ``runs`` with a result."""
    return sorted(str(path.parent) for path in Path("runs").glob(f"*/{RESULT}"))


class Setting(click.Option):
    """An option whose default is that of the settings: not given it is None, and help tells."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """What follows the help of the option, with the default as it would be typed."""
        extra = super().get_help_extra(ctx)
        if "default" in extra:
            extra["default"] = extra["default"].strip("()")
        return extra


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON on stdout, everything else on stderr."
)
image_size_option = click.option(
    "--image-size",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="224",
    help="Side of the square images, in pixels.",
)
seed_option = click.option(
    "--seed",
    cls=Setting,
    metavar="N",
    type=click.IntRange(min=0),
    show_default="0",
    help="Seed of every random draw.",
)
proxy_option = click.option(
    "--proxy",
    "proxies",
    multiple=True,
    callback=names,
    metavar="NAME",
    shell_complete=registered("proxies", "PROXIES"),
    help="Measure to use; repeat it or separate names by commas (see asvit list proxies).",
)


fresh_option = click.option(
    "--fresh", is_flag=True, help="Start over instead of continuing the run."
)
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")


def radius(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | float | None:
    """A radius by name, or a number; None when absent."""
    if value is None or value in ("sqrt_n", "unit"):
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{shown(value)} is not sqrt_n, unit or a number") from None


def measuring_options(command: F) -> F:
    """Add the options of every command that measures networks."""
    for option in reversed(_MEASURING):
        command = option(command)
    return command


_MEASURING = (
    image_size_option,
    click.option(
        "--repeats",
        cls=Setting,
        metavar="N",
        type=POSITIVE,
        show_default="5",
        help="Freshly initialised networks each value is averaged over.",
    ),
    click.option(
        "--images",
        cls=Setting,
        metavar="N",
        type=click.IntRange(min=2),
        show_default="16",
        help="Images in the kernel's batch.",
    ),
    click.option(
        "--points",
        cls=Setting,
        metavar="N",
        type=click.IntRange(min=3),
        show_default="10",
        help="Points on the circle.",
    ),
    click.option(
        "--radius",
        cls=Setting,
        callback=radius,
        metavar="RADIUS",
        show_default="sqrt_n",
        help="Radius of the circle: sqrt_n (the paper's), unit, or a number.",
    ),
    click.option(
        "--data",
        cls=Setting,
        metavar="DATA",
        shell_complete=data_names,
        show_default="fractal",
        help="fractal, gaussian, digits, a folder of class folders, torchvision:NAME or hf:NAME.",
    ),
    seed_option,
    click.option(
        "--device",
        cls=Setting,
        metavar="DEVICE",
        show_default="auto",
        help="auto, cpu, cuda, cuda:1, mps, ...",
    ),
)


def worker_options(command: F) -> F:
    """Add the options of who measures, which reach the command as one ``workers``."""

    @wraps(command)
    def with_workers(
        *args: Any,
        jobs: int | None,
        ray: str | None,
        timeout: float | None,
        retries: int | None,
        **options: Any,
    ) -> Any:
        from asvit.executors.base import RETRIES, Workers

        if (jobs, ray, timeout, retries) == (None,) * 4:
            return command(*args, workers=None, **options)
        try:
            workers = Workers(jobs, ray, timeout, RETRIES if retries is None else retries)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return command(*args, workers=workers, **options)

    for option in reversed(_WORKERS):
        with_workers = option(with_workers)
    return with_workers  # type: ignore[return-value]


_WORKERS = (
    click.option(
        "--jobs",
        cls=Setting,
        metavar="N",
        type=POSITIVE,
        show_default="one a core for long runs",
        help="Workers that measure at the same time; the result does not depend on it.",
    ),
    click.option(
        "--ray",
        metavar="ADDRESS",
        help="Measure on a Ray cluster; auto is the one that is running here.",
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=float,
        help="Take a network from a worker that has had it for so long.",
    ),
    click.option(
        "--retries",
        cls=Setting,
        metavar="N",
        type=click.IntRange(min=0),
        show_default="2",
        help="Times a network is tried again after its worker died, hung or ran out of memory.",
    ),
)


def known(option: str, value: str, choices: Sequence[str]) -> str:
    """Return ``value`` when it is one of ``choices``.

    Raises:
        click.UsageError: If it is not; the message names the nearest choice, or all of them.
    """
    if value in choices:
        return value
    raise click.UsageError(unknown(option, value, choices))


def known_proxies(names: Sequence[str]) -> None:
    """Check that every one of ``names`` is a measure.

    Raises:
        click.UsageError: If one is not; the message names the nearest.
    """
    from proxies import PROXIES

    for name in names:
        known("proxy", name, list(PROXIES))
