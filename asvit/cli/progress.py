"""The line about images that are made or read, where there is no bar."""

from __future__ import annotations

from collections.abc import Callable

import click

# Called with how many there are so far, and how many there will be.
Count = Callable[[int, int], None]


class OneLine:
    """Writes one line when images have to be made or read, as kept ones need not."""

    def __init__(self) -> None:
        self._written = False

    def __call__(self, done: int, total: int) -> None:
        """Write the line, unless it is there or all is done."""
        if done < total and not self._written:
            self._written = True
            click.echo(f"preparing {total} images", err=True)
