"""The end of ``--help``: examples, files, and related commands."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import click

from asvit.core.errors import WrongOption, WrongValue

Rows = Sequence[tuple[str, str]]

RUN_FILES: Rows = (
    ("report.html", "Everything on one page that needs no network."),
    ("result.json", "The result, the settings, versions and the command."),
)
EXIT_CODES: Rows = (
    ("0", "Done."),
    ("1", "A bug of ours."),
    ("2", "Wrong usage."),
    ("3", "Expected failure: a missing folder, a size that does not fit, a full disk."),
    ("130", "Interrupted; the same command continues a run."),
)
ENVIRONMENT: Rows = (
    ("ASVIT_CACHE", "Folder of made images; by default asvit in the user's cache."),
    ("ASVIT_DATA", "Folder of torchvision's data sets."),
    ("ASVIT_EXTENSIONS", "Modules of your own to import, separated by commas."),
    ("OMP_NUM_THREADS", "Threads of each process on a CPU."),
)


@dataclass(frozen=True)
class Page:
    """The help of a command after its options."""

    examples: Rows = ()
    files: Rows = ()
    see: Rows = ()


_RUN_FOLDER = "Writes a run folder"  # the files of every run, and these


def _rows(text: str) -> Rows:
    return re.findall(r"^ +(\S.*?)\s+# (.*)$", text, re.MULTILINE)


def _pages() -> Iterator[tuple[str, Page]]:
    """Each command with its page in manual.txt: examples, files, and related commands.

    Descriptions follow a #.
    """
    manual = files("asvit.cli").joinpath("manual.txt").read_text(encoding="utf-8")
    for block in manual.strip().split("\n\n"):
        name, _, text = block.partition("\n")
        heading = rf"^  (Writes|{_RUN_FOLDER}|See also):$"
        examples, *rest = re.split(heading, text, flags=re.MULTILINE)
        parts = {title: _rows(part) for title, part in zip(rest[::2], rest[1::2], strict=True)}
        if _RUN_FOLDER in parts:
            parts["Writes"] = (*RUN_FILES, *parts[_RUN_FOLDER])
        yield name, Page(_rows(examples), parts.get("Writes", ()), parts.get("See also", ()))


PAGES = dict(_pages())
FIRST_STEPS: Rows = (
    (
        "asvit design --data path/to/images --max-params 5M --hours 0.5",
        "Makes a network for a folder of class folders.",
    ),
    ("asvit search --preset quick", "Finds a small architecture in about two minutes."),
    ("asvit scale --preset quick --budget 88M", "Grows it to 88 million parameters."),
    ("asvit train ARCH --preset quick --dry-run", "Shows what a training would do."),
)


class Documented(click.Command):
    """A command whose help ends with its page of the manual."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, with what was typed or has a default."""
        ctx.params = {name: value for name, value in ctx.params.items() if value is not None}
        try:
            return super().invoke(ctx)
        except WrongOption as error:
            raise click.UsageError(self._message(error), ctx) from error

    def _message(self, error: WrongOption) -> str:
        """The message of an error, with the option in place of the setting that it is about."""
        if not isinstance(error.__cause__, WrongValue):
            return str(error)
        name, words = error.__cause__.name, error.__cause__.words
        options = (one for one in self.params if isinstance(one, click.Option))
        spelled = {str(option.name): option.opts[0] for option in options}
        return f"{spelled.get(name, name)} {words}"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, with a heading for each group."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", ""), []).append(record)
        for name, rows in groups.items():
            write_section(formatter, name or "Options", rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, files and related commands."""
        page = PAGES.get(ctx.command_path.partition(" ")[2], Page())  # of an extension
        write_section(formatter, "Examples", page.examples)
        write_section(formatter, "Writes", page.files)
        write_section(formatter, "See also", page.see)
        formatter.write_paragraph()
        formatter.write_text("Exit codes and environment: asvit --help.")


def write_section(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    """Write rows of two columns under a title, if there are any."""
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
