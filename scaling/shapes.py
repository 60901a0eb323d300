"""Depths, a width and expansions, and the candidates that a growth step derives from them."""

from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import NamedTuple

Sizes = tuple[int, ...]  # by stage
#: Width factors of a growth step.
WIDTH_FACTORS = (1.05, 1.10, 1.15, 1.20)
MAX_EXTRA_BLOCKS = 4  # that a final step may add
MAX_EXTRA_CHANNELS = 2**20  # if a model this much wider still fits, its cost ignores the width


class Shape(NamedTuple):
    """What growth changes: blocks in each stage, and the width of the first stage in channels.

    Example:
        >>> scaling.Shape(depths=(1, 1, 1, 1), width=32).width
        32
    """

    depths: Sizes
    width: int

    @property
    def expansions(self) -> Sizes:
        """Expansions of the feed-forward parts, where they grow as well; else none."""
        return ()

    def with_(self, depths: Sizes, width: int, expansions: Sizes = ()) -> "Shape":
        """Another shape of the same kind; one without expansions ignores them."""
        return Shape(depths, width)

    def wider(self, width: int) -> "Shape":
        """The shape at another width."""
        return self.with_(self.depths, width, self.expansions)

    def steps(self) -> list["Shape"]:
        """The shapes with one more block, or an expansion larger by one, in one stage."""
        return [
            *(self.with_(d, self.width, self.expansions) for d in _increments(self.depths)),
            *(self.with_(self.depths, self.width, e) for e in _increments(self.expansions)),
        ]


class ExpandedShape(Shape):
    """A shape whose expansions grow, too; it unpacks to depths, width and expansions."""

    def __new__(cls, depths: Sizes, width: int, expansions: Sizes) -> "ExpandedShape":
        """Bypass the NamedTuple's own, which takes exactly its fields."""
        return tuple.__new__(cls, (depths, width, expansions))

    @property
    def expansions(self) -> Sizes:
        """Hidden width of the feed-forward part over the width, in each stage."""
        expansions: Sizes = tuple(self)[2]  # type: ignore[assignment]
        return expansions

    def with_(self, depths: Sizes, width: int, expansions: Sizes = ()) -> Shape:
        """Another shape of the same kind."""
        return ExpandedShape(depths, width, expansions)


def shape_of(depths: Sequence[int], width: int, expansions: Sequence[int] = ()) -> Shape:
    """The shape with these sizes, whose expansions grow if there are any."""
    # Of NumPy's integers, costs would overflow and rows would not be JSON.
    sizes = tuple(map(index, depths)), index(width)
    ratios = tuple(map(index, expansions))
    return ExpandedShape(*sizes, ratios) if ratios else Shape(*sizes)


def proposals(
    shape: Shape, *, factors: Sequence[float] = WIDTH_FACTORS, multiple: int = 1
) -> list[Shape]:
    """Candidates of a growth step: one more block in one stage, and a larger width.

    For a shape with expansions also those with an expansion larger by one in place of the block.

    Args:
        shape: The current shape.
        factors: Width factors; the paper's by default.
        multiple: Widths are rounded to multiples of this, halves to even ones; if all are the
            current one then, the next multiple is proposed, too.

    Returns:
        The shapes, stage by stage, from narrow to wide, without duplicates.

    References:
        Chen et al. 2022, arXiv:2202.11921. The released code rounds the quarter of the width that
        it measures at, which is ``multiple=4``.

    Example:
        >>> scaling.proposals(scaling.Shape((1, 1), 40))[0]
        Shape(depths=(2, 1), width=42)
    """
    widths = {_scaled_width(shape.width, factor, multiple) for factor in factors}
    if widths == {shape.width}:  # or growth would add blocks alone
        widths.add((shape.width // multiple + 1) * multiple)
    return [step.wider(width) for step in shape.steps() for width in sorted(widths)]


def final_step_candidates(
    shape: Shape,
    fits: Callable[[Shape], bool],
    close_enough: Callable[[Shape], bool],
    *,
    width_step: int = 1,
) -> list[Shape]:
    """Finer candidates, for a last step once no proposal fits the budget.

    For the current depths, and for one more block in each stage, take the widest shape that fits.
    If none is close enough to the budget, add two blocks, to one stage or to two, then three, then
    four. Expansions grow as blocks do. Widths are multiples of ``width_step``.
    """
    new, bases = [shape], [shape]
    for _ in range(MAX_EXTRA_BLOCKS):
        new = list(dict.fromkeys(step for base in new for step in base.steps()))
        bases += new
        widest = [largest_fitting(stepped(wider(base), width_step), fits) for base in bases]
        candidates = [shape for shape in widest if shape is not None and close_enough(shape)]
        if candidates:
            return candidates
        bases = []
    return []


def largest_fitting(family: Callable[[int], Shape], fits: Callable[[Shape], bool]) -> Shape | None:
    """Find the largest shape of a family that fits, by doubling and bisection.

    The family maps 0, 1, 2, ... to ever larger shapes. None if even the first one does not fit, or
    if all of them do.
    """
    if not fits(family(0)):
        return None
    below, step = 0, 1
    while fits(family(below + step)):
        below += step
        step *= 2
        if below > MAX_EXTRA_CHANNELS:
            return None
    above = below + step
    while above - below > 1:
        middle = (below + above) // 2
        if fits(family(middle)):
            below = middle
        else:
            above = middle
    return family(below)


def stepped(family: Callable[[int], Shape], width_step: int) -> Callable[[int], Shape]:
    """A family with its widths rounded down to multiples of ``width_step``, at least one."""
    return lambda number: with_width_step(family(number), width_step)


def with_width_step(shape: Shape, width_step: int) -> Shape:
    """The shape with its width rounded down to a multiple of ``width_step``, at least one."""
    return shape.wider(max(1, shape.width // width_step) * width_step)


def wider(shape: Shape) -> Callable[[int], Shape]:
    """Shapes of the same depths with n more channels."""
    return lambda channels: shape.wider(shape.width + channels)


def _increments(sizes: Sizes) -> Iterator[Sizes]:
    """``sizes`` with one entry larger by one, for each entry in order."""
    for place, size in enumerate(sizes):
        yield (*sizes[:place], size + 1, *sizes[place + 1 :])


def _scaled_width(width: int, factor: float, multiple: int) -> int:
    """``width`` times ``factor`` as a multiple of ``multiple``, halves to even, never narrower."""
    # Rounding to nine digits removes the float error in products of two short decimals.
    return max(width, multiple * round(round(width * factor / multiple, 9)))
