"""The algorithm of trainings of supernets."""

from __future__ import annotations

import numpy as np

from asvit.core.console import quantity
from asvit.core.progress import image_progress
from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.models.psvit_supernet import PSViTSupernet
from asvit.runs.run_folder import RunFolder
from asvit.search.paths import SupernetSpace
from asvit.training.checkpoint import Origin, read_checkpoint
from asvit.training.distributed import ProcessGroup
from asvit.training.session import Session
from asvit.training.short import accuracy
from asvit.training.short_settings import SupernetSettings, images_of
from asvit.training.supernet import (
    SUPERNET,
    SinglePath,
    Splits,
    load_splits,
    supernet_recipe,
)
from asvit.training.supernet_result import PathAccuracies, SupernetResult, evolve_command
from proxies.evaluation import resolve_device, seed_for

CHECKPOINT_MINUTES = 1.0  # longest time between two checkpoints within an epoch
EVALUATED_PATHS = 20  # random ones, whose accuracies tell how far training has come


def execute(
    s: SupernetSettings, run: RunFolder[SupernetSettings, SupernetResult]
) -> SupernetResult:
    """Train paths drawn at random to the end, and evaluate a few.

    There is a checkpoint at the end of every epoch, and within long ones.
    """
    space, where = SupernetSpace(s), resolve_device(run.options.device)
    run.title = (
        f"training the supernet of {s.space}: {quantity(s.epochs, 'epoch')} of "
        f"{quantity(s.train_images, 'image')} in batches of {s.batch_size}, {images_of(s)}, "
        f"{s.image_size} px, width {s.width}, seed {s.seed}"
    )
    parts = load_splits(s, where, image_progress(run.tell))
    run.begin(images=parts.provenance, device=where.type)
    stored = read_checkpoint(run.folder / SUPERNET_WEIGHTS, **SUPERNET)
    origin = Origin(s, parts.provenance, parts.names)
    supernet = space.build(parts.classes, seed=s.seed)
    session = Session(
        folder=run.folder,
        task=SinglePath(supernet, parts.train, supernet_recipe(s), draw=space.draw, seed=s.seed),
        origin=origin,
        processes=ProcessGroup(where),
        stored=stored,
        file=SUPERNET_WEIGHTS,
        kind=SUPERNET["kind"],
        checkpoint_minutes=CHECKPOINT_MINUTES,
    )
    session.run(run.tell)
    return run.result(
        losses=[round(row.loss, 6) for row in session.history],
        num_classes=parts.classes,
        accuracy=_random_paths(s, space, supernet, parts),
        params=sum(p.numel() for p in supernet.parameters()),
        wall_seconds=session.seconds,
        next_command=evolve_command(run.folder),
    )


def _random_paths(
    s: SupernetSettings, space: SupernetSpace, supernet: PSViTSupernet, parts: Splits
) -> PathAccuracies:
    """Accuracies of random paths on the validation images."""
    rng = np.random.default_rng(seed_for(s.seed, "looked at"))
    paths = (space.draw(rng) for _ in range(EVALUATED_PATHS))
    return PathAccuracies.of([accuracy(supernet.on(path), *parts.validation) for path in paths])
