"""What every kind of run ends in: the base of results, and their form in ``result.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from asvit.core.answers import Answer, read_answers
from asvit.core.codec import (
    MALFORMED,
    check_schema,
    check_values,
    content_fault,
    from_json,
    parse_json,
    to_json,
)
from asvit.core.estimates import Estimate
from asvit.core.files import expanded, write_text
from asvit.core.run_files import ANSWERS, MARKER, RESULT
from asvit.core.tables import data_frame
from proxies.registry import Registry
from proxies.text import shown

if TYPE_CHECKING:
    from pandas import DataFrame

#: Every kind of run, a :class:`asvit.runs.run_folder.Kind`, by the command that starts it.
RUNS: Registry[Any] = Registry("kind of run", entries=["asvit.runs.kinds"])

#: The folder of a result that was not kept; nothing can be in it.
NO_FOLDER = Path(os.devnull)

#: Types of what a result keeps of its making; what has no type here may be anything.
_PROVENANCE: Mapping[str, Any] = {
    "images": Mapping[str, Any] | None,
    "device": str | None,
    "versions": Mapping[str, Any] | None,
    "command": str | Sequence[str] | None,
}


# Of a result.json, beside what the run came to.
_ABOUT = (
    *("schema_version", "kind", "wall_seconds", "next_command"),
    *("device", "command", "digest", "reason"),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ended in. A subclass is the one declaration of a kind's result.

    Its fields are the keys of ``result.json``; :meth:`derived` adds what follows from them, for
    readers of the file.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    schema_version: ClassVar[int] = 1
    provenance_keys: ClassVar[tuple[str, ...]] = ("images", "device", "versions", "command")
    hidden: ClassVar[tuple[str, ...]] = ()  # fields that stand in the file in another form
    rows_in: ClassVar[str] = ""  # the table of the run folder with its rows, without ending
    #: The fact that is the share of right answers in predictions.csv, per cent; empty for none.
    answered: ClassVar[str] = ""

    folder: Path  #: run folder
    settings: Any  #: settings of the run
    wall_seconds: float  #: wall-clock time of all sessions
    #: Images with their digest, device, versions and the command that repeats the run; each a key
    #: of its own in the file.
    provenance: Mapping[str, Any]
    next_command: str = ""  #: what to type next; empty where there is nothing

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # A dataclass makes a representation of every field unless its class has one.
        cls.__repr__ = Result.__repr__  # type: ignore[method-assign]
        cls.__eq__ = Result.__eq__  # type: ignore[method-assign]  # likewise

    def __eq__(self, other: object) -> bool:
        """Whether both have one folder, and one content of result.json."""
        if type(self) is not type(other):
            return NotImplemented
        return self.folder == other.folder and self.to_json() == other.to_json()

    def __repr__(self) -> str:
        facts = {**self.facts(), **({"folder": str(self.folder)} if self.kept else {})}
        order = sorted(facts.items(), key=lambda fact: "architecture" not in fact[0])
        words = [f"{n}={v:.5g}" if isinstance(v, float) else f"{n}={v!r}" for n, v in order]
        return f"{type(self).__name__}({', '.join(words)})"

    def facts(self) -> dict[str, Any]:
        """Every number and text that the run came to, under its name in result.json."""
        return {
            name: value
            for name, value in self.to_json().items()
            if isinstance(value, str | float | int) and name not in _ABOUT
        }

    @property
    def kept(self) -> bool:
        """Whether there is a run folder."""
        return self.folder != NO_FOLDER

    @property
    def answers(self) -> Sequence[Answer]:
        """What it takes each picture for, as predictions.csv has it; none without that file."""
        there = self.answered and self.kept and (self.folder / ANSWERS).exists()
        return read_answers(self.folder / ANSWERS) if there else ()

    def comparable(self) -> dict[str, Any]:
        """The facts by which runs are compared; those of nested parts have names with dots.

        Of what is listed by any names, such as unreadable files, it has how many there are.
        A number ``x`` whose interval stands beside it as ``x_interval`` is an
        :class:`asvit.core.summary.Estimate`.
        """
        content = self.to_json()
        left_out = {*_ABOUT, *self.provenance_keys, "settings"}
        own = {name: value for name, value in content.items() if name not in left_out}
        return {**self.facts(), **dict(_nested("", own))}

    def to_dataframe(self, table: str = "") -> DataFrame:
        """A table of the run folder as a pandas data frame, one row a row.

        Args:
            table: Name of the CSV file without its ending, such as ``"candidates"`` or
                ``"front"``; by default the run's own rows: a search's architectures, a scaling's
                steps, a correlation's findings, a training's epochs.

        Raises:
            ValueError: If the run folder has no such table; the message suggests the nearest one.
                Also if the run was not kept, and so has no folder.
        """
        if not self.kept:
            raise ValueError(f"this {self.noun} has no folder, and so no tables; give out, too")
        paths = sorted(self.folder.glob("*.csv"))
        tables = Registry("table", {path.stem: path for path in paths})
        name = table or self.rows_in
        if not name:
            names = ", ".join(tables)
            do = f"name a table: {names}" if names else "there is no table in its folder either"
            raise ValueError(f"a {self.noun} has no rows of its own; {do}")
        return data_frame(tables[name])

    def plot(self, figure: str) -> Any:
        """A figure of the run's report: notebooks show it, ``savefig`` writes it as any format.

        Args:
            figure: Its name, that of its files in the run folder: a search has ``"entropy"``,
                ``"reward"``, ``"measures"``, ``"front"`` and ``"choices"``, a scaling
                ``"growth"``, ``"sizes"``, ``"measures"`` and ``"clouds"``, a correlation
                ``"tau"`` and a ``"scatter-..."`` for each measure.

        Raises:
            ValueError: If there is no such figure; the message suggests the nearest one.
        """
        kind = self._kind()
        pictures = kind.pictures(self) if kind else ()
        named: Registry[Any] = Registry("figure", {picture.name: picture for picture in pictures})
        return named[figure]

    def _repr_html_(self) -> str | None:
        """The summary, as a notebook shows it; None for a kind that is not known here."""
        kind = self._kind()
        return kind.html(self) if kind else None

    def _kind(self) -> Any:
        """The kind of run that ends in this; None if it is not known here."""
        return next((kind for kind in RUNS.values() if kind.result_type is type(self)), None)

    def derived(self) -> Mapping[str, Any]:
        """Values that follow from the fields; the file has them, too."""
        return {}

    @classmethod
    def figure_files(cls, folder: Path) -> Sequence[str]:
        """Files of figures in ``folder`` whose names depend on the result there."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        names = [field.name for field in fields(self)]
        left_out = ("folder", "provenance", *self.hidden)
        content = {name: to_json(getattr(self, name)) for name in names if name not in left_out}
        content["wall_seconds"] = round(self.wall_seconds, 3)
        head = {"schema_version": self.schema_version, "kind": self.kind}
        return {**head, **to_json(self.derived()), **content, **to_json(self.provenance)}

    @classmethod
    def unfold(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """``content`` of a file with the hidden fields under their names."""
        return content

    @classmethod
    def parse(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Undo :meth:`to_json` for a file in ``folder``."""
        check_schema(content, cls.kind, cls.schema_version)
        provenance = {name: content[name] for name in cls.provenance_keys}
        check_values(provenance, {n: kind for n, kind in _PROVENANCE.items() if n in provenance})
        whole = {**cls.unfold(content), "folder": str(folder), "provenance": provenance}
        result = from_json(whole, cls)
        result.to_json()  # where a part is missing that others follow from
        return result

    def write(self) -> None:
        """Write result.json into the run folder, as a whole or not at all."""
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        write_text(self.folder / RESULT, f"{text}\n")

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a ``result.json``, by its path or by that of the run folder with it.

        Raises:
            FileNotFoundError: If there is none, or no file that is needed beside it.
            ValueError: If it cannot be read; one line.
        """
        path = expanded(str(path))
        if path.is_dir():
            path /= RESULT
        try:
            return cls.parse(stored_content(path), path.parent)
        except MALFORMED as error:
            raise ValueError(
                f"{path} is not the result of {article(cls.noun)} that this version can read: "
                f"{content_fault(error)}"
            ) from error


def _nested(above: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The numbers and texts of nested parts, under names with dots."""
    for name, value in content.items():
        ends = content.get(f"{name}_interval")
        if isinstance(value, Mapping):
            kinds = {type(item) for item in value.values()}
            if kinds in (set(), {str}, {int}):  # of any names, such as those of files
                yield f"{above}{name}", len(value)
            else:
                yield from _nested(f"{above}{name}.", value)
        elif isinstance(value, int | float) and isinstance(ends, list) and None not in ends:
            yield f"{above}{name}", Estimate(value, *ends)
        elif isinstance(value, str | int | float):
            yield f"{above}{name}", value


def stored_content(path: Path) -> dict[str, Any]:
    """What a ``result.json`` holds, of whatever kind."""
    content = parse_json(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"it may not be {shown(content)}")
    return content


def kind_in(folder: Path) -> str | None:
    """The kind of run that ``folder`` was claimed for; None where it was claimed for none.

    A copy of a finished run may lack the marker, a hidden file; then its result tells.
    """
    try:
        return (folder / MARKER).read_bytes().decode(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        with suppress(OSError, *MALFORMED):
            return str(stored_content(folder / RESULT)["kind"])
    return None


def article(noun: str) -> str:
    """``noun`` with ``a`` or ``an`` before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
