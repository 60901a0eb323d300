"""Loads reference tables, by name or from files: texts made canonical, rows checked."""

from __future__ import annotations

import logging
from pathlib import Path

from asvit.core.files import expanded
from asvit.reference.columns import (
    Layout,
    as_number,
    find_default,
    find_layout,
    find_targets,
    read_accuracies,
    read_whole,
)
from asvit.reference.schema import Row, Sheet, read_sheet
from asvit.reference.table import LEAST_ROWS, ReferenceTable
from proxies.messages import first_line, hint, legible, one_line, shown
from proxies.registry import Registry

_LOG = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 224
_BELOW = 10**6  # pixels of a side and classes; more is a slip, or meant to take all memory
# Rounded counts from elsewhere may be of other heads; warn about larger differences.
_CLOSE = 0.01
# What building a network for an unsuitable image size may raise.
_FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError),
    *(LookupError, RuntimeError, TypeError, ValueError),
)


#: The tables that come with asvit: name -> what is in it, in one line.
REFERENCES: Registry[str] = Registry(
    "reference table",
    {
        "vitbench101-pit": "100 PiT of ViT-Bench-101 on CIFAR-100, Flowers and Chaoyang",
        "vitbench101-autoformer": "100 AutoFormer of ViT-Bench-101 on the same three",
        "timm-in1k": "197 timm models trained on ImageNet-1k alone, each by its own recipe",
        "asvit-fractal": "60 As-ViT topologies on 20 classes of fractals, three seeds each",
    },
)


def load_reference(name_or_path: str | Path, *, check: bool = True) -> ReferenceTable:
    """Read a reference table: one of :data:`REFERENCES`, or your own CSV file.

    Every row of your own file is built on the meta device, about 0.1 s each, to report
    architectures that cannot be built before anything is measured. The tables that come with
    asvit were checked when they were made.

    Args:
        name_or_path: Name of a table, or path of a CSV file as described in docs/reference.md.
        check: Whether to build the rows of your own file.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If the file is not such a table; one line that names the file, the line, the
            value and what would be right.
    """
    if str(name_or_path) in REFERENCES:
        name = str(name_or_path)
        return read_reference(_shipped(name), name=name, shipped=True, check=False)
    text = str(name_or_path)
    path = expanded(text)
    if not path.exists():
        raise FileNotFoundError(
            f"no reference table {shown(text)}; {hint(text, REFERENCES)}, "
            "or the path of a CSV file"
        )
    return read_reference(path, name=legible(path.stem), shipped=False, check=check)


def _shipped(name: str) -> Path:
    return Path(__file__).parent / f"{name.replace('-', '_')}.csv"


