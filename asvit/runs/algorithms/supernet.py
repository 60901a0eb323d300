"""The algorithms of supernets: training one, and evolution over its paths."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from asvit.core.console import quantity
from asvit.core.continuing import check_same
from asvit.core.files import write_text
from asvit.core.progress import image_progress
from asvit.core.run_files import INHERITED, STUDY, SUPERNET_WEIGHTS, TRIALS
from asvit.core.tensor_files import tensors_digest
from asvit.data import MEAN, STD, open_training_sets
from asvit.data.sources import are_fractals
from asvit.networks import Network, WeightsFile, load_state
from asvit.runs.run_folder import RunFolder
from asvit.search.evolution import (
    TEST,
    VALIDATION,
    EvolutionResult,
    EvolutionSettings,
    PathRow,
    first_generation,
    generations_of,
    write_paths,
)
from asvit.search.loop import Search
from asvit.search.objective import Objective
from asvit.search.paths import PathSampler, SupernetSpace, path_accuracies, ranked
from asvit.search.sampler import measured_trials
from asvit.search.study import open_study, quiet_optuna, stored
from asvit.training.checkpoint import Origin, read_checkpoint
from asvit.training.distributed import ProcessGroup
from asvit.training.session import Session
from asvit.training.short import accuracy
from asvit.training.short_settings import SupernetSettings, images_of
from asvit.training.supernet import (
    SUPERNET,
    SinglePath,
    load_splits,
    read_finished,
    supernet_recipe,
)
from asvit.training.supernet_result import PathAccuracies, SupernetResult, evolve_command
from proxies.evaluation import resolve_device, seed_for

_CHECKPOINT_MINUTES = 1.0  # longest time between two checkpoints within an epoch
_EVALUATED_PATHS = 20  # random ones, whose accuracies tell how far training has come
_BESIDE = "accuracies on the test images"  # attribute of the study of an evolution


def train(s: SupernetSettings, run: RunFolder[SupernetSettings, SupernetResult]) -> SupernetResult:
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
    supernet = space.build(parts.classes, seed=s.seed)
    session = Session(
        folder=run.folder,
        task=SinglePath(supernet, parts.train, supernet_recipe(s), draw=space.draw, seed=s.seed),
        origin=Origin(s, parts.provenance, parts.names),
        processes=ProcessGroup(where),
        stored=read_checkpoint(run.folder / SUPERNET_WEIGHTS, **SUPERNET),
        file=SUPERNET_WEIGHTS,
        kind=SUPERNET["kind"],
        checkpoint_minutes=_CHECKPOINT_MINUTES,
    )
    session.run(run.tell)
    rng = np.random.default_rng(seed_for(s.seed, "looked at"))
    paths = (space.draw(rng) for _ in range(_EVALUATED_PATHS))
    accuracies = [accuracy(supernet.on(path), *parts.validation) for path in paths]
    return run.result(
        losses=[round(row.loss, 6) for row in session.history],
        num_classes=parts.classes,
        accuracy=PathAccuracies.of(accuracies),
        params=sum(p.numel() for p in supernet.parameters()),
        wall_seconds=session.seconds,
        next_command=evolve_command(run.folder),
    )


def evolve(
    asked: EvolutionSettings, run: RunFolder[EvolutionSettings, EvolutionResult]
) -> EvolutionResult:
    """Evaluate paths with the weights of the supernet, and store the winner with its weights."""
    source, where = run.options.source, resolve_device(run.options.device)
    trained = read_finished(source)
    origin, weights = trained.origin, trained.state.weights
    classes, space = len(origin.classes), SupernetSpace(origin.settings)
    s = asked if asked.max_macs else replace(asked, max_macs=space.deit_macs(classes))
    sampler = PathSampler(space, classes, s)
    run.title = (
        f"evolving paths of {shlex.quote(str(run.options.supernet))}: "
        f"{quantity(s.generations, 'generation')} of {s.population}, seed {s.seed}"
    )
    supernet = {"source": str(source), "digest": tensors_digest(weights)}
    if (finished := run.settled()) is not None:
        check_same(run.folder, run.start_values, {"supernet": supernet})
        return finished
    images = load_splits(origin.settings, where, image_progress(run.tell))
    check_same(source, {"images": origin.images}, {"images": images.provenance})
    run.begin(s, supernet=supernet, images=origin.images, device=where.type)
    network = space.build(classes, seed=0)
    load_state(network, weights, what="the weights of the supernet")
    network.to(where)
    evaluate = path_accuracies(
        network, sampler.costs, {part: getattr(images, part) for part in (VALIDATION, TEST)}
    )
    with quiet_optuna():
        search = Search(
            open_study(run.folder / STUDY, {VALIDATION: "higher"}),
            space.space,
            Objective(evaluate, {VALIDATION: "higher"}, unit="path"),
            sampler,
            trials=s.population * s.generations,
            batch=s.population,
            after=1.0 + s.population,
        )
        for progress in search.run():
            if progress.done % s.population == 0:
                _save(run.folder, sampler, search)
            run.tell(progress)
        rows = _save(run.folder, sampler, search)
        if not rows:
            raise ValueError(
                f"no random path was found that takes at most {s.max_macs:,} multiply-adds; allow "
                "more with --max-macs"
            )
        best, first = ranked(rows)[0], first_generation(rows)
        wanted = {row.path: ((row.cells, TEST), 0) for row in (best, *first)}
        for progress in search.beside(_BESIDE, wanted, evaluate):
            run.tell(replace(progress, unit="accuracy"))
        tested = {path: one.values[TEST] for path, one in stored(search.study, _BESIDE).items()}
    facts = {
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "images": origin.images["source"],
        "top1": tested[best.path],
        "found_by": {"kind": EvolutionResult.kind, "path": best.path},
    }
    own = Network(best.architecture, origin.settings.image_size, classes)
    state = network.extract(best.cells).state_dict()
    WeightsFile(own, state, tuple(images.names), facts).write(run.folder / INHERITED)
    return run.result(
        space=origin.settings.space,
        architecture=best.architecture,
        path=best.path,
        params=sampler.costs(best.cells).params,
        macs=best.macs,
        validation=best.validation,
        test=tested[best.path],
        generations=generations_of(rows),
        random={
            VALIDATION: PathAccuracies.of([row.validation for row in first]),
            TEST: PathAccuracies.of([tested[row.path] for row in first]),
        },
        evaluated=len(rows),
        reason="no new path was found any more" if search.exhausted else "",
        wall_seconds=search.seconds,
        next_command=_training_command(run.folder, origin.settings),
    )


def _save(folder: Path, sampler: PathSampler, search: Search) -> Sequence[PathRow]:
    """Write trials.csv."""
    rows = sampler.rows(measured_trials(search.study))
    write_text(folder / TRIALS, write_paths(rows))
    return rows


def _training_command(folder: Path, s: SupernetSettings) -> str:
    """What trains the winner in ``folder`` from scratch as long as the supernet.

    It takes as many images, or fewer where a training holds more of them out.
    """
    options = {"train_images": s.train_images, "image_size": s.image_size, "epochs": s.epochs}
    options |= {"batch_size": s.batch_size, "seed": s.seed}
    if s.data == "fractal":
        options["classes"] = s.classes
    elif not are_fractals(s.data):
        with suppress(ValueError):  # images that cannot be divided: the training says why
            sets = open_training_sets(s.data, image_size=s.image_size, seed=s.seed, quiet=True)
            options["train_images"] = min(s.train_images, len(sets.train))
    words = ["asvit", "train", str(folder), "--recipe", "small", "--data", s.data]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)
