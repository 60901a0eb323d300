"""Architectures as arguments of commands: checked before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

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
    try:
        return list(dict.fromkeys(map(_canonical, texts)))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _canonical(text: str) -> str:
    from asvit.spaces.architectures import find
    from asvit.spaces.hosts import check_host

    if not text.startswith(TIMM):
        return str(find(text)[1])
    check_host(text.removeprefix(TIMM))
    return text
