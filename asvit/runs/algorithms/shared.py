"""What the algorithms share that train a network by one process or several."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from asvit.architectures.genotype import EXAMPLE
from asvit.core.console import quantity
from asvit.core.continuing import without_places
from asvit.core.errors import wrong_option
from asvit.core.progress import image_progress
from asvit.core.settings import Settings
from asvit.core.tensor_files import tensors_digest
from asvit.data.base import refuse_unreadable, unreadable_images
from asvit.executors.base import cores
from asvit.networks.opening import architecture_in
from asvit.runs.run_folder import Check, Prepared, RunFolder
from asvit.runs.shared import SharedOptions
from asvit.spaces.architectures import has_drop_path
from asvit.training.checkpoint import Checkpoint, read_checkpoint
from asvit.training.distributed import ProcessGroup, processes_of
from asvit.use.architectures import find_architecture, text_of

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)

MOST_WORKERS = 8
# With fewer images, worker processes cost more than they save; a GPU would wait for this process
# in each of many epochs.
FEW_IMAGES, FEW_FOR_GPU = 2_000, 20_000  # the latter in all epochs
FEWEST_IMAGES = 32  # of a set of few, for each of them


def prepare(values: dict[str, Any], check: Check) -> Prepared:
    """The architecture of a text, or of the folder of a run that ended in one."""
    if values.get("architecture") is None:
        return values, {"found_by": None}
    with wrong_option():
        typed = text_of(values["architecture"])
    check({**values, "architecture": typed or EXAMPLE})
    with wrong_option():
        start = find_architecture(typed)
    if start.warning and not (values.get("attention") or values.get("ffn")):
        logger.warning(start.warning)
    return {**values, "architecture": start.text}, {"found_by": start.by}


def without_drop_path(asked: S, run: RunFolder[Any, Any]) -> S:
    """Settings without the drop-path of a recipe where the network has none."""
    s: Any = asked
    text = s.architecture or architecture_in(s.weights or "")
    if "drop_path" in run.arguments or not s.drop_path or not text or has_drop_path(text):
        return asked
    if run.kind.first():
        logger.warning("%s has no drop-path; going on without", text)
    return cast("S", replace(s, drop_path=0.0))


@contextmanager
def sharing(run: RunFolder[Any, Any]) -> Iterator[ProcessGroup]:
    """The processes that train together, all with the same settings; they end together.

    Only where all have something to go on with do they take the same steps from here on.
    """
    processes = processes_of(run.options.device)
    with processes.losses_noticed():
        state = "missing" if run.start is None else "there"
        processes.check_same({**without_places(run.settings), "run.jsonl": state})
        processes.wait()
        yield processes
        processes.wait()


def stored_checkpoint(
    run: RunFolder[Any, Any], processes: ProcessGroup, file: str, **types: Any
) -> Checkpoint | None:
    """The checkpoint that the run goes on from, the same in every process; None at its start."""
    stored = None if run.start is None else read_checkpoint(run.folder / file, **types)
    if processes.world > 1:
        state = "missing"
        if stored is not None:
            digest = tensors_digest(stored.state.weights)[:12]
            state = f"of {quantity(len(stored.history), 'epoch')}, digest {digest}"
        processes.check_same({file: state})
    return stored


def check_images(
    run: RunFolder[Any, Any],
    processes: ProcessGroup,
    parts: Sequence[tuple[Any, Sequence[int]]],
) -> None:
    """Read the headers of these images, rather than meet bad ones amid an epoch."""
    bad = list[tuple[str, str]]()
    if processes.first:
        for images, indices in parts:
            bad += unreadable_images(images, indices, image_progress(run.progress))
    every: list[list[tuple[str, str]]] = processes.gather(bad)
    refuse_unreadable(every[0], sum(len(indices) for _, indices in parts))


def workers_for(
    options: SharedOptions,
    processes: ProcessGroup,
    images: int,
    epochs: int,
    most: int = MOST_WORKERS,
) -> int:
    """Processes that prepare so many images of an epoch beside each training process."""
    if options.workers is not None:
        return options.workers
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes.world))
    most = min(most, cores() // here)
    if images >= FEW_IMAGES:
        return most
    if processes.device.type == "cuda" and images * epochs >= FEW_FOR_GPU:
        return min(most, images // FEWEST_IMAGES)
    return 0
