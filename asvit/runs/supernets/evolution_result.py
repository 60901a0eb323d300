"""The result of an evolution over the paths of a supernet, and its form in files."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, cast

from asvit._types import is_of
from asvit.runs.result_file import StoredResult
from asvit.runs.supernets.result import Spread
from asvit.search.supernet_evolution import Candidate
from asvit.search.supernet_journal import KIND, SCHEMA_VERSION, Retrained
from asvit.search.supernet_settings import EvolutionSettings
from proxies.messages import shown

PROVENANCE = ("supernet", "images", "device", "versions", "command")


@dataclass(frozen=True)
class Generation:
    """One generation in numbers; accuracies on the validation images, per cent.

    Attributes:
        generation: Which one, from 1.
        paths: Paths in it.
        best: Highest accuracy of one of them.
        median: Their median accuracy.
        best_so_far: Highest accuracy of a path of any generation up to it.
    """

    generation: int
    paths: int
    best: float
    median: float
    best_so_far: float


@dataclass(frozen=True)
class Winner:
    """The path that an evolution ended in.

    Attributes:
        architecture: Text of the network that it is, as :func:`asvit.build` takes it.
        path: Its cells, stage by stage; where the identities are tells which weights it inherits.
        params: Parameters of the network, with the classes of the images.
        macs: Multiply-adds of one image.
        validation: Accuracy with inherited weights on the images it was chosen by, per cent.
        test: The same on images that nothing was chosen by.
    """

    architecture: str
    path: str
    params: int
    macs: int
    validation: float
    test: float


@dataclass(frozen=True)
class Compared:
    """Random paths with the same inherited weights, to compare the winner with.

    Attributes:
        validation: On the images that the winner was chosen by.
        test: On the images that nothing was chosen by.
    """

    validation: Spread
    test: Spread


@dataclass(frozen=True)
class EvolutionResult(StoredResult, kind=KIND, schema=SCHEMA_VERSION, what="an evolution"):
    """What an evolution ended in.

    Attributes:
        folder: Run folder.
        space: Space of the paths.
        winner: The path that it ended in.
        generations: One row a generation.
        in_window: The random first generation, whose paths cost what the winner may.
        anywhere: Paths drawn as training draws them, of any cost.
        deit_macs: Multiply-adds of the DeiT of the supernet's size.
        evaluated: Paths evaluated in all generations.
        reason: Why there are fewer generations than asked for; empty where there are not.
        retrained: What training the winner from scratch came to: its ``accuracy`` on the test
            images in per cent, ``loss``, ``seconds`` and ``reason``; None where it was not asked.
        wall_seconds: Wall-clock time of all sessions.
        settings: Settings of the evolution.
        provenance: The supernet's folder and the digest of its weights, image source and digest,
            device, versions and the command.
        next_command: What to type next.
    """

    folder: Path
    space: str
    winner: Winner
    generations: Sequence[Generation]
    in_window: Compared
    anywhere: Compared
    deit_macs: int
    evaluated: int
    reason: str
    retrained: Mapping[str, Any] | None
    wall_seconds: float
    settings: EvolutionSettings
    provenance: Mapping[str, Any]
    next_command: str

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "space": self.space,
            **asdict(self.winner),
            "random": {"in_window": asdict(self.in_window), "anywhere": asdict(self.anywhere)},
            "generations": [asdict(row) for row in self.generations],
            "evaluated": self.evaluated,
            "reason": self.reason,
            "deit_macs": self.deit_macs,
            "retrained": None if self.retrained is None else dict(self.retrained),
            "wall_seconds": round(self.wall_seconds, 3),
            "settings": self.settings.to_json(),
            **self.provenance,
            "next_command": self.next_command,
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        settings = EvolutionSettings.from_json(content["settings"])
        if settings.max_macs is None:
            raise ValueError("its limit of multiply-adds is missing")
        in_window, anywhere = (
            Compared(
                **{part: Spread(**spread) for part, spread in content["random"][name].items()}
            )
            for name in ("in_window", "anywhere")
        )
        return cls(
            folder=folder,
            space=content["space"],
            winner=Winner(**{name: content[name] for name in Winner.__dataclass_fields__}),
            generations=[Generation(**row) for row in content["generations"]],
            in_window=in_window,
            anywhere=anywhere,
            deit_macs=content["deit_macs"],
            evaluated=content["evaluated"],
            reason=content["reason"],
            retrained=_retrained(content["retrained"]),
            wall_seconds=content["wall_seconds"],
            settings=settings,
            provenance={name: content[name] for name in PROVENANCE},
            next_command=content["next_command"],
        )


def _retrained(content: object) -> Mapping[str, Any] | None:
    if not is_of(content, Retrained | None):
        raise ValueError(f"retrained may not be {shown(content)}")
    return cast("Mapping[str, Any] | None", content)


def generations_of(candidates: Sequence[Candidate]) -> list[Generation]:
    """The generations of these candidates in numbers, in order."""
    rows: list[Generation] = []
    for number in sorted({one.generation for one in candidates}):
        found = [one.fitness for one in candidates if one.generation == number]
        best = max(found)
        so_far = max([best, *(row.best_so_far for row in rows[-1:])])
        rows.append(Generation(number + 1, len(found), best, statistics.median(found), so_far))
    return rows


def candidates_csv(candidates: Sequence[Candidate]) -> str:
    """The candidates as a table, in the order in which they were evaluated."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["number", "generation", "origin", "architecture", "path", "macs", "validation"]
    )
    for number, one in enumerate(candidates):
        path = "|".join(one.path)
        writer.writerow(
            [number, one.generation + 1, one.origin, one.architecture, path, one.macs, one.fitness]
        )
    return buffer.getvalue()
