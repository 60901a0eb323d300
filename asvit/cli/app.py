"""The root command: finds a command's module by name and turns its end into an exit code.

0 done, 2 usage, 3 expected failure, 130 interrupted, 1 a bug of ours.
"""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from asvit._version import __version__
from asvit.cli.manual import ENVIRONMENT, EXIT_CODES, FIRST_STEPS, write_section
from asvit.cli.options import Session, debug_option
from asvit.core.display import say
from asvit.core.extensions import (
    VARIABLE,
    installed_runs,
    load_extensions,
    raised_in_extension,
)
from asvit.core.secrets import censored
from proxies.messages import OUT_OF_MEMORY, fault, hint, legible, one_line, shown

USAGE, FAILED, INTERRUPTED, BUG = 2, 3, 130, 1

_LONGEST = 4_000  # characters of a message: as long as a path, whatever else went wrong before

# Command -> its line in `asvit --help`. The module asvit.cli.NAME holds it as `command`, or it is
# made of a kind of run.
COMMANDS = {
    "design": "Make a network for your pictures, within limits.",
    "predict": "Tell what classes pictures are of.",
    "search": "Search for a seed architecture without training.",
    "scale": "Grow an architecture to a budget without training.",
    "train": "Train a network on your images.",
    "export": "Export a network and prove the copy equal.",
    "transfer": "Train a detector or a segmenter on a network.",
    "cost": "Count parameters and multiply-adds, stage by stage.",
    "score": "Measure one or more architectures.",
    "maps": "Draw where the attention of a network looks.",
    "correlate": "Tell how well measures rank a reference table.",
    "reference": "Train random architectures into a reference table.",
    "supernet": "Train a space's supernet, then find its best path.",
    "report": "Rebuild the figures and report.html of a run folder.",
    "list": "List spaces, controllers, proxies, models, presets, data or references.",
    "completion": "Print the completion script of a shell.",
}

# What is raised when the user's input or machine is at fault, not our code.
EXPECTED = (ValueError, OSError)

_MEMORY = "memory ran out"
_LESS_MEMORY = (
    "the same command goes on with more memory or fewer --jobs or --workers, another one with "
    "smaller batches or images"
)


def commands() -> dict[str, str]:
    """Every command with its line of help: ours, and the kinds of runs that others add.

    An extension that registers one has imported its base; without one nothing is imported here.
    """
    module = sys.modules.get("asvit.runs.run")
    more = {one.name.split()[0]: f"Installed by {one.module}." for one in installed_runs()}
    if module is not None:
        kinds = module.RUNS.items()
        more |= {name: module.headline_of(kind) for name, kind in kinds if " " not in name}
    return {**COMMANDS, **{name: line for name, line in more.items() if name not in COMMANDS}}


