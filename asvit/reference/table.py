"""Reference tables: architectures and their accuracies after training, read from CSV files.

``# key: value`` lines come first, then a header, then one row per architecture. docs/reference.md
describes the keys and columns.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from asvit.core.files import expanded
from asvit.core.tables import csv_text, read_cells
from proxies.messages import first_line, hint
from proxies.registry import Registry
from proxies.text import legible, listed, one_line, shown

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
Cell = str | float | None
Training = Literal["scratch", "distilled", "inherited", "unknown"]

#: Fewer rows than this cannot be ranked meaningfully.
LEAST_ROWS = 5
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

_KEYED = re.compile(r"#\s*([a-z][a-z0-9_]*)\s*:\s*(.*)")
_SEED = re.compile(r"(.+)_seed\d+")
_ACCURACY = re.compile(r"(?!.*(err|loss))(.*_)?(acc|accuracy|top_?[15])")
_TARGET_FORM = "'# target: NAME | description | scratch, distilled, inherited or unknown'"
_CEILING_FORM = "'# noise_ceiling: NAME | TAU', TAU from -1 to 1"


def seed_of(column: str) -> str:
    """The target that a column has a single training seed of; empty where it has none."""
    match = _SEED.fullmatch(column)
    return match[1] if match else ""


@dataclass(frozen=True)
class Target:
    """One column of accuracies."""

    name: str  # its column
    description: str  # what was trained on what, and tested on what
    training: Training  # do not compare columns of different kinds
    # Kendall's tau between two training seeds, if known: how well one training ranks another. A
    # measure can rank means over seeds somewhat better.
    noise_ceiling: float | None = None


@dataclass(frozen=True)
class ReferenceTable:
    """Architectures and their accuracies, one column of accuracies per target."""

    name: str
    path: Path  # the file that it was read from
    digest: str  # SHA-256 of the file, in hexadecimal digits
    provenance: Mapping[str, str]  # of the file: its source, licence, recipe and so on
    num_classes: int  # of the heads that ``params`` counts
    architectures: tuple[str, ...]  # distinct canonical texts that :func:`asvit.build` takes
    image_sizes: tuple[int, ...]  # side in pixels of the images that each row was trained on
    params: tuple[int, ...] | None  # exact; None if the file has none and they were not counted
    macs: tuple[int, ...] | None  # multiply-adds for such an image; None if the file has none
    targets: Mapping[str, Target]  # by name
    # Target, or training seed of one (``NAME_seed0``) -> per cent of each row, or NaN.
    accuracies: Mapping[str, tuple[float, ...]]
    default_target: str
    # Count -> its value of each row at that size with these classes, or NaN, of tables that come
    # with asvit: others may have been counted by other rules.
    counts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    in_chans: int = 3  # channels of the images that the rows were trained on

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def shipped(self) -> bool:
        """Whether it comes with asvit; files of others may have the same names."""
        return self.path.parent == Path(__file__).parent

    def target(self, name: str | None = None) -> Target:
        """The target of that name, or the default one; ValueError if there is none."""
        key = self.default_target if name is None else name
        if key not in self.targets:
            raise ValueError(
                f"reference {self.name} has no target {shown(key)}; {hint(key, self.targets)}"
            )
        return self.targets[key]

    def build(self, row: int, image_size: int | None = None) -> nn.Module:
        """The freshly initialised network of a row, from 0, with the table's number of classes.

        Args:
            row: Its index, from 0.
            image_size: Side of the images in pixels; the row's own by default.
        """
        from asvit.spaces import build

        side = self.image_sizes[row] if image_size is None else image_size
        return build(self.architectures[row], side, self.num_classes, in_chans=self.in_chans)


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
    return replace(table, params=check_rows(table, range(len(table)))) if check else table


def check_rows(table: ReferenceTable, rows: Sequence[int]) -> tuple[int, ...]:
    """The parameters of the networks of some rows, which are built unless formulas have them."""
    from asvit.architectures.genotype import Genotype
    from asvit.spaces.architectures import build_on_meta, cost, parse
    from proxies.evaluation import FAILURES

    classes, in_chans = table.num_classes, table.in_chans

    def params(row: int) -> int:
        text, side = table.architectures[row], table.image_sizes[row]
        try:
            architecture = parse(text)
            if type(architecture) is Genotype:  # whose formulas refuse what cannot be built
                return cost(architecture, side, classes, in_chans=in_chans).params
            sizes = {"image_size": side, "num_classes": classes, "in_chans": in_chans}
            network = build_on_meta(architecture, **sizes)
            return sum(parameter.numel() for parameter in network.parameters())
        except FAILURES as error:
            problem = f"{table.path}: {one_line(text)} cannot be built for {side} px"
            raise ValueError(f"{problem}: {first_line(error)}") from error

    counts = tuple(map(params, rows))
    for row, count in zip(rows, counts, strict=True):
        if table.params is not None and table.params[row] != count:
            raise ValueError(
                f"{table.path}: params of {one_line(table.architectures[row])} is "
                f"{table.params[row]}, but the network with {classes} classes has {count}; "
                "correct it, or give the classes in a line '# num_classes: N'"
            )
    return counts


def read_reference(path: Path, *, name: str, shipped: bool = False) -> ReferenceTable:
    """Read the table in a file; those of asvit (``shipped``) have canonical texts."""
    sheet = read_sheet(path)
    if "architecture" not in sheet.columns:
        raise ValueError(
            f"{path} has no column 'architecture', only {listed(sheet.columns)}; "
            "docs/reference.md lists the columns of a table"
        )
    # Report an invalid row before reporting that there are too few.
    texts = sheet.read("architecture", str if shipped else _canonical)
    first: dict[str, int] = {}
    for line, text in zip(sheet.lines, texts, strict=True):
        if (earlier := first.setdefault(text, line)) != line:
            again = f"architecture {one_line(text)} is that of line {earlier} again"
            raise _fault(path, line, f"{again}; keep one")
    targets = sheet.targets or {
        column: Target(column, column, "unknown")
        for column in sheet.columns
        if _ACCURACY.fullmatch(column.lower())
    }
    if not targets:
        raise ValueError(
            f"{path} has no column of accuracies, only {listed(sheet.columns)}; call one "
            "accuracy, or name it in a line '# target: NAME | description | unknown'"
        )
    seeds = [column for column in sheet.columns if seed_of(column) in targets]
    accuracies = {
        column: _accuracies(sheet, column) for column in dict.fromkeys([*targets, *seeds])
    }
    for column in targets:
        if (there := sum(map(math.isfinite, accuracies[column]))) < LEAST_ROWS:
            raise ValueError(
                f"{path} has {there} row(s) with a value of {shown(column)}; "
                f"a ranking needs at least {LEAST_ROWS}"
            )
    default = sheet.provenance.get("default_target", next(iter(targets)))
    if default not in targets:
        raise ValueError(
            f"{path} names {shown(default)} as its default target; {hint(default, targets)}"
        )
    side = _number_above(sheet, "image_size", DEFAULT_IMAGE_SIZE)
    exact = "the exact count, or give the column another name"
    return ReferenceTable(
        name=name,
        path=path,
        digest=sheet.digest,
        provenance=sheet.provenance,
        num_classes=_number_above(sheet, "num_classes", 1000),
        in_chans=_number_above(sheet, "in_chans", 3),
        architectures=texts,
        image_sizes=_wholes(sheet, "image_size", "pixels, as 224") or (side,) * len(texts),
        params=_wholes(sheet, "params", exact),
        macs=_wholes(sheet, "macs", exact),
        targets=targets,
        accuracies=accuracies,
        default_target=default,
        counts={
            name: sheet.read(name, lambda cell: float(cell or "nan"))
            for name in COUNTS
            if shipped and name in sheet.columns
        },
    )


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


def _wholes(sheet: Sheet, name: str, example: str) -> tuple[int, ...] | None:
    """A column whose cells must hold whole numbers above 0; None if there is no such column."""

    def read(text: str) -> int:
        value = _as_number(text)
        if value is None or not value.is_integer() or value < 1:
            raise ValueError(f"{name} {shown(text)} is no whole number above 0; write {example}")
        # Not through float, which is exact only up to 2**53.
        return int(text) if text.isdecimal() else int(value)

    return sheet.read(name, read) if name in sheet.columns else None


def _accuracies(sheet: Sheet, name: str) -> tuple[float, ...]:
    """The accuracies of a column in per cent, NaN where a cell is empty; fractions are refused."""

    def read(text: str) -> float:
        value = _as_number(text)
        if value is None or (not math.isnan(value) and not 0 <= value <= 100):
            problem = f"{one_line(name)} {shown(text)} is no accuracy"
            raise ValueError(f"{problem}; write a number from 0 to 100 (per cent), or nothing")
        return value

    values = sheet.read(name, read)
    largest = max((value for value in values if not math.isnan(value)), default=math.inf)
    if largest > 1 or "per cent" in sheet.provenance.get("accuracies", ""):
        return values
    raise ValueError(
        f"{sheet.path}: all of {shown(name)} are at most 1; write per cent, or if they are, a "
        "line '# accuracies: per cent'"
    )


def _as_number(text: str) -> float | None:
    """The number in a cell: NaN for an empty one, None for other text."""
    try:
        return None if "_" in text else float(text or "nan")  # float() accepts underscores
    except ValueError:
        return None


@dataclass(frozen=True)
class Sheet:
    """The content of a file, before its cells are interpreted."""

    path: Path
    digest: str  # SHA-256 of the file, in hexadecimal digits
    provenance: Mapping[str, str]  # key -> value above the header; other comments: ``notes``
    targets: Mapping[str, Target]  # the declared columns of accuracies by name, in order
    columns: Mapping[str, Sequence[str]]  # cells ``[rows]`` by the name in the header, in order
    lines: Sequence[int]  # the line where each row ends, from 1

    def read(self, column: str, read: Callable[[str], T]) -> tuple[T, ...]:
        """Each cell of a column as ``read`` takes it, whose ValueError gets the line."""
        values = []
        for line, cell in zip(self.lines, self.columns[column], strict=True):
            try:
                values.append(read(cell))
            except ValueError as error:
                raise _fault(self.path, line, first_line(error)) from error
        return tuple(values)


def _fault(path: Path, line: int, problem: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {problem}")


def read_sheet(path: Path) -> Sheet:
    """Read a file of this format."""
    if not path.is_file():
        raise ValueError(f"{path} is a folder or a device; name a CSV file")
    data = path.read_bytes()
    try:
        lines = io.StringIO(data.decode("utf-8-sig"), newline=None).readlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; save it as CSV in UTF-8") from error
    starts = (i for i, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    above = next(starts, len(lines))
    reader = csv.reader(lines[above:], strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        for cells in reader:
            stripped = read_cells(cell.strip() for cell in cells)
            if any(stripped):
                rows.append(stripped)
                numbers.append(above + reader.line_num)
    except csv.Error as error:
        raise _fault(path, above + reader.line_num, f"no CSV: {error}") from error
    if not rows:
        raise ValueError(f"{path} is empty; a table has a header and a row for each architecture")
    names = [legible(name) for name in rows[0]]
    for name in names:
        if name and names.count(name) > 1:
            raise _fault(path, numbers[0], f"column {shown(name)} is there twice; rename one")
    for line, cells in zip(numbers, rows, strict=True):
        if len(cells) != len(names):
            problem = f"{len(cells)} cells under a header of {len(names)}"
            raise _fault(path, line, f"{problem}; quote cells that hold commas")
    # A column without a name is an index, as pandas writes it.
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(names) if name}
    provenance, targets = _read_above(path, lines[:above])
    for name in targets:
        if name not in columns:
            missing = f"{path} has no column {shown(name)}, which it names as a target"
            raise ValueError(f"{missing}; {hint(name, columns)}")
    digest = hashlib.sha256(data).hexdigest()
    return Sheet(path, digest, provenance, targets, columns, numbers[1:])


def _read_above(path: Path, lines: Sequence[str]) -> tuple[dict[str, str], dict[str, Target]]:
    """Provenance and targets, from the lines above the header."""
    provenance: dict[str, str] = {}
    targets: dict[str, Target] = {}
    for number, line in enumerate(lines, 1):
        match = _KEYED.fullmatch(line.strip())
        key, value = match.groups() if match else ("notes", line.strip().lstrip("# "))
        value = legible(value)
        parts: Any = [part.strip() for part in value.split("|")]
        if key == "target":
            if len(parts) != 3 or not parts[0] or parts[2] not in get_args(Training):
                problem = f"target {shown(value)} is wrong; write {_TARGET_FORM}"
                raise _fault(path, number, problem)
            targets[parts[0]] = Target(*parts)
        elif key == "noise_ceiling":
            ceiling = _as_number(parts[-1])
            if parts[0] not in targets or ceiling is None or not -1 <= ceiling <= 1:
                problem = f"noise_ceiling {shown(value)} is wrong; below the target, write"
                raise _fault(path, number, f"{problem} {_CEILING_FORM}")
            targets[parts[0]] = replace(targets[parts[0]], noise_ceiling=ceiling)
        elif value:
            provenance[key] = f"{provenance[key]} {value}" if key in provenance else value
    return provenance, targets


def format_table(
    provenance: Mapping[str, str], targets: Sequence[Target], columns: Mapping[str, Sequence[Cell]]
) -> str:
    """Format a file of this format.

    ``provenance`` has the lines above the header by their keys, ``default_target`` and
    ``num_classes`` among them. None or NaN in a column is an empty cell; floats have up to 10
    digits.
    """
    above = [f"# {key}: {value}" for key, value in provenance.items()]
    above += [f"# target: {t.name} | {t.description} | {t.training}" for t in targets]
    above += [
        f"# noise_ceiling: {t.name} | {t.noise_ceiling:.4g}"
        for t in targets
        if t.noise_ceiling is not None
    ]
    cells = ([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return "".join(f"{line}\n" for line in above) + csv_text([columns, *cells])


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
