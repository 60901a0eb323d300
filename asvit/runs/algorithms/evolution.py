"""The algorithm of evolutions over the paths of a supernet."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from asvit.core.console import quantity
from asvit.core.continuing import check_same
from asvit.core.files import write_text
from asvit.core.progress import image_progress
from asvit.core.run_files import INHERITED, STUDY, TRIALS
from asvit.core.tensor_files import tensors_digest
from asvit.data import MEAN, STD, open_training_sets
from asvit.data.sources import are_fractals
from asvit.models.psvit_supernet import PSViTSupernet
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
from asvit.training.checkpoint import Origin
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet import load_splits, read_finished
from asvit.training.supernet_result import PathAccuracies
from proxies.evaluation import resolve_device

_BESIDE = "accuracies on the test images"  # attribute of the study


def execute(
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
    file = _weights_file(origin, network, best, images.names, tested[best.path])
    file.write(run.folder / INHERITED)
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
        next_command=training_command(run.folder, origin.settings),
    )


def _save(folder: Path, sampler: PathSampler, search: Search) -> Sequence[PathRow]:
    """Write trials.csv."""
    rows = sampler.rows(measured_trials(search.study))
    write_text(folder / TRIALS, write_paths(rows))
    return rows


def _weights_file(
    origin: Origin, network: PSViTSupernet, winner: PathRow, names: Sequence[str], top1: float
) -> WeightsFile:
    """The winner with its inherited weights."""
    facts = {
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "images": origin.images["source"],
        "top1": top1,
        "found_by": {"kind": EvolutionResult.kind, "path": winner.path},
    }
    own = Network(winner.architecture, origin.settings.image_size, len(origin.classes))
    return WeightsFile(own, network.extract(winner.cells).state_dict(), tuple(names), facts)


def training_command(folder: Path, s: SupernetSettings) -> str:
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
