"""The grid of tokens in a list, for layers that only receive the list."""

from typing import Any, cast

from torch import Tensor, nn

from asvit.models.layers.windows import Stage, fitting_splits

Grid = tuple[int, int]


class TokenGrid:
    """Rows and columns of the tokens in one part of a network, for the image of the last pass.

    A hook on a layer that knows the grid records it. Layers that need the grid share the object.

    Args:
        grid: Rows and columns, if known before the first pass.
    """

    def __init__(self, grid: Grid | None = None) -> None:
        self.grid = grid

    def shape(self, tokens: int) -> Grid:
        """Rows and columns of this many tokens.

        Raises:
            ValueError: If the grid is unknown, or has another number of tokens.
        """
        if self.grid is None:
            raise ValueError(
                f"the grid of {tokens} tokens is not known; "
                "run the whole network, which records it"
            )
        rows, columns = self.grid
        if rows * columns != tokens:
            raise ValueError(
                f"{tokens} tokens are not a grid of {rows} rows and {columns} columns"
            )
        return self.grid

    # Hooks are methods, not closures, so that a deep copy of a network gets its own grids.

    def note_rows_first(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of a module with output ``[B, h, w, channels]``."""
        self.grid = (output.shape[1], output.shape[2])

    def note_channels_first(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of a module with output ``[B, channels, h, w]``."""
        self.grid = (output.shape[2], output.shape[3])


def nominal_grid(tokens: int) -> Grid:
    """The most nearly square grid of this many tokens, with at least as many rows as columns."""
    columns = next(n for n in range(int(tokens**0.5), 0, -1) if tokens % n == 0)
    return tokens // columns, columns


class PatchGrid(TokenGrid):
    """The grid of a vision transformer's patches."""

    def note_patches(self, embedding: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of the patch embedding, whose output is a list or ``[B, h, w, dim]``."""
        sides = output.shape[1:3] if output.ndim == 4 else cast("Grid", embedding.grid_size)
        self.grid = (sides[0], sides[1])


class WindowGrid(TokenGrid):
    """The grid of the tokens in a window."""

    def note_window(self, stage: Stage, args: tuple[Tensor, ...]) -> None:
        """Forward pre-hook of a stage with input ``[B, h, w, dim]``."""
        height, width = args[0].shape[1:3]
        splits = fitting_splits(stage.splits, height, width)
        self.grid = (height // splits, width // splits)


class ListGrid(TokenGrid):
    """The grid of tokens that are pooled along their list.

    While all rows shrink alike it is known; after that, a nearly square one replaces it.
    """

    def shape(self, tokens: int) -> Grid:
        """Rows and columns of this many tokens.

        Raises:
            ValueError: If no image has been seen.
        """
        if self.grid is None or self.grid[0] * self.grid[1] == tokens:
            return super().shape(tokens)
        rows = self.grid[0]
        return nominal_grid(tokens) if tokens % rows else (rows, tokens // rows)
