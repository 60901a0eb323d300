"""Exports: a network written in another format, and verified before it is put in place."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from asvit.core.command_line import typed_options
from asvit.core.files import check_target, expanded, write_bytes, write_text
from asvit.core.run_files import PREDICT_SCRIPT, RESULT
from asvit.core.signatures import with_options
from asvit.core.versions import versions
from asvit.data.base import file_digest
from asvit.data.preparation import Preparation
from asvit.export.card import Exported, model_card, without_folders
from asvit.export.comparison import Difference, Example, compare, noise
from asvit.export.formats import FORMATS, README, Format, predict_script
from asvit.export.settings import ExportSettings
from asvit.export.writers import facts_of, graph_of, write_copy, write_graph
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import described, open_network, weights_path
from asvit.training.result import TrainResult
from asvit.use.architectures import find_architecture, run_folder
from proxies.counts import count

if TYPE_CHECKING:
    import onnx

    from asvit.export.int8 import Quantisation

Tell = Callable[[str], None]

_SEED = 0  # of random weights
_BATCHES = (1, 3)  # that a copy is compared on; other sizes than graphs are traced with
_SIZES = ((0.71, 1.13), (2.3, 1.57))  # of such pictures, over the side of the network's images


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
    tell = progress or (lambda _: None)
    settings = name_weights(ExportSettings.make(to=to, architecture=architecture, **options))
    form = FORMATS[settings.to]
    form.check_libraries()
    weights = None
    if settings.weights is not None and not settings.published:
        weights = weights_path(settings.weights)
    out = _place(settings, form, weights)
    script = out.with_name(PREDICT_SCRIPT) if settings.with_preprocessing else None
    tell("building the network")
    content = find_network(settings)
    if script is not None and not content.network.num_classes:
        raise ValueError(
            "--with-preprocessing gives probabilities of classes, and this network has none; "
            "leave it out"
        )
    network, model = content.network.merged(content.load())
    all_facts = without_folders({**content.facts, **(facts or {})})
    content = replace(content, network=network, weights=model.state_dict(), facts=all_facts)
    stored = None if weights is None else described(str(weights))
    with _part(form, out) as part:
        written = _write_verified(settings, form, part, model, content, weights, tell)
        files = sorted(part.iterdir()) if part.is_dir() else [part]
        digests = {file.name if part.is_dir() else out.name: file_digest(file) for file in files}
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
            versions={
                **{name: of for name, of in versions().items() if name not in ("numpy", "optuna")},
                **{name: version(name) for name in form.libraries},
            },
            command=shlex.join(["asvit", "export", *chain(*typed_options(settings))]),
        )
        _put_in_place(exported, part)
    if settings.force and not settings.card:
        form.remove_card(out)
    return exported


def name_weights(settings: ExportSettings) -> ExportSettings:
    """Take a run in the architecture's place for the one that it ended in, or for its weights.

    So is a file of weights. Errors are those of :func:`export_network`.
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
    if not s.published:
        with suppress(OSError, ValueError):  # not finished, or not a training's folder
            result = TrainResult.read(weights_path(s.weights).with_name(RESULT))
            if replace(result.network, image_size=content.network.image_size) == content.network:
                made = {
                    "command": result.provenance["command"],
                    "seconds": round(result.wall_seconds),
                }
                return replace(content, facts={**made, **content.facts})
    return content


def _place(settings: ExportSettings, form: Format, weights: Path | None) -> Path:
    """Where the copy may be written; by default beside the weights, under a name of its own."""
    if settings.out is not None:
        out = expanded(settings.out)
    else:
        assert weights is not None  # others need a name
        own = f"-{form.name}" if form.suffix in ("", weights.suffix) else ""
        out = weights.with_name(f"{weights.stem}{own}{'-int8' * settings.int8}{form.suffix}")
    if weights is not None and weights.exists() and out.exists() and out.samefile(weights):
        raise ValueError(f"{str(out)!r} is the file of weights itself; name another one")
    form.check_out(out, card=settings.card, force=settings.force)
    if settings.with_preprocessing:
        script = out.with_name(PREDICT_SCRIPT)
        check_target(script)
        if script.exists() and script.read_bytes() != predict_script() and not settings.force:
            raise FileExistsError(
                f"{str(script)!r} is not the script of such copies; give --out in another folder, "
                "or --force"
            )
    return out


