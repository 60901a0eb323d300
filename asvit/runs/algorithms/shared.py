"""What the algorithms share that train a network by one process or several."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeVar

from asvit.architectures.genotype import EXAMPLE
from asvit.core.console import quantity
from asvit.core.continuing import without_places
from asvit.core.progress import image_progress
from asvit.core.results import Result
from asvit.core.settings import Settings, wrong_option
from asvit.core.tensor_files import tensors_digest
from asvit.data.base import refuse_unreadable, unreadable_images
from asvit.executors.base import cores
from asvit.networks.opening import architecture_in
from asvit.runs.shared import SharedRun
from asvit.spaces.architectures import has_drop_path
from asvit.training.checkpoint import Checkpoint, Saved
from asvit.training.distributed import ProcessGroup, processes_of
from asvit.use.architectures import find_architecture, text_of

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)

MOST_WORKERS = 8
# With fewer images, worker processes cost more than they save; a GPU would wait for this process
# in each of many epochs.
FEW_IMAGES, FEW_FOR_GPU = 2_000, 20_000  # the latter in all epochs
FEWEST_IMAGES = 32  # of a set of few, for each of them


@dataclass(kw_only=True)
class SharedAlgorithm(SharedRun[S, R]):
    """A run whose processes share every batch."""

    typed: str = ""  # what was typed for the architecture: its text, or a run folder
    explicit: Collection[str] = ()  # names of the values that were passed, not left to a recipe
    found_by: Mapping[str, Any] | None = None  # the run of that folder

    @classmethod
    def make(cls, preset: str = "default", **values: Any) -> Self:
        """As the base does; the architecture may be the folder of a run that ended in one."""
        values["explicit"] = frozenset(values)
        if values.get("architecture") is None:
            return super().make(preset, **values)
        with wrong_option():
            typed = text_of(values["architecture"])
        checked = {**values, "architecture": typed or EXAMPLE}
        super().make(preset, **checked)  # refuses wrong options before any run is looked for
        with wrong_option():
            start = find_architecture(typed)
        if start.warning and not (values.get("attention") or values.get("ffn")):
            logger.warning(start.warning)
        values |= {"architecture": start.text, "typed": typed, "found_by": start.by}
        return super().make(preset, **values)

    def resolved(self) -> Self:
        """Without the drop-path of a recipe where the network has none."""
        s: Any = self.settings
        text = s.architecture or architecture_in(s.weights or "")
        if "drop_path" in self.explicit or not s.drop_path or not text or has_drop_path(text):
            return self
        if self.first():
            logger.warning("%s has no drop-path; going on without", text)
        return self.with_settings(replace(s, drop_path=0.0), "sets", "processes")

    @cached_property
    def processes(self) -> ProcessGroup:
        """The processes that train together, all with the same settings."""
        group = processes_of(self.device)
        # Only where all have something to go on with do they take the same steps from here on.
        state = "there" if self.begun else "missing"
        group.check_same({**without_places(self.settings), self.files.state: state})
        return group

    @contextmanager
    def session(self) -> Iterator[None]:
        """All processes begin once the first one has claimed the folder, and end together."""
        with self.processes.losses_noticed():
            self.processes.wait()
            yield
            self.processes.wait()

    def open(self) -> Saved:
        """The checkpoint, if there is one."""
        store = Saved.at(
            self.folder / self.files.state,
            kind=self.files.kind,
            settings=self.settings_type,
            row=self.result_type.row_type,
        )
        if self.processes.world > 1:
            self.processes.check_same({self.files.state: _in_words(store.file)})
        return store

    def check_images(self, parts: Sequence[tuple[Any, Sequence[int]]]) -> None:
        """Read the headers of these images, rather than meet bad ones amid an epoch."""
        bad = list[tuple[str, str]]()
        if self.processes.first:
            for images, indices in parts:
                bad += unreadable_images(images, indices, image_progress(self.progress))
        every: list[list[tuple[str, str]]] = self.processes.gather(bad)
        refuse_unreadable(every[0], sum(len(indices) for _, indices in parts))

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The architecture as it was typed, and what the kind of run adds."""
        return {**super().typed_values, **({"architecture": self.typed} if self.typed else {})}

    @property
    def most_workers(self) -> int:
        """Processes that prepare images for a training process, where no number is given."""
        return MOST_WORKERS

    def workers_for(self, images: int, epochs: int) -> int:
        """Processes that prepare so many images of an epoch beside each training process."""
        if self.workers is not None:
            return self.workers
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.processes.world))
        most = min(self.most_workers, cores() // here)
        if images >= FEW_IMAGES:
            return most
        if self.processes.device.type == "cuda" and images * epochs >= FEW_FOR_GPU:
            return min(most, images // FEWEST_IMAGES)
        return 0


def _in_words(checkpoint: Checkpoint | None) -> str:
    """How far a checkpoint is, and the digest of its weights."""
    if checkpoint is None:
        return "missing"
    epochs = quantity(len(checkpoint.history), "epoch")
    return f"of {epochs}, digest {tensors_digest(checkpoint.state.weights)[:12]}"
