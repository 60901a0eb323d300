"""How the site is built: ``python -m sphinx -W --keep-going -b html docs BUILD``, offline."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from docutils import nodes
from pygments.lexers import TextLexer
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

# The checkout that holds these pages, whatever is installed beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from asvit import __version__
from asvit.cli.app import app as program
from asvit.core.settings import Settings, fields_of, option_of

project = "asvit"
author = "The asvit authors"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
copybutton_prompt_text = "$ "

# Links to headings are those that GitHub makes, so that a page reads the same there.
myst_heading_anchors = 3

# Signatures stay short: types stand beside the descriptions of the arguments.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
maximum_signature_line_length = 78
napoleon_numpy_docstring = False
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"asvit {__version__}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]

HELP_PAGE = "api/help"
# `python -m sphinx -b man docs BUILD` makes a manual page of it: man BUILD/asvit.1
man_pages = [(HELP_PAGE, "asvit", "vision transformers designed, scaled and trained", author, 1)]


def setup(sphinx: Sphinx) -> dict[str, bool]:
    """Fill in what no file holds as the site shows it."""
    sphinx.add_lexer("csv", TextLexer)  # GitHub colours tables; Pygments does not
    sphinx.connect("source-read", add_help)
    sphinx.connect("autodoc-process-docstring", add_options)
    sphinx.connect("doctree-read", set_formulas)
    sphinx.connect("env-get-outdated", outdated_pages)
    return {"parallel_read_safe": True}


# L^E and (v·v)^(-3/2); κ_Θ and A_i, but no names with underscores.
FORMULA = re.compile(r"(?<=[\w)])\^(\([^()]*\)|\w+)|(?<=\b[A-Za-zκ])_([A-Za-zΘ])(?!\w)")


def set_formulas(_sphinx: Sphinx | None, page: nodes.Node) -> None:
    """Raise and lower what stands behind ^ and _ in running text: no script, no network."""
    for text in list(page.findall(nodes.Text)):
        if isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.raw):
            continue
        words, raised, lowered = ((parts := FORMULA.split(text.astext()))[i::3] for i in range(3))
        if len(parts) == 1:
            continue
        made: list[nodes.Node] = [nodes.Text(words[0])]
        for high, low, rest in zip(raised, lowered, words[1:], strict=True):
            made.append(
                nodes.superscript("", high.strip("()")) if high else nodes.subscript("", low)
            )
            made.append(nodes.Text(rest))
        text.parent.replace(text, made)


def add_help(_sphinx: Sphinx, page: str, source: list[str]) -> None:
    """Append what every command says to ``--help``, each under a heading of its own."""
    if page == HELP_PAGE:
        root = click.Context(
            program, info_name="asvit", terminal_width=80, **program.context_settings
        )
        for context in contexts(root):
            source[0] += f"\n## {context.command_path}\n\n```text\n{context.get_help()}\n```\n"


def add_options(
    _sphinx: Sphinx, _kind: str, _name: str, made: object, _options: object, lines: list[str]
) -> None:
    """Append the fields of settings, each with its help and its default."""
    if isinstance(made, type) and issubclass(made, Settings):
        for name, field in fields_of(made).items():
            option = option_of(field)
            if option is not None:
                default = "" if field.is_required() else f" Default: ``{field.default!r}``."
                lines += ["", f":ivar {name}: {field.description}{default}"]


def contexts(context: click.Context) -> Iterator[click.Context]:
    """The context of a command, then those of the commands below it."""
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None:
                yield from contexts(
                    click.Context(command, context, info_name=name, **command.context_settings)
                )


def outdated_pages(
    _sphinx: Sphinx, _env: BuildEnvironment, _added: set[str], _changed: set[str], _gone: set[str]
) -> list[str]:
    """The help follows from code that Sphinx does not watch."""
    return [HELP_PAGE]