class _Written(NamedTuple):
    """What is known of a copy that has been written and verified."""

    differences: tuple[Difference, ...]
    opset: int | None = None
    quantisation: Quantisation | None = None


def _write_verified(
    settings: ExportSettings,
    form: Format,
    path: Path,
    model: nn.Module,
    content: WeightsFile,
    weights: Path | None,
    tell: Tell,
) -> _Written:
    """Write a copy to ``path``, reload it in a new process, and compare it with the network.

    Of a copy in 8-bit integers, the one in float32 is compared, and both are judged on pictures.

    Raises:
        ValueError: If it differs from the network, or loses more than it may.
    """
    batch, examples = None, noise(content.network.image_shape, _BATCHES)
    if settings.with_preprocessing:
        batch, examples = 1, _pictures(content.preparation)

    def compared(copy: Path) -> tuple[Difference, ...]:
        tell("comparing the copy with the network, in a fresh process")
        return compare(model, form, copy, examples)

    def write(graph: onnx.ModelProto, copy: Path) -> int:
        """Write a graph, which prepares pictures itself if asked to."""
        if settings.with_preprocessing:
            from asvit.export.preprocessing import with_preprocessing  # imports ONNX

            graph = with_preprocessing(graph, content.preparation)
        return write_graph(graph, copy, about=facts_of(content))

    if form.name != "onnx":
        tell(f"writing {form.name}")
        write_copy(form, path, model=model, content=content)
        return _Written(compared(path))
    if not settings.int8:
        tell(f"writing {form.name}")
        opset = write(graph_of(model, content, batch=batch), path)
        return _Written(compared(path), opset)
    from asvit.export import int8  # opens pictures as trainings do

    int8.check_quantiser()
    pictures = int8.labelled_pictures(settings.data, weights, content)
    tell(f"writing {form.name}")
    graph = graph_of(model, content, batch=batch)
    with TemporaryDirectory(prefix="asvit-export-") as folder:
        exact = Path(folder, "float32.onnx")
        write(graph, exact)
        differences = compared(exact)
        images = int8.calibration(content, pictures.trained)
        tell(f"quantising with {len(images)} pictures")
        opset = write(int8.quantised(graph, images), path)
        quantisation = int8.judge(
            exact,
            path,
            content=content,
            pictures=pictures.others,
            calibrated=len(images),
            tolerance=settings.tolerance,
            progress=tell,
        )
    return _Written(differences, opset, quantisation)


def _pictures(prepare: Preparation) -> Sequence[Example]:
    """Pictures of odd sizes, for a copy that prepares them."""
    rng, side, kind = np.random.default_rng(0), prepare.image_size, prepare.kind
    sizes = [(max(1, round(high * side)), max(1, round(wide * side))) for high, wide in _SIZES]
    arrays = [rng.integers(0, 100, (*size, kind.channels)).astype(kind.dtype) for size in sizes]
    read = Image.fromarray if kind.picture else np.asarray
    return [(torch.from_numpy(array)[None], prepare(read(array))[None]) for array in arrays]


@contextmanager
def _part(form: Format, out: Path) -> Iterator[Path]:
    """Temporary path of the copy until it is verified."""
    part = out.with_name(f".{out.name}.part{form.suffix}")
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
    out, alone = exported.out, bool(exported.form.suffix)
    if exported.card is not None:
        write_text(exported.card if alone else part / README, model_card(exported))
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
