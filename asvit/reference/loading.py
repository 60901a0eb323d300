"""Loads reference tables by name or from files, with canonical texts and checked rows."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from asvit.core.files import expanded
from asvit.reference.schema import Row, Sheet, read_sheet
from asvit.reference.table import LEAST_ROWS, ReferenceTable, Target, seed_of
from proxies.messages import first_line, hint
from proxies.registry import Registry
from proxies.text import legible, listed, one_line, shown

_LOG = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 224
DEFAULT_CLASSES = 1000
_BELOW = 10**6  # pixels of a side, and classes; more is a typo or an attack on memory
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
        "asvit-sizes": "100 As-ViT of several depths and widths on 40 classes, two seeds each",
    },
)

#: Measures independent of the weights that the tables of asvit may have as columns.
COUNTS = ("params", "macs", "depth", "width", "expansions")

#: Selects rows of a table whose architecture texts are not parsed yet.
Use = Callable[[ReferenceTable], Sequence[int]]


def load_reference(
    name_or_path: str | Path | ReferenceTable, *, check: bool = True, use: Use | None = None
) -> ReferenceTable:
    """Read a reference table: one of :data:`REFERENCES`, or your own CSV file.

    Every row of your own file is built on the meta device, 0.02 to 0.1 s each, to report
    architectures that cannot be built before anything is measured; As-ViTs are counted by
    formulas. The tables that come with asvit were checked when they were built.

    Args:
        name_or_path: Name of a table, or path of a CSV file as described in docs/reference.md; a
            table is returned as it is.
        check: Whether to build the rows of your own file.
        use: Selects the rows of your own file to use. The architectures of others are neither
            parsed nor built: their texts stay as in the file, and their parameters are known only
            if it has them.

    Raises:
        FileNotFoundError: If it is neither a table nor a file.
        ValueError: If the file is not such a table; one line that names the file, the line, the
            value and what would be right.
    """
    if isinstance(name_or_path, ReferenceTable):
        return name_or_path
    if str(name_or_path) in REFERENCES:
        name = str(name_or_path)
        file = Path(__file__).parent / f"{name.replace('-', '_')}.csv"
        return read_reference(file, name=name, shipped=True, check=False)
    text = str(name_or_path)
    path = expanded(text)
    if not path.exists():
        raise FileNotFoundError(
            f"no reference table or CSV file {shown(text)}; {hint(text, REFERENCES)}"
        )
    return read_reference(path, name=legible(path.stem), shipped=False, check=check, use=use)


def read_reference(
    path: Path, *, name: str, shipped: bool, check: bool, use: Use | None = None
) -> ReferenceTable:
    """Read the table in a file; those of asvit (``shipped``) have canonical texts.

    With ``check``, every row to ``use`` is built on the meta device, and its parameters counted.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a CSV file")
    sheet = read_sheet(path)
    if "architecture" not in sheet.columns:
        raise ValueError(
            f"{sheet.path} has no column 'architecture', only {listed(sheet.columns)}; "
            "docs/reference.md lists the columns of a table"
        )
    # Report an invalid row before reporting that there are too few.
    plain = shipped or use is not None
    texts = tuple(_text(row, plain=plain) for row in sheet.rows)
    _check_distinct(sheet, texts)
    targets = _targets(sheet) if sheet.rows else ()
    accuracies = {target.name: _target_accuracies(sheet, target.name) for target in targets}
    accuracies |= {name: _accuracies(sheet, name) for name in _other_seeds(sheet, targets)}
    if len(sheet.rows) < LEAST_ROWS:
        raise ValueError(
            f"{path} has {len(sheet.rows)} row(s); a ranking needs at least {LEAST_ROWS}"
        )
    table = ReferenceTable(
        name=name,
        path=path,
        digest=sheet.digest,
        provenance=sheet.provenance,
        num_classes=_number_above(sheet, "num_classes", DEFAULT_CLASSES),
        in_chans=_number_above(sheet, "in_chans", 3),
        architectures=texts,
        image_sizes=_image_sizes(sheet),
        params=_wholes(sheet, "params", "the exact count, or give the column another name"),
        macs=_wholes(sheet, "macs", "the exact count"),
        targets={target.name: target for target in targets},
        accuracies=accuracies,
        default_target=_default_target(sheet, targets),
        counts=_counts(sheet) if shipped else {},
    )
    places: Sequence[int] = range(len(texts))
    if use is not None:
        places = use(table)
        selected = {place: _text(sheet.rows[place], plain=False) for place in places}
        texts = tuple(selected.get(place, text) for place, text in enumerate(texts))
        _check_distinct(sheet, texts)
        table = replace(table, architectures=texts)
    if check:
        counts = _counted(sheet, places, table)
        if len(places) == len(table):
            table = replace(table, params=counts)
    return table


