"""Loads reference tables by name or from files, with canonical texts and checked rows."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asvit.core.files import expanded
from asvit.reference.schema import Row, Sheet, read_sheet
from asvit.reference.table import LEAST_ROWS, ReferenceTable, Target, Training
from proxies.messages import first_line, hint, legible, listed, one_line, shown
from proxies.registry import Registry

_LOG = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 224
_BELOW = 10**6  # pixels of a side, and classes; more is a typo or an attack on memory
# Rounded counts of other sources may have other heads; warn about larger relative differences.
_CLOSE = 0.01
# What building a network for an unsuitable image size may raise.
_FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError),
    *(LookupError, RuntimeError, TypeError, ValueError),
)

Cells = Mapping[str, str]

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

    Every row of your own file is built on the meta device, about 0.1 s each, to report
    architectures that cannot be built before anything is measured. The tables that come with
    asvit were checked when they were built.

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
    layout, sheet = find_layout(read_sheet(path))
    # Report an invalid row before reporting that there are too few.
    plain = shipped or use is not None
    texts = tuple(_text(layout, row, plain=plain) for row in sheet.rows)
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
    table = ReferenceTable(
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
        counts=_counts(sheet) if shipped else {},
    )
    places: Sequence[int] = range(len(texts))
    if use is not None:
        places = use(table)
        selected = {place: _text(layout, sheet.rows[place], plain=False) for place in places}
        texts = tuple(selected.get(place, text) for place, text in enumerate(texts))
        _check_distinct(sheet, texts)
    if check:
        counts = _counted(sheet, places, texts, sides, params, num_classes)
        params = counts if len(places) == len(texts) else params
    return replace(table, architectures=texts, params=params)


def _check_distinct(sheet: Sheet, texts: Sequence[str]) -> None:
    first: dict[str, Row] = {}
    for row, text in zip(sheet.rows, texts, strict=True):
        if first.setdefault(text, row) is not row:
            problem = f"architecture {one_line(text)} is that of line {first[text].line} again"
            raise row.fault(f"{problem}; keep one")


def _text(layout: Layout, row: Row, *, plain: bool) -> str:
    """The architecture text of a row, canonical unless ``plain``.

    Names of timm models need no ``timm:``.
    """
    try:
        text = layout.text(row.cells)
        if plain:
            return text
        from asvit.spaces.architectures import canonical, is_fixed
        from asvit.spaces.families import PREFIX

        if not text:
            raise ValueError("no architecture; write a text that asvit.build takes")
        # Architecture texts have bars; everything else is the name of a timm model.
        return canonical(text if "|" in text or is_fixed(text) else PREFIX + text)
    except ValueError as error:
        raise row.fault(first_line(error)) from error


def _image_sizes(sheet: Sheet) -> tuple[int, ...]:
    column = next((name for name in ("image_size", "img_size") if name in sheet.columns), None)
    if column is None:
        return (_number_above(sheet, "image_size", DEFAULT_IMAGE_SIZE),) * len(sheet.rows)
    return _wholes(sheet, column, "pixels, as 224", below=_BELOW) or ()


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
        value = as_number(text)
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


def _counted(
    sheet: Sheet,
    places: Sequence[int],
    texts: Sequence[str],
    sides: Sequence[int],
    expected: Sequence[int] | None,
    num_classes: int,
) -> tuple[int, ...]:
    """The parameters of the networks of the rows at ``places``, all of which are built.

    Wrong exact counts are refused; the first wrong rounded count is logged as a warning.
    """
    from asvit.spaces.architectures import build_on_meta

    counts, warned = [], "params_M" not in sheet.columns
    for place in places:
        row, text, side = sheet.rows[place], texts[place], sides[place]
        try:
            network = build_on_meta(text, image_size=side, num_classes=num_classes)
        except _FAILURES as error:
            problem = f"{one_line(text)} cannot be built for {side} px"
            raise row.fault(f"{problem}: {first_line(error)}") from error
        count = sum(parameter.numel() for parameter in network.parameters())
        if expected is not None and expected[place] != count:
            problem = (
                f"params is {expected[place]}, but the network with {num_classes} classes has"
            )
            advice = "correct it, or give the classes in a line '# num_classes: N'"
            raise row.fault(f"{problem} {count}; {advice}")
        millions = None if warned else as_number(row.cells["params_M"])
        if millions is not None and abs(millions * 1e6 - count) > _CLOSE * count:
            warned = True
            _LOG.warning(
                "%s, line %d: params_M is %s, but the network with %d classes has %.4f; "
                "the latter is used",
                *(sheet.path, row.line, one_line(row.cells["params_M"])),
                *(num_classes, count / 1e6),
            )
        counts.append(count)
    return tuple(counts)


@dataclass(frozen=True)
class Layout:
    """A way to name architectures: the columns of such a table, and how to read them."""

    columns: tuple[str, ...]
    text: Callable[[Cells], str]
    num_classes: int = 1000  # unless the file says otherwise


def _pit(cells: Cells) -> str:
    depths, heads = _entries(cells["depth"]), _entries(cells["num_heads"])
    return f"pit:{cells['base_dim']},{cells['mlp_ratio']}|{','.join(depths)}|{','.join(heads)}"


def _autoformer(cells: Cells) -> str:
    heads, ratios = _entries(cells["num_heads"]), _entries(cells["mlp_ratio"])
    if cells["depth"] != str(len(heads)):
        raise ValueError(
            f"depth {shown(cells['depth'])} with num_heads for {len(heads)} blocks; "
            "give a number of heads and a ratio for every block"
        )
    return f"autoformer:{cells['hidden_dim']}|{','.join(heads)}|{','.join(ratios)}"


def _entries(cell: str) -> list[str]:
    """The entries of a list in one cell, ``2 8 4`` or ``[2, 8, 4]``."""
    return [entry for entry in re.split(r"[\s,;]+", cell.strip("[]()")) if entry]


#: Tried in this order.
LAYOUTS = (
    Layout(("architecture",), lambda cells: cells["architecture"]),
    Layout(("base_dim", "mlp_ratio", "depth", "num_heads"), _pit, num_classes=100),
    Layout(("hidden_dim", "mlp_ratio", "depth", "num_heads"), _autoformer, num_classes=100),
    Layout(("arch",), lambda cells: cells["arch"]),
    Layout(("model",), lambda cells: cells["model"]),
)


def find_layout(sheet: Sheet) -> tuple[Layout, Sheet]:
    """The layout of a sheet, and the sheet without the rows to ignore.

    A column ``primary`` selects the rows in which it is true. If several rows share an ``arch``,
    as weights of different recipes do, the column ``model``, if any, names the architecture.
    """
    columns = set(sheet.columns)
    layout = next((layout for layout in LAYOUTS if columns.issuperset(layout.columns)), None)
    if layout is None:
        raise ValueError(
            f"{sheet.path} has no column 'architecture', only {listed(sheet.columns)}; "
            "docs/reference.md lists the columns of a table"
        )
    if layout.columns == ("architecture",):
        return layout, sheet
    if "primary" in sheet.columns:
        sheet = replace(sheet, rows=tuple(filter(_is_primary, sheet.rows)))
    if layout.columns == ("arch",) and "model" in sheet.columns:
        most = Counter(row.cells["arch"] for row in sheet.rows).most_common(1)
        if most and most[0][1] > 1:
            layout = LAYOUTS[-1]
    return layout, sheet


def _is_primary(row: Row) -> bool:
    text = row.cells["primary"].lower()
    if text not in ("true", "1", "yes", "false", "0", "no", ""):
        raise row.fault(f"primary {shown(row.cells['primary'])} is neither True nor False")
    return text in ("true", "1", "yes")


#: Columns that are never accuracies, in lower case.
_OTHERS = frozenset(
    {
        *("architecture", "arch", "model", "name", "tag", "module", "kind", "space", "dataset"),
        *("source", "date", "note", "notes", "idx", "index", "id", "number", "row", "primary"),
        *("image_size", "img_size", "resolution", "eval224_256", "seed", "seeds", "epochs"),
        *("params", "params_m", "macs", "macs_m", "gmacs", "flops", "flops_g", "gflops"),
        *("base_dim", "hidden_dim", "mlp_ratio", "depth", "depths", "num_heads", "heads", "width"),
        "expansions",
    }
)
_OTHER_ENDS = ("_std", "_spread", "_seed")
_ACCURACY = re.compile(r"(.*_)?(acc|accuracy|top1|top_1|top5|top_5)(_.*)?")
_NO_VALUE = ("", "nan", "na", "n/a", "-")


def find_targets(sheet: Sheet) -> tuple[Target, ...]:
    """The targets that the file declares, or else guesses from its columns.

    Without ``# target`` lines, a column is a target if its name is not reserved and it
    either is named like an accuracy (``accuracy``, ``acc``, ``top1``, ``..._acc``) or holds
    numbers from 0 to 100 in at least half of its cells.
    """
    for target in sheet.targets:
        if target.name not in sheet.columns:
            raise ValueError(
                f"{sheet.path} has no column {shown(target.name)}, which it names as a target; "
                f"{hint(target.name, sheet.columns)}"
            )
    if sheet.targets:
        return sheet.targets
    names = [name for name in sheet.columns if _is_accuracy(sheet, name)]
    if not names:
        raise ValueError(
            f"{sheet.path} has no column of accuracies, only {listed(sheet.columns)}; "
            "call one accuracy, or name it in a line '# target: NAME | description | unknown'"
        )
    return tuple(Target(name, name, training_of(name)) for name in names)


def find_default(sheet: Sheet, targets: Sequence[Target]) -> str:
    """The default target that the file declares, or else the most likely target.

    That is the first target named like an accuracy that is not known to be distilled or
    inherited; if there is none, the first target.
    """
    names = [target.name for target in targets]
    default = sheet.provenance.get("default_target")
    if default is None:
        plain = [t.name for t in targets if t.training in ("scratch", "unknown")]
        return next((name for name in plain if _ACCURACY.fullmatch(name.lower())), names[0])
    if default not in names:
        raise ValueError(
            f"{sheet.path} names {shown(default)} as its default target; {hint(default, names)}"
        )
    return default


def training_of(name: str) -> Training:
    """How the networks were trained, guessed from the name of the column."""
    words = set(name.lower().split("_"))
    if words & {"kd", "distilled", "distill"}:
        return "distilled"
    if words & {"super", "supernet", "inherited"}:
        return "inherited"
    return "scratch" if words & {"base", "scratch"} else "unknown"


def read_accuracies(sheet: Sheet, target: Target) -> tuple[float, ...]:
    """The accuracies of a column in per cent, NaN where a cell is empty.

    If no value of a column is above 1, the values are taken as fractions and multiplied by 100,
    with a warning, unless the file says that its accuracies are per cent.
    """

    def read(row: Row) -> float:
        text = row.cells[target.name]
        value = as_number(text)
        if value is None or (not math.isnan(value) and not 0 <= value <= 100):
            problem = f"{one_line(target.name)} {shown(text)} is no accuracy"
            raise row.fault(f"{problem}; write a number from 0 to 100 (per cent), or nothing")
        return value

    values = tuple(map(read, sheet.rows))
    numbers = [value for value in values if not math.isnan(value)]
    if len(numbers) < LEAST_ROWS:
        raise ValueError(
            f"{sheet.path} has {len(numbers)} row(s) with a value of {shown(target.name)}; "
            f"a ranking needs at least {LEAST_ROWS}"
        )
    if max(numbers) > 1 or "per cent" in sheet.provenance.get("accuracies", ""):
        return values
    _LOG.warning(
        "%s: all of %s are at most 1, and so are taken as fractions, times 100",
        sheet.path,
        shown(target.name),
    )
    return tuple(100 * value for value in values)


def as_number(text: str) -> float | None:
    """The number in a cell: NaN for an empty one, None for other text."""
    if text.lower() in _NO_VALUE:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    # float() accepts underscores; tables do not.
    return None if "_" in text else value


def _is_accuracy(sheet: Sheet, name: str) -> bool:
    lower = name.lower()
    if lower in _OTHERS or lower.endswith(_OTHER_ENDS):
        return False
    if _ACCURACY.fullmatch(lower):
        return True
    filled = [text for row in sheet.rows if (text := row.cells[name]).lower() not in _NO_VALUE]
    fitting = [n for text in filled if (n := as_number(text)) is not None and 0 <= n <= 100]
    return bool(fitting) and 2 * len(fitting) >= len(filled)
