"""Exports: a network written in another format, and verified before it is put in place."""

import hashlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from asvit.core.command_line import typed_options
from asvit.core.files import check_target, expanded, write_bytes, write_text
from asvit.core.run_files import PREDICT_SCRIPT, RESULT
from asvit.core.signatures import with_options
from asvit.core.versions import versions
from asvit.data.base import file_digest
from asvit.export.card import model_card
from asvit.export.copying import write_verified
from asvit.export.exported import Exported, without_folders
from asvit.export.formats import FORMATS, README, Format, predict_script
from asvit.export.settings import ExportSettings
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import described, open_network, weights_path
from asvit.training.result import TrainResult
from asvit.use.architectures import find_architecture, run_folder
from proxies.counts import count

_SEED = 0  # of random weights


@with_options(ExportSettings)
def export_network(
    architecture: str | None = None,
    *,
    to: str,
    facts: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Exported:
    """Export a network, reload the copy in a new process, and compare the two.

    The copy is put in place only if its outputs on two batches of random images differ from the
    network's by at most 1e-4 of the largest, or, of a quantised one, if it loses no more accuracy
    than ``tolerance`` on pictures that the network was not trained on. Otherwise nothing is
    written.

    Args:
        architecture: Text of any space or family, or ``"timm:NAME"``; not needed if the file of
            weights records it. A file or a run folder in its place is taken for the weights.
        to: Format: ``"timm"``, ``"onnx"``, ``"pt2"`` or ``"safetensors"``.
        facts: More of what the copy and its card say of the network, of JSON types.
        progress: Called with each step, in words.

    Returns:
        The result, with the differences that were found.

    Raises:
        ValueError: If a setting is not allowed, the weights do not fit, or the copy differs.
        FileNotFoundError: If the weights, or the folder for the copy, do not exist.
        FileExistsError: If a copy exists.
        OSError: If the copy cannot be written, or cannot be loaded.
        ImportError: If a library is missing.
        TypeError: If there is no such setting.

    Example:
        >>> exported = asvit.export_network(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", to="safetensors", random=True, image_size=32,
        ...     out="network.safetensors",
        ... )
        >>> exported.out.exists()
        True
    """
    settings = name_weights(ExportSettings.make(to=to, architecture=architecture, **options))
    form = FORMATS[settings.to]
    form.check_libraries()
    weights = None
    if settings.weights is not None and not settings.published:
        weights = weights_path(settings.weights)
    out = _place(settings, form, weights)
    form.check_out(out, card=settings.card, force=settings.force)
    script = out.with_name(PREDICT_SCRIPT) if settings.with_preprocessing else None
    if script is not None:
        _check_script(script, force=settings.force)
    tell = progress or (lambda _: None)
    tell("building the network")
    content = find_network(settings)
    if settings.with_preprocessing and not content.network.num_classes:
        raise ValueError(
            "--with-preprocessing gives probabilities of classes, and this network has none; "
            "leave it out"
        )
    network, model = content.network.merged(content.load())
    content = replace(
        content,
        network=network,
        weights=model.state_dict(),
        facts=without_folders({**content.facts, **(facts or {})}),
    )
    stored = None if weights is None else described(str(weights))
    with _part(form, out) as part:
        written = write_verified(
            settings, form, part, model=model, content=content, weights=weights, tell=tell
        )
        digests = _digests(part, out)
        if script is not None:
            digests[script.name] = hashlib.sha256(predict_script()).hexdigest()
        exported = Exported(
            content=content,
            form=form,
            out=out,
            cost=count(model, network.image_size, network.in_chans),
            weights=Path(str(settings.weights)) if settings.published else weights,
            trained_size=None if stored is None else stored.network.image_size,
            batch=1 if settings.with_preprocessing else None,
            opset=written.opset,
            differences=written.differences,
            quantisation=written.quantisation,
            digests=digests,
            card=form.card_path(out) if settings.card else None,
            script=script,
            versions=_versions(form),
            command=shlex.join(["asvit", "export", *chain(*typed_options(settings))]),
        )
        _put_in_place(exported, part)
    if settings.force and not settings.card:
        form.remove_card(out)
    return exported


def name_weights(settings: ExportSettings) -> ExportSettings:
    """Take a run in the architecture's place for the one that it ended in, or for its weights.

    So is a file of weights.

    Raises:
        ValueError: If there are no weights, or it is no architecture.
        FileNotFoundError: If there is no such run, or it has not finished.
    """
    if settings.architecture is None:
        return settings
    text, folder = settings.architecture, run_folder(settings.architecture)
    if settings.random or settings.weights is not None:
        return replace(settings, architecture=find_architecture(text).text)
    if folder is not None and (folder / RESULT).exists() and not weights_path(text).exists():
        kind = (find_architecture(text).by or {})["kind"]
        training = shlex.join(["asvit", "train", str(folder)])
        raise ValueError(
            f"{folder}, a {kind}, has no weights; train it first ({training}), or give --random"
        )
    if not expanded(text).exists():
        raise ValueError(
            f"no weights of {find_architecture(text).text} are named; give --weights a file or a "
            "run folder, or --random"
        )
    return replace(settings, architecture=None, weights=text)


def find_network(s: ExportSettings) -> WeightsFile:
    """The network to export, with what its training says of it."""
    sizes: dict[str, Any] = {"image_size": s.image_size, "num_classes": s.num_classes}
    if s.weights is None:
        given = {name: size for name, size in sizes.items() if size is not None}
        network = Network(str(s.architecture), **given)
        with torch.random.fork_rng([]):
            torch.manual_seed(_SEED)
            return WeightsFile(network, network.build().state_dict())
    content = open_network(s.weights, architecture=s.architecture, **sizes)
    if s.published:
        return content
    with suppress(OSError, ValueError):  # not finished, or not a training's folder
        result = TrainResult.read(weights_path(s.weights).with_name(RESULT))
        if replace(result.network, image_size=content.network.image_size) == content.network:
            facts = {
                "command": result.provenance["command"],
                "seconds": round(result.wall_seconds),
            }
            return replace(content, facts={**facts, **content.facts})
    return content


def _place(settings: ExportSettings, form: Format, weights: Path | None) -> Path:
    """Path of the copy; by default beside the weights, under a name of its own."""
    if settings.out is not None:
        out = expanded(settings.out)
    else:
        assert weights is not None  # others need a name
        own = f"-{form.name}" if form.suffix in ("", weights.suffix) else ""
        own += "-int8" * settings.int8
        out = weights.with_name(f"{weights.stem}{own}{form.suffix}")
    if weights is not None and weights.exists() and out.exists() and out.samefile(weights):
        raise ValueError(f"{str(out)!r} is the file of weights itself; name another one")
    return out


def _check_script(path: Path, *, force: bool) -> None:
    """Check that no other file stands where the script of a copy belongs."""
    check_target(path)
    if path.exists() and path.read_bytes() != predict_script() and not force:
        raise FileExistsError(
            f"{str(path)!r} is not the script of such copies; give --out in another folder, or "
            "--force"
        )


@contextmanager
def _part(form: Format, out: Path) -> Iterator[Path]:
    """Temporary path of the copy until it is verified."""
    part = form.part_path(out)
    _remove(part)  # left by an export that was killed
    try:
        yield part
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _put_in_place(exported: Exported, part: Path) -> None:
    """Move the copy from ``part`` to its place, and write its card and script."""
    out, card, alone = exported.out, exported.card, bool(exported.form.suffix)
    if card is not None:
        write_text(card if alone else part / README, model_card(exported))
    if exported.script is not None:
        write_bytes(exported.script, predict_script())
    old = out.with_name(f".{out.name}.old")
    if not alone:  # a non-empty folder cannot be replaced in one step
        _remove(old)
        if out.exists():
            out.rename(old)
    part.replace(out)
    if not alone:
        _remove(old)


def _digests(part: Path, out: Path) -> dict[str, str]:
    """SHA-256 of the file or files at ``part`` under the names that they have at ``out``."""
    if not part.is_dir():
        return {out.name: file_digest(part)}
    return {file.name: file_digest(file) for file in sorted(part.iterdir())}


def _versions(form: Format) -> dict[str, str]:
    """Versions of the libraries involved."""
    unused = ("numpy", "optuna")
    ours = {name: number for name, number in versions().items() if name not in unused}
    return {**ours, **{name: version(name) for name in form.libraries}}