def read_reference(path: Path, *, name: str, shipped: bool, check: bool) -> ReferenceTable:
    """Read a reference table.

    Args:
        path: The file.
        name: How the table is called.
        shipped: Whether it comes with asvit: its texts are canonical and its counts correct.
        check: Whether to build every row on the meta device and count its parameters.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not such a table; one line that names the file, the line, the value
            and what would be right.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a CSV file")
    layout, sheet = find_layout(read_sheet(path))
    # Report an invalid row before reporting that there are too few.
    texts = tuple(_text(layout, sheet, row, shipped=shipped) for row in sheet.rows)
    _check_distinct(sheet, texts)
    targets = find_targets(sheet) if sheet.rows else ()
    accuracies = {target.name: read_accuracies(sheet, target) for target in targets}
    if len(sheet.rows) < LEAST_ROWS:
        raise ValueError(
            f"{path} has {len(sheet.rows)} row(s); a ranking needs at least {LEAST_ROWS}"
        )
    num_classes = _number_above(sheet, "num_classes", layout.num_classes)
    sides = _image_sizes(sheet)
    params = _wholes(sheet, "params", "the exact count, or call the column params_M")
    macs = _wholes(sheet, "macs", "the exact count, or call the column gmacs")
    if check:
        counted = _count(sheet, texts, sides, num_classes)
        _check_params(sheet, params, counted, num_classes)
        params = counted
    return ReferenceTable(
        name=name,
        path=path,
        digest=sheet.digest,
        provenance=sheet.provenance,
        num_classes=num_classes,
        architectures=texts,
        image_sizes=sides,
        params=params,
        macs=macs,
        targets={target.name: target for target in targets},
        accuracies=accuracies,
        default_target=find_default(sheet, targets),
    )


def _text(layout: Layout, sheet: Sheet, row: Row, *, shipped: bool) -> str:
    """The canonical architecture text of a row; names of timm models need no ``timm:``."""
    try:
        text = layout.text(row.cells)
        return text if shipped else _canonical(text)
    except ValueError as error:
        raise sheet.fault(row, first_line(error)) from error


def _canonical(text: str) -> str:
    from asvit.spaces.architectures import canonical, is_fixed
    from asvit.spaces.families import PREFIX

    if not text:
        raise ValueError("no architecture; write a text that asvit.build takes")
    # Our own texts have bars; anything else is meant as the name of a timm model.
    bare = "|" not in text and not is_fixed(text)
    return canonical(PREFIX + text if bare else text)


def _check_distinct(sheet: Sheet, texts: tuple[str, ...]) -> None:
    first: dict[str, Row] = {}
    for row, text in zip(sheet.rows, texts, strict=True):
        if text in first:
            raise sheet.fault(
                row,
                f"architecture {one_line(text)} is that of line {first[text].line} again; "
                "keep one",
            )
        first[text] = row


def _image_sizes(sheet: Sheet) -> tuple[int, ...]:
    column = next((name for name in ("image_size", "img_size") if name in sheet.columns), None)
    if column is None:
        return (_number_above(sheet, "image_size", DEFAULT_IMAGE_SIZE),) * len(sheet.rows)
    return tuple(
        read_whole(sheet, row, column, example="pixels, as 224", below=_BELOW)
        for row in sheet.rows
    )


def _number_above(sheet: Sheet, key: str, default: int) -> int:
    """The number that a line above the header gives for ``key``."""
    text = sheet.provenance.get(key)
    if text is None:
        return default
    # int() rejects thousands of digits with an error that names no file.
    if not text.isdecimal() or len(text) > 20 or not 0 < int(text) < _BELOW:
        raise ValueError(
            f"{sheet.path}: {key} {shown(text)} is no whole number; write '# {key}: 100'"
        )
    return int(text)


def _wholes(sheet: Sheet, column: str, example: str) -> tuple[int, ...] | None:
    if column not in sheet.columns:
        return None
    return tuple(read_whole(sheet, row, column, example=example) for row in sheet.rows)


def _count(
    sheet: Sheet, texts: tuple[str, ...], sides: tuple[int, ...], num_classes: int
) -> tuple[int, ...]:
    """Count the parameters of every row's network, which also proves that it can be built."""
    from asvit.spaces.architectures import build_on_meta

    counts = []
    for row, text, side in zip(sheet.rows, texts, sides, strict=True):
        try:
            network = build_on_meta(text, image_size=side, num_classes=num_classes)
        except _FAILURES as error:
            raise sheet.fault(
                row, f"{one_line(text)} cannot be built for {side} px: {first_line(error)}"
            ) from error
        counts.append(sum(parameter.numel() for parameter in network.parameters()))
    return tuple(counts)


def _check_params(
    sheet: Sheet, given: tuple[int, ...] | None, counted: tuple[int, ...], num_classes: int
) -> None:
    """Refuse wrong exact counts; warn about wrong rounded ones."""
    for row, there, here in zip(sheet.rows, given or counted, counted, strict=True):
        if there != here:
            raise sheet.fault(
                row,
                f"params is {there}, but the network with {num_classes} classes has {here}; "
                "correct it, or give the classes in a line '# num_classes: N'",
            )
    if "params_M" not in sheet.columns:
        return
    for row, here in zip(sheet.rows, counted, strict=True):
        millions = as_number(row.cells["params_M"])
        if millions is not None and abs(millions * 1e6 - here) > _CLOSE * here:
            _LOG.warning(
                "%s, line %d: params_M is %s, but the network with %d classes has %.4f; "
                "the latter is used",
                *(sheet.path, row.line, one_line(row.cells["params_M"])),
                *(num_classes, here / 1e6),
            )
            return
