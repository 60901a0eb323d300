"""The root command: imports a command by its name and maps its outcome to an exit code.

0 done, 2 usage, 3 expected failure, 130 interrupted, 1 a bug in asvit.
"""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from asvit._version import __version__
from asvit.cli.manual import ENVIRONMENT, EXIT_CODES, FIRST_STEPS, write_section
from asvit.cli.session import Session, debug_option
from asvit.core.console import discard
from asvit.core.devices import device_failed
from asvit.core.display import say
from asvit.core.extensions import installed_runs, load_extensions, raised_in_extension
from proxies.messages import fault, first_line, hint, out_of_memory
from proxies.text import legible, one_line, shown

USAGE, FAILED, INTERRUPTED, BUG = 2, 3, 130, 1

_LONGEST = 4_000  # characters of a message: the longest path

# Command -> its line in `asvit --help`. The command is `command` in the module asvit.cli.NAME, or
# generated from a kind of run.
COMMANDS = {
    "design": "Make a network for your pictures, within limits.",
    "predict": "Classify pictures.",
    "test": "Test a classifier on labelled pictures.",
    "compare": "Compare runs: settings, results, differences.",
    "search": "Search for an architecture, by measures or short trainings.",
    "scale": "Grow an architecture to a budget without training.",
    "train": "Train a network on your images.",
    "export": "Export a network and verify the copy.",
    "transfer": "Train a detector or a segmenter on a network.",
    "cost": "Count parameters and multiply-adds, stage by stage.",
    "score": "Measure one or more architectures.",
    "correlate": "Test how well measures rank a reference table.",
    "supernet": "Train a space's supernet, then find its best path.",
    "report": "Rebuild the figures and report.html of a run folder.",
    "list": "List spaces, controllers, proxies, models, devices and more.",
    "completion": "Print the completion script of a shell.",
}

# Errors of the user's input or machine, not of asvit.
EXPECTED = (ValueError, OSError)

_MEMORY = "memory ran out"


def commands() -> dict[str, str]:
    """Every command with its line of help, those of extensions included.

    An extension that registers a kind of run has imported the registry; otherwise nothing is
    imported here.
    """
    module = sys.modules.get("asvit.core.results")
    more = {run.name.split()[0]: f"Installed by {run.module}." for run in installed_runs()}
    if module is not None:
        own = {name: getattr(kind, "help", "") for name, kind in module.RUNS.known.items()}
        more |= {name.split()[0]: text.partition("\n")[0] for name, text in own.items()}
    return {**COMMANDS, **{name: line for name, line in more.items() if name not in COMMANDS}}


class Program(click.Group):
    """A group that imports a command when it is called, and exits with asvit's codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of a typical workflow."""
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command ``cmd_name``; None when there is no such command."""
        if cmd_name not in commands():
            return None
        # An extension may have a command of the name of another module.
        if cmd_name in COMMANDS and find_spec(f"asvit.cli.{cmd_name}") is not None:
            command: click.Command = import_module(f"asvit.cli.{cmd_name}").command
        else:
            from asvit.cli.run_command import command_of

            command = command_of(cmd_name)
        if not any(parameter.name == "debug" for parameter in command.params):
            debug_option(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` starts with; errors suggest the nearest name."""
        name = args[0]
        if name not in commands() and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command {shown(name)}; {hint(name, commands())}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for ``--help`` without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(commands().items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections about all commands."""
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
                # Warnings of PyTorch about itself, which users cannot act on.
                warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
                try:
                    load_extensions()
                    code = super().main(args, *rest, **kwargs)
                    sys.stdout.flush()  # detects a full disk or a closed pipe
                except (Exception, SystemExit) as error:  # noqa: BLE001 - last line of defence
                    code = _explain(error, session)
        except KeyboardInterrupt:  # a second one, while the first was reported
            code = INTERRUPTED
        for stream in (sys.stdout, sys.stderr):
            try:
                if not stream.closed:  # as code of the user may have
                    stream.flush()
            except OSError:  # Python flushes them at exit; that must not change the code
                discard(stream)
        sys.exit(code if isinstance(code, int) else 0)


@click.command(
    "asvit",
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@debug_option
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """Design, search, scale, train and measure vision transformers and their rivals."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


def _explain(error: BaseException, session: Session) -> int:
    """Write what went wrong in one line on stderr, and return its exit code."""
    if isinstance(error, SystemExit) and _is_clicks(error):
        return 0
    if isinstance(error, BrokenPipeError):
        return 0
    code, line = _verdict(error)
    if session.debug and not isinstance(error, click.ClickException | click.Abort):
        for text in "".join(traceback.format_exception(error)).splitlines():
            say(legible(text))
    if line:
        say(f"asvit: {line}")
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
    if out_of_memory(error):
        message = _one_line(str(error))
        if message.startswith(_MEMORY):  # with advice of its own
            return FAILED, message
        message = f"{_MEMORY} ({message})" if message else _MEMORY
        return FAILED, (
            f"{message}; what was saved is whole; resume with more memory or fewer --jobs or "
            "--workers; smaller batches or images need a new run"
        )
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f": {legible(str(error.filename))}"
        return FAILED, _one_line(f"{error.strerror}{place}")
    if isinstance(error, EXPECTED) or _is_missing_extra(error):
        return FAILED, _one_line(str(error)) or type(error).__name__
    if device_failed(error):
        return FAILED, (
            f"the accelerator failed ({first_line(error)}); what was saved is whole; give the "
            "command again, to go on in a new process"
        )
    if isinstance(error, SystemExit):
        return FAILED, f"something ended the program before it was done: {fault(error)}"
    if raised_in_extension(error):
        return FAILED, f"an extension failed: {fault(error)}"
    what = f"{type(error).__name__}: {_one_line(str(error))}"
    return BUG, f"unexpected {what} (a bug: please report it with the output of --debug)"


def _is_clicks(error: SystemExit) -> bool:
    """Whether click ends the program: stdout is a closed pipe, or a shell completes."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("click.")


def _is_missing_extra(error: BaseException) -> bool:
    """Whether an optional library is missing, with a message of asvit.

    A failed import statement sets the name: then an installed package is broken.
    """
    return isinstance(error, ImportError) and error.name is None


def _one_line(text: str) -> str:
    """``text`` in one line, without control characters."""
    return one_line(" ".join(text.split()), most=_LONGEST)


class _Stderr(logging.Handler):
    """Writes on the current stderr, above a progress bar."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        message = _one_line(self.format(record))
        say(f"asvit: {message}")


@contextmanager
def _logging_on_stderr(session: Session) -> Iterator[None]:
    """Show the log of asvit's packages, from INFO up, while a command runs."""
    handler = _Stderr(session)
    loggers = [logging.getLogger(name) for name in ("asvit", "scaling", "proxies")]
    matplotlib = logging.getLogger("matplotlib")
    before = [(logger.level, logger.propagate) for logger in (*loggers, matplotlib)]
    matplotlib.setLevel(logging.ERROR)  # it warns about folders that nothing needs
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
    """Redirect streams that the caller has closed (``>&-``) to the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, nowhere)


def _accept_any_character() -> None:
    """Write question marks for characters that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
