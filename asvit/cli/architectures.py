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
        click.UsageError: If one is no architecture of a space or a family and no model of timm.
    """
    from asvit.spaces import architectures

    try:
        return list(dict.fromkeys(map(architectures.canonical, texts)))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
