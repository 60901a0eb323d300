"""Loads reference tables by name or from files, with canonical texts and checked rows."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from asvit.core.files import expanded
from asvit.reference.schema import Sheet, read_sheet
from asvit.reference.table import LEAST_ROWS, ReferenceTable, Target, seed_of
from proxies.messages import first_line, hint
from proxies.registry import Registry
from proxies.text import legible, listed, one_line, shown

_LOG = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 224
_MOST = 10**6 - 1  # pixels of a side, and classes; more is a typo

#: The tables that come with asvit: name -> what is in it, in one line.
REFERENCES: Registry[str] = Registry(
    "reference table",
    {
        "vitbench101-pit": "100 PiT of ViT-Bench-101 on CIFAR-100, Flowers and Chaoyang",
        "vitbench101-autoformer": "100 AutoFormer of ViT-Bench-101 on the same three",
        "timm-in1k": "197 timm models trained on ImageNet-1k alone, each by its own recipe",
        "asvit-fractal": "60 As-ViT topologies on 20 classes of fractals, three seeds each",
        "asvit-sizes": "100 As-ViT of several depths and widths on 40 classes, two seeds each",
    },
)

#: Measures independent of the weights that the tables of asvit may have as columns.
COUNTS = ("params", "macs", "depth", "width", "expansions")


def load_reference(
    name_or_path: str | Path | ReferenceTable, *, check: bool = True
) -> ReferenceTable:
    """Read a reference table: one of :data:`REFERENCES`, or your own CSV file.

    The tables that come with asvit were checked when they were built.

    Args:
        name_or_path: Name of a table, or path of a CSV file as described in docs/reference.md; a
            table is returned as it is.
        check: Whether to build every row of your own file on the meta device, 0.02 to 0.1 s each,
            and count its parameters, before anything is measured; As-ViTs are counted by formulas.

    Raises:
        FileNotFoundError: If it is neither a table nor a file.
        ValueError: If the file is not such a table; one line that names the file, the line, the
            value and what would be right.
    """
    if isinstance(name_or_path, ReferenceTable):
        return name_or_path
    text = str(name_or_path)
    if text in REFERENCES:
        file = Path(__file__).parent / f"{text.replace('-', '_')}.csv"
        return read_reference(file, name=text, shipped=True)
    path = expanded(text)
    if not path.exists():
        raise FileNotFoundError(
            f"no reference table or CSV file {shown(text)}; {hint(text, REFERENCES)}"
        )
    table = read_reference(path, name=legible(path.stem))
    return _counted(table, range(len(table))) if check else table


def read_reference(path: Path, *, name: str, shipped: bool = False) -> ReferenceTable:
    """Read the table in a file; those of asvit (``shipped``) have canonical texts."""
    if not path.is_file():
        raise ValueError(f"{path} is a folder or a device; name a CSV file")
    sheet = read_sheet(path)
    if "architecture" not in sheet.columns:
        raise ValueError(
            f"{sheet.path} has no column 'architecture', only {listed(sheet.columns)}; "
            "docs/reference.md lists the columns of a table"
        )
    # Report an invalid row before reporting that there are too few.
    texts = sheet.read("architecture", str if shipped else _canonical)
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        sheet.read_row(row, _check_new, text, first)
        first[text] = sheet.lines[row]
    targets = _targets(sheet) if texts else ()
    accuracies = {target.name: _accuracies(sheet, target.name) for target in targets}
    for column, values in accuracies.items():
        if (there := sum(map(math.isfinite, values))) < LEAST_ROWS:
            raise ValueError(
                f"{path} has {there} row(s) with a value of {shown(column)}; "
                f"a ranking needs at least {LEAST_ROWS}"
            )
    seeds = [n for n in sheet.columns if n not in accuracies and seed_of(n) in accuracies]
    if len(texts) < LEAST_ROWS:
        raise ValueError(f"{path} has {len(texts)} row(s); a ranking needs at least {LEAST_ROWS}")
    side = _number_above(sheet, "image_size", DEFAULT_IMAGE_SIZE)
    sides = _wholes(sheet, "image_size", "pixels, as 224", most=_MOST)
    exact = "the exact count, or give the column another name"
    return ReferenceTable(
        name=name,
        path=path,
        digest=sheet.digest,
        provenance=sheet.provenance,
        num_classes=_number_above(sheet, "num_classes", 1000),
        in_chans=_number_above(sheet, "in_chans", 3),
        architectures=texts,
        image_sizes=sides or (side,) * len(texts),
        params=_wholes(sheet, "params", exact),
        macs=_wholes(sheet, "macs", exact),
        targets={target.name: target for target in targets},
        accuracies={**accuracies, **{name: _accuracies(sheet, name) for name in seeds}},
        default_target=_default_target(sheet, [target.name for target in targets]),
        counts={
            name: sheet.read(name, lambda cell: float(cell or "nan"))
            for name in COUNTS
            if shipped and name in sheet.columns
        },
    )


def _check_new(text: str, first: dict[str, int]) -> None:
    if text in first:
        raise ValueError(
            f"architecture {one_line(text)} is that of line {first[text]} again; keep one"
        )


def check_rows(table: ReferenceTable, rows: Sequence[int]) -> None:
    """Build the networks of some rows of a table, unless it comes with asvit.

    Raises:
        ValueError: For the first that cannot be built.
    """
    if not table.shipped:
        _counted(table, rows)


def _canonical(text: str) -> str:
    """The canonical text of an architecture; names of timm models need no ``timm:``."""
    from asvit.spaces import SPACES
    from asvit.spaces.architectures import canonical
    from asvit.spaces.timm_models import PREFIX

    if not text:
        raise ValueError("no architecture; write a text that asvit.build takes")
    # Other texts have bars or the prefix of a space; the rest are names of timm models.
    prefixes = (PREFIX, *filter(None, (space.prefix for space in SPACES.values())))
    return canonical(text if "|" in text or text.startswith(prefixes) else PREFIX + text)


def _number_above(sheet: Sheet, key: str, default: int) -> int:
    """The number of ``key`` in the lines above the header."""
    text = sheet.provenance.get(key, str(default))
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise ValueError(
            f"{sheet.path}: {key} {shown(text)} is no whole number; write '# {key}: 100'"
        )
    return int(text)


def _wholes(
    sheet: Sheet, name: str, example: str, *, most: float = math.inf
) -> tuple[int, ...] | None:
    """A column whose cells must hold whole numbers above 0; None if there is no such column."""

    def read(text: str) -> int:
        value = _as_number(text)
        if value is None or not value.is_integer() or not 1 <= value <= most:
            raise ValueError(f"{name} {shown(text)} is no whole number above 0; write {example}")
        # Not through float, which is exact only up to 2**53.
        return int(text) if text.isdecimal() else int(value)

    return sheet.read(name, read) if name in sheet.columns else None


def _counted(table: ReferenceTable, rows: Sequence[int]) -> ReferenceTable:
    """The table with the parameters of its networks, if ``rows`` are all; these are built."""
    sheet = read_sheet(table.path)
    counts = tuple(sheet.read_row(row, _count, table, row) for row in rows)
    return replace(table, params=counts) if len(counts) == len(table) else table


def _count(table: ReferenceTable, row: int) -> int:
    """The parameters of the network of a row, which is built unless a formula has them."""
    from asvit.architectures.genotype import Genotype
    from asvit.spaces.architectures import build_on_meta, cost, parse
    from proxies.evaluation import FAILURES

    text, side = table.architectures[row], table.image_sizes[row]
    classes, in_chans = table.num_classes, table.in_chans
    try:
        architecture = parse(text)
        if type(architecture) is Genotype:  # whose formulas refuse what cannot be built
            count = cost(architecture, side, classes, in_chans=in_chans).params
        else:
            sizes = {"image_size": side, "num_classes": classes, "in_chans": in_chans}
            network = build_on_meta(architecture, **sizes)
            count = sum(parameter.numel() for parameter in network.parameters())
    except FAILURES as error:
        problem = f"{one_line(text)} cannot be built for {side} px"
        raise ValueError(f"{problem}: {first_line(error)}") from error
    if table.params is not None and (expected := table.params[row]) != count:
        raise ValueError(
            f"params is {expected}, but the network with {classes} classes has {count}; correct "
            "it, or give the classes in a line '# num_classes: N'"
        )
    return count


_ACCURACY = re.compile(r"(.*_)?(acc|accuracy|top1|top_1|top5|top_5)(_.*)?")
#: Of names that have such a word as well: errors, or what is said of accuracies.
_NO_ACCURACY = re.compile(
    r"(.*_)?(err|errors?|loss(es)?)(_.*)?|.*_(std|spread|seed|rank|diff|drop|gap|epochs?)"
)
_NO_VALUE = ("", "nan", "na", "n/a", "-")


def _targets(sheet: Sheet) -> tuple[Target, ...]:
    """The targets that the file declares, or else its columns that are named like accuracies.

    Of the latter, those of single training seeds with too few rows to be ranked are none.
    """
    for target in sheet.targets:
        if target.name not in sheet.columns:
            raise ValueError(
                f"{sheet.path} has no column {shown(target.name)}, which it names as a target; "
                f"{hint(target.name, sheet.columns)}"
            )
    if sheet.targets:
        return sheet.targets
    names = [
        name
        for name in sheet.columns
        if _ACCURACY.fullmatch(name.lower()) and not _NO_ACCURACY.fullmatch(name.lower())
    ]
    if not names:
        raise ValueError(
            f"{sheet.path} has no column of accuracies, only {listed(sheet.columns)}; "
            "call one accuracy, or name it in a line '# target: NAME | description | unknown'"
        )

    def few(name: str) -> bool:
        known = sum(cell.lower() not in _NO_VALUE for cell in sheet.columns[name])
        return seed_of(name) in names and known < LEAST_ROWS

    return tuple(Target(name, name, "unknown") for name in names if not few(name))


def _default_target(sheet: Sheet, names: Sequence[str]) -> str:
    """The default target that the file declares, or else its first one."""
    default = sheet.provenance.get("default_target", names[0])
    if default not in names:
        raise ValueError(
            f"{sheet.path} names {shown(default)} as its default target; {hint(default, names)}"
        )
    return default


def _accuracies(sheet: Sheet, name: str) -> tuple[float, ...]:
    """The accuracies of a column in per cent, NaN where a cell is empty.

    If no value of a column is above 1, the values are taken as fractions and multiplied by 100,
    with a warning, unless the file says that its accuracies are per cent.
    """
    values = sheet.read(name, partial(_accuracy, name))
    largest = max((value for value in values if not math.isnan(value)), default=math.inf)
    if largest > 1 or "per cent" in sheet.provenance.get("accuracies", ""):
        return values
    message = "%s: all of %s are at most 1, and so are taken as fractions, times 100"
    _LOG.warning(message, sheet.path, shown(name))
    return tuple(100 * value for value in values)


def _accuracy(name: str, text: str) -> float:
    value = _as_number(text)
    if value is None or (not math.isnan(value) and not 0 <= value <= 100):
        problem = f"{one_line(name)} {shown(text)} is no accuracy"
        raise ValueError(f"{problem}; write a number from 0 to 100 (per cent), or nothing")
    return value


def _as_number(text: str) -> float | None:
    """The number in a cell: NaN for an empty one, None for other text."""
    if text.lower() in _NO_VALUE:
        return math.nan
    try:
        return None if "_" in text else float(text)  # float() accepts underscores
    except ValueError:
        return None
