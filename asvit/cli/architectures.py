"""Architectures as arguments of commands: checked before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import click

TIMM = "timm:"

architectures_argument = click.argument(
    "architectures", metavar="ARCH...", nargs=-1, required=True
)


def canonical(texts: Sequence[str]) -> list[str]:
    """The texts in canonical form, each architecture once.

    Raises:
        click.UsageError: If one is no architecture of a space and no model of timm.
    """
    return list(
        dict.fromkeys(_hosted(text) if text.startswith(TIMM) else _ours(text) for text in texts)
    )


def _ours(text: str) -> str:
    from asvit.spaces.architectures import find

    try:
        return str(find(text)[1])
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _hosted(text: str) -> str:
    import timm

    import asvit.models  # noqa: F401 - registers ours

    name = text.removeprefix(TIMM)
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean {TIMM + near[0]!r}?" if near else "asvit list models has the names"
        raise click.UsageError(f"timm has no model {name!r}; {hint}")
    return text
