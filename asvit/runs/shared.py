"""What runs have in common that train a network by one process or several."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from asvit.core.results import Result
from asvit.core.settings import Settings, setting, wrong_option
from asvit.executors.base import cores
from asvit.runs.run import Run

if TYPE_CHECKING:
    from asvit.training.checkpoint import Checkpoint, Saved
    from asvit.training.distributed import ProcessGroup

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)

MOST_WORKERS = 8
FEW_IMAGES = 2000  # with fewer, worker processes cost more than they save


@dataclass(kw_only=True)
class SharedRun(Run[S, R, "Saved[Checkpoint]"]):
    """A run whose processes, started by accelerate or torchrun, share every batch.

    Its network is given as an architecture, or as the folder of a run that ended in one.
    """

    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE", repeats=False
    )
    workers: int | None = setting(
        None,
        "Processes that prepare images; none for fewer than 2,000 images.",
        at_least=0,
        shown="the cores there are, at most 8",
        repeats=False,
    )
    typed: str = ""  # what was given for the architecture: its text, or a run folder
    found_by: Mapping[str, Any] | None = None  # the run of that folder
    group: ProcessGroup | None = None  # the processes, where they have met already

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does; the architecture may be the folder of a run that ended in one."""
        from asvit.runs.architectures import find_architecture

        if given.get("architecture") is None:
            return super().make(preset, **given)
        typed = str(given["architecture"])
        with wrong_option():
            found = find_architecture(typed)
        return super().make(
            preset, **{**given, "architecture": found.text, "typed": typed, "found_by": found.by}
        )

    @classmethod
    def first(cls) -> bool:
        """Whether this is the process that writes and tells."""
        return os.environ.get("RANK", "0") == "0"

    @cached_property
    def processes(self) -> ProcessGroup:
        """The processes that train together."""
        from asvit.training.distributed import ProcessGroup

        return self.group or ProcessGroup(self.device)

    @contextmanager
    def session(self) -> Iterator[None]:
        """All processes begin once the first one has claimed the folder, and end together."""
        with self.processes.losses_noticed():
            self.processes.wait()
            yield
            self.processes.wait()

    def open(self) -> Saved[Checkpoint]:
        """The checkpoint, if there is one."""
        from asvit.training.checkpoint import Checkpoint, Saved, read_or_restore

        read = partial(
            Checkpoint.read,
            kind=self.files.kind,
            settings=self.settings_type,
            row=self.result_type.row_type,
        )
        with self.processes.first_before_others():
            return Saved(read_or_restore(self.folder / self.files.state, read))

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The architecture as it was given."""
        return {"architecture": self.typed} if self.typed else {}

    def named(self, network: str) -> str:
        """The name of a folder, after the network, the image size and the seed."""
        chosen: Any = self.settings
        text = re.sub("[^A-Za-z0-9.]+", "-", network)[:200].rstrip("-")
        word = self.command.split()[-1]
        return f"{word}-{text}-{chosen.image_size}px-seed{chosen.seed}"

    def workers_for(self, images: int) -> int:
        """Processes that prepare so many images beside each training process."""
        if self.workers is not None:
            return self.workers
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.processes.world))
        return 0 if images < FEW_IMAGES else min(MOST_WORKERS, cores() // here)