class Program(click.Group):
    """A group that imports a command when it is called, and ends with our exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order in which a user meets them."""
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command ``cmd_name``; None when there is no such command."""
        if cmd_name not in commands():
            return None
        if find_spec(f"asvit.cli.{cmd_name}") is not None:
            command = import_module(f"asvit.cli.{cmd_name}").command
        else:
            from asvit.cli.run_command import command_of

            command = command_of(cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"asvit.cli.{cmd_name}.command is no click command: {command!r}")
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command ``args`` starts with; a miss names the nearest one."""
        name = args[0]
        if name not in commands() and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command {shown(name)}; {hint(name, commands())}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for ``--help`` without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(commands().items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what holds for all commands."""
        write_section(formatter, "First steps", FIRST_STEPS)
        write_section(formatter, "Exit codes", EXIT_CODES)
        write_section(formatter, "Environment", ENVIRONMENT)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        """Run the program on ``args`` and exit; see :class:`click.Command` for the others."""
        session = Session(tuple(sys.argv[1:] if args is None else args))
        kwargs.setdefault("prog_name", "asvit")
        kwargs.setdefault("obj", session)
        kwargs["standalone_mode"] = False
        _open_closed_streams()
        _accept_any_character()
        try:
            with _logging_on_stderr(session), warnings.catch_warnings():
                # PyTorch's own, about itself: nothing that a user of ours could act on.
                warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
                try:
                    load_extensions()
                    code = super().main(args, *rest, **kwargs)
                    sys.stdout.flush()  # a full disk or a reader that left is noticed here
                except (Exception, SystemExit) as error:  # noqa: BLE001 - last line of defence
                    code = _explain(error, session)
        except KeyboardInterrupt:  # a second one, while the first was told of
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


@click.command(
    "asvit",
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[debug_option()],
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """Search, measure and grow vision transformers without training them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


def _explain(error: BaseException, session: Session) -> int:
    """Say in one line on stderr what went wrong, and return the exit code that says the same."""
    if isinstance(error, SystemExit) and _is_clicks(error):
        return 0
    if isinstance(error, BrokenPipeError):
        # The same, found out by us; flushing at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    code, line = _verdict(error)
    with suppress(OSError):  # where nothing can be told the code still says it
        if session.debug and not isinstance(error, click.ClickException | click.Abort):
            for told in "".join(traceback.format_exception(error)).splitlines():
                say(legible(censored(told, session.arguments)))
        if line:
            say(f"asvit: {censored(line, session.arguments)}")
    return code


def _verdict(error: BaseException) -> tuple[int, str]:
    """The exit code of ``error`` and the line about it."""
    if isinstance(error, click.Abort):
        return INTERRUPTED, ""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "asvit"
        return USAGE, f"{_one_line(error.format_message()).rstrip('.')} (see {path} --help)"
    if isinstance(error, click.ClickException):
        return FAILED, _one_line(error.format_message()) or type(error).__name__
    if _is_out_of_memory(error):
        told = _one_line(str(error))
        if told.startswith(_MEMORY):  # with advice of its own
            return FAILED, told
        told = f"{_MEMORY} ({told})" if told else _MEMORY
        return FAILED, f"{told}; what was saved is whole: {_LESS_MEMORY}"
    if isinstance(error, OSError) and error.strerror:
        named = "" if error.filename is None else f": {legible(str(error.filename))}"
        return FAILED, _one_line(f"{error.strerror}{named}")
    if isinstance(error, EXPECTED) or _is_missing_extra(error):
        return FAILED, _one_line(str(error)) or type(error).__name__
    if isinstance(error, SystemExit):
        return FAILED, f"something ended the program before it was done: {fault(error)}"
    if raised_in_extension(error):
        return FAILED, f"a module of {VARIABLE} failed: {fault(error)}"
    what = f"{type(error).__name__}: {_one_line(str(error))}"
    return BUG, f"unexpected {what} (a bug: please report it with the output of --debug)"


def _is_clicks(error: SystemExit) -> bool:
    """Whether click ends the program: its reader has left, like `head`, or a shell completes."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("click.")


def _is_missing_extra(error: BaseException) -> bool:
    """Whether a library that is not ours to bring is missing, and the message says which.

    The import statement itself sets the name; then an installed package is broken.
    """
    return isinstance(error, ImportError) and error.name is None


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch's own error, whose import would take seconds, or its words."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    known = isinstance(error, RuntimeError | OSError)
    return known and any(words in str(error) for words in OUT_OF_MEMORY)


def _one_line(text: str) -> str:
    """``text`` without line ends, and without anything that a terminal obeys."""
    return one_line(" ".join(text.split()), most=_LONGEST)


class _Stderr(logging.Handler):
    """Writes on whatever stderr is at the time, above a progress bar."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        told = censored(_one_line(self.format(record)), self._session.arguments)
        say(f"asvit: {told}")


@contextmanager
def _logging_on_stderr(session: Session) -> Iterator[None]:
    """Show what our packages log, from notices up, for as long as a command runs."""
    handler = _Stderr(session)
    loggers = [logging.getLogger(name) for name in ("asvit", "scaling", "proxies")]
    matplotlib = logging.getLogger("matplotlib")  # warns of its own folders that it can do without
    before = [(logger.level, logger.propagate) for logger in (*loggers, matplotlib)]
    matplotlib.setLevel(logging.ERROR)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip((*loggers, matplotlib), before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _open_closed_streams() -> None:
    """Give a stream that the caller has closed (``>&-``) somewhere to go."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, nowhere)


def _accept_any_character() -> None:
    """Let a terminal that knows only ASCII get a question mark instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
