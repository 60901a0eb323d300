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
from torch import nn

from asvit.core.files import check_target, expanded, sync_folder, write_text
from asvit.core.run_files import PREDICT_SCRIPT, RESULT
from asvit.core.signatures import with_options
from asvit.core.versions import versions
from asvit.data.base import file_digest
from asvit.export.exported import Exported, model_card, without_folders
from asvit.export.formats import FORMATS, README, Format
from asvit.export.script import script_for
from asvit.export.settings import ExportSettings
from asvit.networks import Network, WeightsFile, read_state
from asvit.runs.architectures import find_architecture, run_folder
from asvit.runs.command_line import typed_options
from asvit.runs.copying import Copies
from asvit.runs.timm_classifiers import timm_facts
from asvit.spaces.architectures import canonical
from asvit.training.pretrained import load_pretrained, unequal_classes, weights_path
from asvit.training.result import TrainResult
from proxies.counts import count

_SEED = 0  # of random weights
_OURS = ".safetensors"  # other files never record their network
# The network with its facts; itself, on the CPU and in evaluation mode; and the image size in
# pixels that its file of weights was trained for, None if it does not record it.
Source = tuple[WeightsFile, nn.Module, int | None]
_OF_NETWORK = ("num_classes", "attention", "ffn")


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
    weights = None if settings.weights is None else weights_path(settings.weights)
    out = _place(settings, form, weights)
    form.check_out(out, card=settings.card, force=settings.force)
    script = out.with_name(PREDICT_SCRIPT) if settings.with_preprocessing else None
    tell = progress or (lambda _: None)
    tell("building the network")
    content, model, trained_size = find_source(settings)
    content = replace(content, facts=without_folders({**content.facts, **(facts or {})}))
    network = content.network
    if settings.with_preprocessing and not network.num_classes:
        raise ValueError(
            "--with-preprocessing gives probabilities of classes, and this network has none; "
            "leave it out"
        )
    if script is not None and not settings.force:
        _check_script(script, content)
    network, model = network.merged(model)
    content = replace(content, network=network, weights=model.state_dict())
    with _part(form, out) as part:
        written = Copies(settings, form, content, model, weights, tell).write(part)
        digests = _digests(part, out)
        if script is not None:
            words = script_for(content.preparation.kind)
            digests[script.name] = hashlib.sha256(words.encode()).hexdigest()
        exported = Exported(
            content=content,
            form=form,
            out=out,
            cost=count(model, network.image_size, network.in_chans),
            weights=weights,
            trained_size=trained_size,
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
    if settings.force and script is None and form.name == "onnx":
        _remove_script(out, content)
    return exported


def _place(settings: ExportSettings, form: Format, weights: Path | None) -> Path:
    """Path of the copy; by default beside the weights, under a name of its own."""
    if settings.out is not None:
        out = expanded(settings.out)
    else:
        assert weights is not None  # random ones need a name
        own = f"-{form.name}" if form.suffix in ("", weights.suffix) else ""
        own += "-int8" * settings.int8
        out = weights.with_name(f"{weights.stem}{own}{form.suffix}")
    if weights is not None and weights.exists() and out.exists() and out.samefile(weights):
        raise ValueError(f"{str(out)!r} is the file of weights itself; name another one")
    return out


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


def _check_script(path: Path, content: WeightsFile) -> None:
    """Check that no other file stands where the script of a copy belongs.

    Such as the script of copies for images of another kind.
    """
    check_target(path)
    words = script_for(content.preparation.kind)
    if path.exists() and path.read_bytes() != words.encode():
        raise FileExistsError(
            f"{str(path)!r} is not the script of such copies; give --out in another folder, or "
            "--force"
        )


def _remove_script(out: Path, content: WeightsFile) -> None:
    """Remove the script of an earlier copy at ``out``, which does not run this one.

    It stays where other copies are beside it.
    """
    script = out.with_name(PREDICT_SCRIPT)
    alone = list(out.parent.glob(f"*{out.suffix}")) == [out]
    with suppress(OSError, ValueError):  # there is none, or no such copy of the network
        words = script_for(content.preparation.kind)
        if alone and script.read_bytes() == words.encode():
            script.unlink()


def _put_in_place(exported: Exported, part: Path) -> None:
    """Move the copy from ``part`` to its place, and write its card and script."""
    out, card, alone = exported.out, exported.card, bool(exported.form.suffix)
    if card is not None:
        write_text(card if alone else part / README, model_card(exported))
    if exported.script is not None:
        write_text(exported.script, script_for(exported.content.preparation.kind))
    old = out.with_name(f".{out.name}.old")
    if not alone:  # a non-empty folder cannot be replaced in one step
        _remove(old)
        if out.exists():
            out.rename(old)
    part.replace(out)
    sync_folder(out.parent)
    if not alone:
        _remove(old)


def _digests(part: Path, out: Path) -> dict[str, str]:
    """SHA-256 of the file or files at ``part`` under the names that they have at ``out``."""
    files = (
        {file.name: file for file in sorted(part.iterdir())} if part.is_dir() else {out.name: part}
    )
    return {name: file_digest(path) for name, path in files.items()}


def _versions(form: Format) -> dict[str, str]:
    """Versions of the libraries involved."""
    unused = ("numpy", "optuna")
    ours = {name: number for name, number in versions().items() if name not in unused}
    return {**ours, **{name: version(name) for name in form.libraries}}


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


def find_source(settings: ExportSettings) -> Source:
    """Load the network to export."""
    path = None if settings.weights is None else weights_path(settings.weights)
    content = None if path is None else _described(settings, path)
    if path is None or content is None:
        return _plain(settings, path)
    stored = content.network
    _check_same(settings, stored, path)
    network = replace(stored, image_size=settings.image_size or stored.image_size)
    with torch.random.fork_rng([]):
        model = network.build()
    load_pretrained(model, str(path), new_head=False)  # resamples positions
    facts = {**_run_facts(path, stored), **content.facts}
    content = replace(content, network=network, weights=model.state_dict(), facts=facts)
    return content, model.eval(), stored.image_size


def _run_facts(path: Path, stored: Network) -> dict[str, Any]:
    """Facts from the training's result beside its weights."""
    try:
        result = TrainResult.read(path.with_name(RESULT))
    except (FileNotFoundError, ValueError):
        return {}  # not finished, or not a training's folder
    if result.network != stored:
        return {}
    return {"command": result.provenance["command"], "seconds": round(result.wall_seconds)}


def _plain(settings: ExportSettings, path: Path | None) -> Source:
    """A network with random weights, or of a file without a header, whose head has the classes."""
    weights = {} if path is None else read_state(path)
    network = _named(settings, settings.num_classes)
    with torch.random.fork_rng([]):
        torch.manual_seed(_SEED)
        model = network.build()
    if (numbers := unequal_classes(model, weights)) is not None:
        if settings.num_classes is not None:
            raise ValueError(
                f"{path} is for {numbers[0]} classes, not {settings.num_classes}; leave them out"
            )
        network = _named(settings, numbers[0])
        with torch.random.fork_rng([]):
            model = network.build()
    facts: Mapping[str, Any] = {}
    if path is not None:
        load_pretrained(model, str(path), new_head=False)
        facts = timm_facts(network)
    return WeightsFile(network, model.state_dict(), facts=facts), model.eval(), None


def _named(settings: ExportSettings, num_classes: int | None) -> Network:
    """The network that the settings describe."""
    sizes = {"image_size": settings.image_size, "num_classes": num_classes}
    return Network(
        str(settings.architecture),
        attention=settings.attention,
        ffn=settings.ffn,
        **{name: size for name, size in sizes.items() if size is not None},
    )


def _described(settings: ExportSettings, path: Path) -> WeightsFile | None:
    """Read weights with a header; None if there is none and the settings have the network."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights {str(path)!r}")
    named, ours = settings.architecture is not None, path.suffix == _OURS
    if not named and not ours:
        raise ValueError(f"{path} does not say which network it is of; name the architecture")
    try:
        return WeightsFile.read(path) if ours else None
    except ValueError:
        if not named:
            raise
        return None  # weights without a header; reading these reports a damaged file


def _check_same(settings: ExportSettings, stored: Network, path: Path) -> None:
    """Check that the file holds the network that the settings name."""
    text = settings.architecture
    named = {
        "architecture": None if text is None else canonical(text),
        **{name: getattr(settings, name) for name in _OF_NETWORK},
    }
    for name, value in named.items():
        there = getattr(stored, name)
        if value is not None and value != there:
            raise ValueError(f"{path} has {name} {there!r}, not {value!r}; leave it out")
