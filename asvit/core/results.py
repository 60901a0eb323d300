"""What every kind of run ends in: the base of results, and their form in ``result.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from asvit.core.codec import MALFORMED, check_values, from_json, to_json
from asvit.core.files import check_plain, write_text
from asvit.core.records import parse_json
from asvit.core.run_files import RESULT
from proxies.messages import first_line, shown

#: Types of what a result keeps of its making; what has no type here may be anything.
_PROVENANCE: Mapping[str, Any] = {
    "images": Mapping[str, Any] | None,
    "device": str | None,
    "versions": Mapping[str, Any] | None,
    "command": str | Sequence[str] | None,
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ended in. A subclass is the one declaration of a kind's result.

    Its fields are the keys of ``result.json``; :meth:`derived` adds what follows from them, for
    readers of the file.

    Attributes:
        folder: Run folder.
        settings: Settings of the run.
        wall_seconds: Wall-clock time of all sessions.
        provenance: Images with their digest, device, versions and the command that repeats the
            run; each a key of its own in the file.
        next_command: What to type next; empty where there is nothing.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    schema_version: ClassVar[int] = 1
    provenance_keys: ClassVar[tuple[str, ...]] = ("images", "device", "versions", "command")
    hidden: ClassVar[tuple[str, ...]] = ()  # fields that stand in the file in another form

    folder: Path
    settings: Any
    wall_seconds: float
    provenance: Mapping[str, Any]
    next_command: str = ""

    def derived(self) -> Mapping[str, Any]:
        """What follows from the fields and stands in the file, too."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        content = {
            name: to_json(value)
            for name, (value, default) in values.items()
            if name not in ("folder", "provenance", *self.hidden) and value != default
        }
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
        known = content["kind"], content["schema_version"]
        if known != (cls.kind, cls.schema_version):
            raise ValueError(f"kind {shown(known[0])}, schema {shown(known[1])}")
        provenance = {name: content[name] for name in cls.provenance_keys}
        check_values(provenance, {n: _PROVENANCE.get(n, Any) for n in provenance})
        whole = {**cls.unfold(content), "folder": str(folder), "provenance": provenance}
        found = from_json(whole, cls)
        found.to_json()  # where a part is missing that others follow from
        return found

    def write(self) -> None:
        """Write result.json into the run folder, as a whole or not at all."""
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        write_text(self.folder / RESULT, text + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a ``result.json``.

        Raises:
            FileNotFoundError: If there is none, or no file that is needed beside it.
            ValueError: If it cannot be read; one line.
        """
        check_plain(path)
        try:
            return cls.parse(parse_json(path.read_bytes()), path.parent)
        except MALFORMED as error:
            fault = first_line(error)
            raise ValueError(
                f"{path} is not the result of {article(cls.noun)} that this version can read: "
                f"{f'it has no {fault}' if type(error) is KeyError else fault}"
            ) from error


def article(noun: str) -> str:
    """``noun`` with ``a`` or ``an`` before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