def check_rows(table: ReferenceTable, places: Sequence[int]) -> None:
    """Build the networks of some rows of a table, unless it comes with asvit.

    Raises:
        ValueError: For the first that cannot be built.
    """
    if not table.shipped:
        _counted(read_sheet(table.path), places, table)


def _check_distinct(sheet: Sheet, texts: Sequence[str]) -> None:
    first: dict[str, Row] = {}
    for row, text in zip(sheet.rows, texts, strict=True):
        if first.setdefault(text, row) is not row:
            problem = f"architecture {one_line(text)} is that of line {first[text].line} again"
            raise row.fault(f"{problem}; keep one")


def _text(row: Row, *, plain: bool) -> str:
    """The architecture text of a row, canonical unless ``plain``.

    Names of timm models need no ``timm:``.
    """
    text = row.cells["architecture"]
    if plain:
        return text
    try:
        from asvit.spaces import SPACES
        from asvit.spaces.architectures import canonical
        from asvit.spaces.timm_models import PREFIX

        if not text:
            raise ValueError("no architecture; write a text that asvit.build takes")
        # Other texts have bars or the prefix of a space; the rest are names of timm models.
        prefixes = (PREFIX, *filter(None, (space.prefix for space in SPACES.values())))
        known = "|" in text or text.startswith(prefixes)
        return canonical(text if known else PREFIX + text)
    except ValueError as error:
        raise row.fault(first_line(error)) from error


def _image_sizes(sheet: Sheet) -> tuple[int, ...]:
    side = _number_above(sheet, "image_size", DEFAULT_IMAGE_SIZE)
    sides = _wholes(sheet, "image_size", "pixels, as 224", below=_BELOW)
    return (side,) * len(sheet.rows) if sides is None else sides


def _number_above(sheet: Sheet, key: str, default: int) -> int:
    """The number of ``key`` in the lines above the header."""
    text = sheet.provenance.get(key)
    if text is None:
        return default
    # int() rejects thousands of digits with an error that names no file.
    if not text.isdecimal() or len(text) > 20 or not 0 < int(text) < _BELOW:
        raise ValueError(
            f"{sheet.path}: {key} {shown(text)} is no whole number; write '# {key}: 100'"
        )
    return int(text)


def _wholes(
    sheet: Sheet, name: str, example: str, *, below: float = math.inf
) -> tuple[int, ...] | None:
    """A column whose cells must hold whole numbers above 0; None if there is no such column."""

    def read(row: Row) -> int:
        text = row.cells[name]
        value = _as_number(text)
        if value is None or not value.is_integer() or not 1 <= value < below:
            problem = f"{one_line(name)} {shown(text)} is no whole number above 0"
            raise row.fault(f"{problem}; write {example}")
        # Not through float, which is exact only up to 2**53.
        return int(text) if text.isdecimal() else int(value)

    return tuple(map(read, sheet.rows)) if name in sheet.columns else None


def _counts(sheet: Sheet) -> dict[str, tuple[float, ...]]:
    """The columns of counts in a table of asvit."""
    return {
        name: tuple(float(row.cells[name] or "nan") for row in sheet.rows)
        for name in COUNTS
        if name in sheet.columns
    }


