"""Draws the block diagrams of ShiftViT and PSViT for the docs.

Run from a checkout: ``python -m experiments.draw_blocks`` writes into ``docs/images``. The numbers
in the picture of the shift are computed by the operation itself.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from asvit.core.files import write_text
from asvit.models.shiftvit import shift
from asvit.report.style import COLOUR

IMAGES = Path(__file__).parents[1] / "docs" / "images"

# Class of a shape -> roles of its fill and stroke.
_SHAPES = {
    "plain": ("card", "muted"),
    "box": ("level0", "level3"),
    "made": ("second-faint", "second"),
    "page": ("card", "card"),
}
_COLOURS = {**COLOUR, "second-faint": "#fbe9dc"}


class Canvas:
    """Builds an SVG picture. All lengths are in pixels; the origin is at the top left.

    Args:
        width: Width of the picture.
        height: Height of the picture.
        label: Text alternative for screen readers.
    """

    def __init__(self, width: int, height: int, label: str) -> None:
        self._size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        self._label = label
        self._parts = [f'<rect class="page" width="{width}" height="{height}"/>']

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Write text centred at ``x``; kinds with ``left`` start there."""
        named = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text{named} x="{x:g}" y="{y:g}">{text}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "box"
    ) -> None:
        """Draw a box with centred lines of text; the first one is larger."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            'rx="4"/>'
        )
        middle = y + height / 2 + 4 - 7.5 * (len(lines) - 1)
        for i, line in enumerate(lines):
            self.text(x + width / 2, middle + 15 * i, line, "small" if i else "")

    def way(self, *points: tuple[float, float]) -> None:
        """Draw an arrow through ``points``."""
        line = "L".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(f'<path class="way to" d="M{line}"/>')

    def plus(self, x: float, y: float) -> None:
        """Draw a plus sign in a circle."""
        self._parts.append(f'<circle class="plain" cx="{x:g}" cy="{y:g}" r="11"/>')
        self.text(x, y + 4, "+")

    def cells(
        self,
        x: float,
        y: float,
        rows: Sequence[Sequence[str]],
        *,
        side: tuple[float, float] = (22, 22),
        kind: str = "box",
        marked: str = "",
        mark: str = "made",
    ) -> None:
        """Draw a table of cells; those with the text ``marked`` are of the kind ``mark``."""
        width, height = side
        for i, row in enumerate(rows):
            for j, content in enumerate(row):
                shape = mark if marked and content == marked else kind
                at = x + j * width, y + i * height
                self._parts.append(
                    f'<rect class="{shape}" x="{at[0]:g}" y="{at[1]:g}" width="{width:g}" '
                    f'height="{height:g}"/>'
                )
                if content:
                    self.text(at[0] + width / 2, at[1] + height / 2 + 4, content, "number")

    def svg(self) -> str:
        """The picture as the text of an SVG file."""
        parts = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {self._size} role="img" '
            f'aria-label="{self._label}" font-family="DejaVu Sans, Verdana, sans-serif" '
            f'font-size="12">\n{_head()}\n{parts}\n</svg>\n'
        )


def _head() -> str:
    """The styles, and the arrowhead."""
    shapes = " ".join(
        f".{name} {{ fill: {_COLOURS[inside]}; stroke: {_COLOURS[edge]}; }}"
        for name, (inside, edge) in _SHAPES.items()
    )
    return (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker><style>'
        f"{shapes} .way {{ fill: none; stroke: {_COLOURS['muted']}; stroke-width: 1.3; }} "
        f".tip {{ fill: {_COLOURS['muted']}; }} "
        f"text {{ fill: {_COLOURS['ink']}; text-anchor: middle; }} "
        f".small {{ fill: {_COLOURS['muted']}; }} "
        ".to { marker-end: url(#tip); } .small { font-size: 10.5px; } "
        ".number { font-size: 11px; } .title { font-size: 14px; font-weight: bold; } "
        ".title, .left { text-anchor: start; }</style></defs>"
    )


def shiftvit() -> str:
    """The shift, the block and the network of ShiftViT."""
    canvas = Canvas(920, 560, "The shift, the block and the stages of ShiftViT")
    _shift(canvas)
    canvas.text(24, 222, "The block", "title")
    canvas.text(24, 240, "Only the shift mixes positions; it is outside the branch.", "small left")
    canvas.text(40, 314, "x")
    canvas.way((50, 310), (70, 310))
    canvas.box(70, 288, 98, 44, "shift", "no parameters", kind="made")
    canvas.way((168, 310), (220, 310))
    parts = [
        ("norm", "GroupNorm(1)"),
        ("1 × 1 conv", "C → τC"),
        ("GELU", ""),
        ("1 × 1 conv", "τC → C"),
        ("drop-path", "in training"),
    ]
    for i, lines in enumerate(parts):
        canvas.box(220 + 122 * i, 288, 98, 44, *filter(None, lines))
        canvas.way((318 + 122 * i, 310), (342 + 122 * i if i < 4 else 831, 310))
    canvas.plus(842, 310)
    canvas.way((192, 310), (192, 268), (842, 268), (842, 299))
    canvas.way((853, 310), (890, 310))
    canvas.text(24, 384, "The network", "title")
    canvas.text(24, 402, "At 224 px. L blocks in each stage; C is 96 or 128.", "small left")
    stages = [("56 × 56", "C"), ("28 × 28", "2C"), ("14 × 14", "4C"), ("7 × 7", "8C")]
    canvas.box(24, 440, 90, 58, "stem", "4 × 4 conv", "of stride 4", kind="plain")
    for i, (grid, width) in enumerate(stages):
        x = 134 + 166 * i
        canvas.way((x - 20, 469), (x, 469))
        canvas.box(x, 430 + 5 * i, 78, 78 - 10 * i, f"stage {i + 1}", grid, f"{width} channels")
        if i < len(stages) - 1:
            canvas.way((x + 78, 469), (x + 92, 469))
            canvas.box(x + 92, 447, 54, 44, "merge", kind="plain")
    canvas.way((710, 469), (730, 469))
    canvas.box(730, 440, 166, 58, "head", "norm, mean over positions,", "linear map", kind="plain")
    merging = "Merge: a norm and a 2 × 2 convolution of stride 2, which doubles the width."
    canvas.text(24, 540, f"{merging} The stem ends in a norm, too.", "small left")
    return canvas.svg()


def _shift(canvas: Canvas) -> None:
    """The shift of one channel of each group."""
    canvas.text(24, 30, "The shift", "title")
    canvas.text(
        24, 48, "One channel of each group of C // N_DIV; orange: filled with 0.", "small left"
    )
    before = torch.arange(1, 10).float().view(1, 1, 3, 3).expand(1, 5, 3, 3)
    after = shift(before, n_div=5, step=1)[0].int().tolist()
    canvas.cells(24, 80, _words(before[0, 0].int().tolist()), kind="plain")
    canvas.text(57, 172, "before", "small")
    canvas.way((104, 113), (140, 113))
    for i, name in enumerate(("left", "right", "up", "down", "the others stay")):
        x = 160 + 150 * i
        canvas.cells(x, 80, _words(after[i]), marked="0")
        canvas.text(x + 33, 172, name, "small")


def psvit() -> str:
    """Shared attention, cells and token pooling of PSViT."""
    canvas = Canvas(920, 700, "Attention sharing, cells and token pooling of PSViT")
    canvas.text(24, 30, "A pair of layers that share their attention", "title")
    canvas.text(
        24, 48, "The second has no queries, no keys and no softmax; norms are left out here.",
        "small left",
    )  # fmt: skip
    _layer(canvas, 24, shared=False)
    _layer(canvas, 476, shared=True)
    canvas.way((154, 100), (154, 72), (606, 72), (606, 146))
    canvas.text(380, 66, "the maps, after the softmax", "small")
    canvas.text(24, 290, "Cells", "title")
    canvas.text(24, 308, "Three stages of six; each is one of three.", "small left")
    for i, (letter, name, boxes) in enumerate(
        (("b", "one basic layer", 1), ("s", "a pair", 2), ("-", "nothing", 0))
    ):
        x = 24 + 130 * i
        canvas.text(x + 40, 346, letter)
        for k in range(boxes):
            canvas.box(x + 10, 356 + 26 * k, 60, 20, kind="made" if k else "box")
        if not boxes:
            canvas.way((x + 40, 356), (x + 40, 402))
        canvas.text(x + 40, 422, name, "small")
    _network(canvas)
    _pooling(canvas)
    return canvas.svg()


def _layer(canvas: Canvas, x: float, *, shared: bool) -> None:
    """One transformer layer, with its own maps or those of the layer before."""
    canvas.way((x, 172), (x + 44, 172))
    if not shared:
        canvas.box(x + 84, 100, 92, 32, "softmax(QKᵀ)")
        canvas.box(x + 24, 100, 44, 32, "Q, K")
        canvas.way((x + 20, 172), (x + 20, 116), (x + 24, 116))
        canvas.way((x + 68, 116), (x + 84, 116))
        canvas.way((x + 130, 132), (x + 130, 146))
    canvas.box(x + 44, 156, 38, 32, "V′" if shared else "V")
    canvas.way((x + 82, 172), (x + 104, 172))
    canvas.box(
        x + 104, 146, 52, 52, "maps", "× V′" if shared else "× V", kind="made" if shared else "box"
    )
    canvas.way((x + 156, 172), (x + 176, 172))
    canvas.box(x + 176, 156, 52, 32, "output")
    canvas.way((x + 228, 172), (x + 249, 172))
    canvas.plus(x + 260, 172)
    canvas.way((x + 8, 172), (x + 8, 222), (x + 260, 222), (x + 260, 183))
    canvas.way((x + 271, 172), (x + 300, 172))
    canvas.box(x + 300, 156, 60, 32, "FFN")
    canvas.way((x + 360, 172), (x + 381, 172))
    canvas.plus(x + 392, 172)
    canvas.way((x + 284, 172), (x + 284, 222), (x + 392, 222), (x + 392, 183))
    canvas.way((x + 403, 172), (x + 444, 172))


def _network(canvas: Canvas) -> None:
    """A path with its stages and transitions."""
    canvas.text(476, 290, "A path: bbs---|bs----|bb----", "title")
    canvas.text(
        476, 308, "Tokens are pooled between stages, into none that is empty.", "small left"
    )
    x = 476.0
    for i, cells in enumerate(("bbs---", "bs----", "bb----")):
        for letter in cells.replace("-", ""):
            for k in range(2 if letter == "s" else 1):
                canvas.box(x, 356, 22, 46, kind="made" if k else "box")
                x += 22
            x += 6
        if i < 2:
            canvas.way((x - 4, 379), (x + 12, 379))
            canvas.box(x + 12, 362, 54, 34, "pool", kind="plain")
            canvas.way((x + 66, 379), (x + 80, 379))
            x += 80
    canvas.text(476 + 58, 422, "orange: the second layers of pairs", "small left")


def _pooling(canvas: Canvas) -> None:
    """Token pooling in a list and on a grid."""
    canvas.text(24, 474, "Token pooling in a list", "title")
    canvas.text(24, 492, "Behind the class token: 197, 99, 50 tokens.", "small left")
    patches = [str(i) for i in range(1, 9)]
    canvas.cells(24, 526, [["cls", *patches]], side=(28, 24), marked="cls", mark="plain")
    canvas.way((150, 550), (150, 574))
    canvas.text(160, 566, "1 × 1 convolution: wider", "small left")
    canvas.cells(24, 574, [["cls", *patches]], side=(28, 34), marked="cls", mark="plain")
    canvas.way((150, 608), (150, 632))
    canvas.text(160, 624, "max-pool of 2, not of the class token", "small left")
    pairs = [f"{a},{b}" for a, b in zip(patches[::2], patches[1::2], strict=True)]
    canvas.cells(24, 632, [["cls", *pairs]], side=(40, 34), marked="cls", mark="plain")
    canvas.text(476, 474, "Token pooling on a grid", "title")
    canvas.text(476, 492, "No class token: 28 × 28, 14 × 14, 7 × 7 tokens.", "small left")
    canvas.cells(476, 526, [[""] * 6 for _ in range(6)], side=(20, 20))
    canvas.way((610, 586), (720, 586))
    canvas.text(665, 570, "3 × 3 conv", "small")
    canvas.text(665, 606, "of stride 2: wider", "small")
    canvas.cells(734, 541, [[""] * 3 for _ in range(3)], side=(30, 30))


def _words(rows: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[str(number) for number in row] for row in rows]


PICTURES = {"shiftvit-block.svg": shiftvit, "psvit-block.svg": psvit}


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder to write to")
    options = parser.parse_args()
    for name, draw in PICTURES.items():
        write_text(options.out / name, draw())


if __name__ == "__main__":
    main()
