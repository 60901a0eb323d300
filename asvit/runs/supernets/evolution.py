"""Evolution over a trained supernet, from its settings to a run folder: started or continued."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asvit._run_files import ACCURACIES, REPORT, RESULT, RETRAINING, SUPERNET_WEIGHTS, TRIALS
from asvit.runs.folder import (
    EVOLUTION,
    check_folder,
    claimed,
    named_folder,
    newest_run,
    remove_files,
)
from asvit.runs.provenance import changed_options, versions
from asvit.runs.supernets.evolution_result import EvolutionResult
from asvit.runs.supernets.evolution_session import EvolutionEvent, Session
from asvit.runs.supernets.host import Host
from asvit.runs.supernets.paths import AllowedPaths
from asvit.search.supernet_journal import Journal
from asvit.search.supernet_settings import EvolutionSettings, make_settings
from asvit.settings import ELSEWHERE, check_same_device, check_same_images, check_same_settings
from asvit.training.state import check_finite
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.single_path import SupernetEvent
from asvit.training.supernets.splits import Splits, load_splits
from proxies.evaluation import resolve_device
from proxies.messages import one_line

_MAY_GROW = ("generations", "random_paths")


def evolve_supernet(
    supernet: Path | str | None = None,
    *,
    out: Path | str | None = None,
    device: str = "auto",
    retrain: bool = False,
    progress: Callable[[EvolutionEvent], None] | None = None,
    retrain_progress: Callable[[SupernetEvent], None] | None = None,
    image_progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
    preset: str = "default",
    **settings: Any,
) -> EvolutionResult:
    """Search a trained supernet for its best path; the same call continues a run.

    Paths inherit the supernet's weights and are ranked by their accuracy on the images that were
    set apart from the training images; none is trained. The run folder holds
    ``accuracies.jsonl`` (every accuracy), ``trials.csv``, ``inherited.safetensors`` (the winner
    with its inherited weights), ``result.json`` and the report. Stopped at any point, even by
    ``kill -9``, the run continues to the identical winner; at most the path in flight is
    evaluated again, and of a training of the winner at most an epoch is trained again, of a long
    one at most a minute. More generations or random paths than before extend it.

    Args:
        supernet: Run folder of the supernet; the newest finished one in ``runs`` by default.
        out: Run folder; ``runs/evolution-SPACE-SIZEpx-seedN-seedM`` by default.
        device: Where to evaluate: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        retrain: Then train the winner from scratch, with as many steps as the supernet had.
        progress: Called after each path of a generation.
        retrain_progress: Called after each step of training the winner.
        image_progress: Called as images are made or read, with how many are ready, and how many
            there will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        preset: Name of a set of settings; see :data:`asvit.search.supernet_settings.PRESETS`.
        **settings: Fields of :class:`asvit.search.supernet_settings.EvolutionSettings`, on top of
            the preset's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the supernet is unfinished, no path costs as
            little or as much as asked, or the folder's run has other settings or is in use.
        OSError: If there is no supernet, the folder cannot be written or images cannot be found.
        TypeError: If there is no such setting.
    """
    wanted = make_settings(preset, **settings)
    source = newest_run("supernet") if supernet is None else Path(supernet)
    trained = read_supernet(source)
    host = Host(trained.origin.settings)
    paths = AllowedPaths(host, trained.origin.num_classes, wanted)
    wanted = paths.settings
    where = resolve_device(device)
    folder = default_folder(source, wanted) if out is None else Path(out)
    check_folder(folder, EVOLUTION, fresh=fresh)
    origin = {"folder": str(source), "digest": trained.digest}
    parts = None
    if fresh or not (folder / ACCURACIES).exists():
        # May fail, so before anything is made or removed.
        parts = _load(source, trained, image_progress)
    with claimed(folder, EVOLUTION, fresh=fresh):
        journal = _open(folder, wanted, origin)
        result = _finished(folder, wanted, retrain=retrain)
        if result is None:
            parts = (parts or _load(source, trained, image_progress)).to(where)
            check_same_device(folder, journal.device, where.type)
            journal.start(wanted, origin, where.type)
            session = Session(folder, trained, host, paths, journal, parts)
            session.evolve(progress)
            provenance = {
                "supernet": origin,
                "images": dict(trained.origin.images),
                "device": where.type,
                "versions": versions(),
                "command": _command(source, wanted, out, retrain=retrain),
            }
            if retrain and journal.retrained is None:
                session.retrain(retrain_progress)
            if journal.retrained is not None:
                remove_files(folder, [RETRAINING])
            result = session.result(provenance)
            remove_files(folder, [REPORT])  # of an earlier result; written below or later
            result.write(folder / RESULT)
        if not (folder / REPORT).exists():
            _write_report(folder)
    return result


def read_supernet(folder: Path) -> SupernetFile:
    """The finished supernet in a run folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is unfinished, cannot be read, or has weights that are infinite or NaN.
    """
    trained = SupernetFile.read(folder / SUPERNET_WEIGHTS)
    if not trained.finished:
        steps = trained.origin.settings.recipe.steps
        raise ValueError(
            f"the supernet in {folder} is unfinished, {trained.steps} of {steps} steps; the same "
            "asvit supernet train goes on with it"
        )
    check_finite(trained.weights, what=f"the weights of the supernet in {folder}")
    return trained


def default_folder(supernet: Path, settings: EvolutionSettings) -> Path:
    """Where an evolution with these settings runs unless another folder is named."""
    name = supernet.resolve().name.removeprefix("supernet-")
    return named_folder(f"evolution-{name}-seed{settings.seed}")


def _load(
    folder: Path, trained: SupernetFile, progress: Callable[[int, int], None] | None
) -> Splits:
    """The images that the supernet in ``folder`` was trained on.

    Raises:
        ValueError: If they are others by now.
        OSError: If they cannot be found.
    """
    parts = load_splits(trained.origin.settings, progress=progress)
    check_same_images(folder, trained.origin.images, parts.provenance)
    return parts


def _open(folder: Path, wanted: EvolutionSettings, origin: Mapping[str, str]) -> Journal:
    """The journal of the run in ``folder``, if that is this run or none.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings or
            another supernet.
    """
    journal = Journal(folder / ACCURACIES)
    if journal.supernet is not None and journal.supernet["digest"] != origin["digest"]:
        raise ValueError(
            f"run folder {folder} was started on another supernet: "
            f"{one_line(journal.supernet['folder'])}, digest "
            f"{one_line(journal.supernet['digest'][:12])} (now {origin['folder']}, digest "
            f"{origin['digest'][:12]}); {ELSEWHERE}"
        )
    check_same_settings(folder, journal.settings, wanted, growing=_MAY_GROW)
    return journal


def _finished(folder: Path, wanted: EvolutionSettings, *, retrain: bool) -> EvolutionResult | None:
    """The result in ``folder`` if it is that of ``wanted`` and has all that is asked for."""
    try:
        result = EvolutionResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the journal and is written again
    done = result.settings == wanted and not (retrain and result.retrained is None)
    return result if done and (folder / TRIALS).exists() else None


def _write_report(folder: Path) -> None:
    from asvit.report.evolution import write_evolution_report  # matplotlib, only needed here

    write_evolution_report(folder)


def _command(
    supernet: Path, settings: EvolutionSettings, out: Path | str | None, *, retrain: bool
) -> str:
    """The command line that gives this run."""
    words = changed_options(settings, EvolutionSettings())
    if retrain:
        words.append("--retrain")
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "supernet", "evolve", str(supernet), *words])
