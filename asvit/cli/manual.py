"""What ``--help`` says behind the options: examples, what is written where, what comes next."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import click

Rows = Sequence[tuple[str, str]]

RUN_FILES = {
    "report.html": "Everything on one page that needs no network.",
    "result.json": "The result, the settings, versions and the command.",
}
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
    """What the help of a command says behind its options."""

    examples: Rows
    files: Rows = ()
    see: Rows = ()


def _rows(text: str) -> Rows:
    found = re.findall(r"^ +(\S.*?)(?:\s+# (.*))?$", text, re.MULTILINE)
    return tuple((line, words or RUN_FILES[line]) for line, words in found)


def _pages() -> Iterator[tuple[str, Page]]:
    """Each command with its page in manual.txt: examples, what it writes and what goes with it.

    Words stand behind a #; those of :data:`RUN_FILES` are known.
    """
    manual = files("asvit.cli").joinpath("manual.txt").read_text(encoding="utf-8")
    for block in manual.strip().split("\n\n"):
        name, _, text = block.partition("\n")
        examples, *rest = re.split(r"^  (Writes|See also):$", text, flags=re.MULTILINE)
        parts = {title: _rows(part) for title, part in zip(rest[::2], rest[1::2], strict=True)}
        yield name, Page(_rows(examples), parts.get("Writes", ()), parts.get("See also", ()))


PAGES = dict(_pages())
_NO_PAGE = Page(examples=())
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
    """A command whose help ends with its page of the manual, and whose errors name its options.

    What it calls names settings as functions take them.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            told = self._with_options(error.format_message())
            raise click.UsageError(told, error.ctx) from error
        except ValueError as error:
            if len(error.args) == 1:
                error.args = (self._with_options(str(error)),)
            raise

    def _with_options(self, message: str) -> str:
        """A message with options in the place of the settings that it names.

        Names with an underscore are no other words; others are settings before a value, where the
        message begins with what they must be, and where they are to be given, too.
        """
        spelled = {
            str(one.name): one.opts[0] for one in self.params if isinstance(one, click.Option)
        }
        known = "|".join(spelled)
        long = "|".join(name for name in spelled if "_" in name) or "$^"
        word = r"(?<![\w(='\"./:-])({})(?![\w'\"./:(-])"
        for pattern, more in (
            (word.format(known) + "=", " "),
            (word.format(long), ""),
            (rf"^({known})(?= must )", ""),
            (rf"(?<=; give )({known})(?=, too)", ""),
        ):
            parts = re.split(pattern, message)
            parts[1::2] = [spelled[name] + more for name in parts[1::2]]
            message = "".join(parts)
        return message

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of a group under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", ""), []).append(record)
        for name, rows in groups.items():
            write_section(formatter, name or "Options", rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, files and what else to read."""
        page = PAGES.get(ctx.command_path.partition(" ")[2], _NO_PAGE)  # of an extension
        write_section(formatter, "Examples", page.examples)
        write_section(formatter, "Writes", page.files)
        write_section(formatter, "See also", page.see)
        formatter.write_paragraph()
        formatter.write_text("Exit codes and environment: asvit --help.")


def write_section(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    """Write rows of two columns under a title; nothing where there are none."""
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