def _counted(sheet: Sheet, places: Sequence[int], table: ReferenceTable) -> tuple[int, ...]:
    """The parameters of the networks of the rows at ``places``, all of which can be built."""
    from asvit.architectures.genotype import Genotype
    from asvit.spaces.architectures import build_on_meta, cost, parse

    classes, in_chans = table.num_classes, table.in_chans
    counts: list[int] = []
    for place in places:
        row, text, side = sheet.rows[place], table.architectures[place], table.image_sizes[place]
        try:
            architecture = parse(text)
            if type(architecture) is Genotype:  # whose formulas refuse what cannot be built
                count = cost(architecture, side, classes, in_chans=in_chans).params
            else:
                network = build_on_meta(
                    architecture, image_size=side, num_classes=classes, in_chans=in_chans
                )
                count = sum(parameter.numel() for parameter in network.parameters())
        except _FAILURES as error:
            problem = f"{one_line(text)} cannot be built for {side} px"
            raise row.fault(f"{problem}: {first_line(error)}") from error
        if table.params is not None and (expected := table.params[place]) != count:
            problem = f"params is {expected}, but the network with {classes} classes has"
            advice = "correct it, or give the classes in a line '# num_classes: N'"
            raise row.fault(f"{problem} {count}; {advice}")
        counts.append(count)
    return tuple(counts)


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
    few = {name for name in names if seed_of(name) in names and _known(sheet, name) < LEAST_ROWS}
    return tuple(Target(name, name, "unknown") for name in names if name not in few)


def _known(sheet: Sheet, name: str) -> int:
    """Cells of a column that have a value."""
    return sum(row.cells[name].lower() not in _NO_VALUE for row in sheet.rows)


def _default_target(sheet: Sheet, targets: Sequence[Target]) -> str:
    """The default target that the file declares, or else its first one."""
    names = [target.name for target in targets]
    default = sheet.provenance.get("default_target", names[0])
    if default not in names:
        raise ValueError(
            f"{sheet.path} names {shown(default)} as its default target; {hint(default, names)}"
        )
    return default


def _target_accuracies(sheet: Sheet, name: str) -> tuple[float, ...]:
    """The accuracies of the column of a target: see :func:`_accuracies`."""
    values = _accuracies(sheet, name)
    there = sum(map(math.isfinite, values))
    if there < LEAST_ROWS:
        raise ValueError(
            f"{sheet.path} has {there} row(s) with a value of {shown(name)}; "
            f"a ranking needs at least {LEAST_ROWS}"
        )
    return values


def _other_seeds(sheet: Sheet, targets: Sequence[Target]) -> list[str]:
    """Columns of single training seeds of a target, of too few rows to be targets themselves."""
    names = {target.name for target in targets}
    return [name for name in sheet.columns if name not in names and seed_of(name) in names]


def _accuracies(sheet: Sheet, name: str) -> tuple[float, ...]:
    """The accuracies of a column in per cent, NaN where a cell is empty.

    If no value of a column is above 1, the values are taken as fractions and multiplied by 100,
    with a warning, unless the file says that its accuracies are per cent.
    """

    def read(row: Row) -> float:
        text = row.cells[name]
        value = _as_number(text)
        if value is None or (not math.isnan(value) and not 0 <= value <= 100):
            problem = f"{one_line(name)} {shown(text)} is no accuracy"
            raise row.fault(f"{problem}; write a number from 0 to 100 (per cent), or nothing")
        return value

    values = tuple(map(read, sheet.rows))
    largest = max((value for value in values if not math.isnan(value)), default=math.inf)
    if largest > 1 or "per cent" in sheet.provenance.get("accuracies", ""):
        return values
    _LOG.warning(
        "%s: all of %s are at most 1, and so are taken as fractions, times 100",
        sheet.path,
        shown(name),
    )
    return tuple(100 * value for value in values)


def _as_number(text: str) -> float | None:
    """The number in a cell: NaN for an empty one, None for other text."""
    if text.lower() in _NO_VALUE:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    # float() accepts underscores; tables do not.
    return None if "_" in text else value
