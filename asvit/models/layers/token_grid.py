"""Where the tokens of a list lie on the image, for layers that are given nothing but the list."""

from typing import Any

from torch import Tensor, nn

Grid = tuple[int, int]


class TokenGrid:
    """Rows and columns of the tokens in one part of a network, as an image last left them.

    A layer that knows the grid tells it through a hook; layers that need it hold the same object.

    Args:
        grid: Rows and columns that are known beforehand.
    """

    def __init__(self, grid: Grid | None = None) -> None:
        self.grid = grid

    def of(self, tokens: int) -> Grid:
        """The grid of so many tokens.

        Raises:
            ValueError: If it is not known, or is one of another number of tokens.
        """
        if self.grid is None:
            raise ValueError(
                f"the grid of {tokens} tokens is not known; "
                "run the whole network, whose parts tell it"
            )
        rows, columns = self.grid
        if rows * columns != tokens:
            raise ValueError(
                f"{tokens} tokens are not a grid of {rows} rows and {columns} columns"
            )
        return self.grid

    # Hooks. Methods, not closures: a deep copy of a network then has grids of its own.

    def note_rows_first(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of a module that gives ``[B, h, w, channels]``."""
        self.grid = (output.shape[1], output.shape[2])

    def note_channels_first(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of a module that gives ``[B, channels, h, w]``."""
        self.grid = (output.shape[2], output.shape[3])


def nominal_grid(tokens: int) -> Grid:
    """Rows and columns of tokens that come from no grid: the factors nearest to a square.

    There are at least as many rows as columns.
    """
    columns = next(n for n in range(int(tokens**0.5), 0, -1) if tokens % n == 0)
    return tokens // columns, columns
