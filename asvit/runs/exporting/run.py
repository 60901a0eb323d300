"""Exporting a network: written, proved equal in a fresh process, and only then put in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asvit._files import expanded, write_text
from asvit.export.comparison import TOLERANCE, Difference, compare
from asvit.export.exported import Exported, model_card
from asvit.export.formats import FORMATS, README, Format
from asvit.export.writers import write_copy
from asvit.runs.exporting.settings import ExportSettings
from asvit.runs.exporting.source import find_source, name_weights
from asvit.runs.provenance import versions
from asvit.training.pretrained import weights_path
from proxies.counts import count

_BATCHES = (1, 3)  # other ones than the graphs are made with


def export_network(
    architecture: str | None = None,
    *,
    to: str,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> Exported:
    """Export a network, reload the copy in a fresh process, and compare the two.

    The copy is put in its place only when it has proved equal: its outputs on two batches of
    random images differ by at most 1e-4 of the largest. Otherwise nothing is left there.

    Args:
        architecture: Text of any space or family, or ``"timm:NAME"``; may be left out where the
            file of weights says it. A file or a run folder in its place is the weights.
        to: Format: ``"timm"``, ``"onnx"``, ``"pt2"`` or ``"safetensors"``.
        progress: Called with what is being done, in words.
        **settings: Other fields of :class:`asvit.runs.exporting.settings.ExportSettings`.

    Returns:
        What was exported, and how equal it proved.

    Raises:
        ValueError: If something asked for is wrong or does not suit, or the copy is not equal.
        FileNotFoundError: If there are no such weights, or no folder for the copy.
        FileExistsError: If a copy is there.
        OSError: If it cannot be written, or not be loaded again.
        ImportError: If a library is missing.
        TypeError: If there is no such setting.
    """
    asked = name_weights(ExportSettings(to, architecture, **settings))
    form = FORMATS[asked.to]
    form.check_libraries()
    weights = None if asked.weights is None else weights_path(asked.weights)
    out = _place(asked, form, weights)
    form.check_out(out, card=asked.card, force=asked.force)
    tell = progress or (lambda _: None)
    tell("building the network")
    source = find_source(asked)
    source = source.merged() if asked.merge else source
    model, content = source.model, source.content
    side = content.network.image_size
    with _part(form, out) as part:
        tell(f"writing {form.name}")
        opset = write_copy(
            form, part, model=model, content=content, batch=asked.batch, opset=asked.opset
        )
        tell("comparing the copy with the network, in a fresh process")
        batches = (asked.batch,) * 2 if asked.batch else _BATCHES
        differences = compare(model, form, part, image_size=side, batches=batches)
        _check_equal(differences)
        exported = Exported(
            content=content,
            form=form,
            out=out,
            cost=count(model, side),
            weights=weights,
            trained_size=source.trained_size,
            batch=asked.batch,
            opset=opset,
            differences=differences,
            card=form.card_path(out) if asked.card else None,
            versions=_versions(form),
            command=asked.command,
        )
        _put_in_place(exported, part)
    return exported


def _place(asked: ExportSettings, form: Format, weights: Path | None) -> Path:
    """Where the copy goes: beside the weights, under a name of its own, if nobody says."""
    if asked.out is not None:
        out = expanded(asked.out)
    elif weights is not None:
        own = f"-{form.name}" if form.suffix in ("", weights.suffix) else ""
        out = weights.with_name(f"{weights.stem}{own}{form.suffix}")
    else:
        raise ValueError("a copy of random weights needs a name; give --out")
    if weights is not None and weights.exists() and out.exists() and out.samefile(weights):
        raise ValueError(f"{str(out)!r} is the file of weights itself; name another one")
    return out


@contextmanager
def _part(form: Format, out: Path) -> Iterator[Path]:
    """Where the copy waits until it is proved; nothing stays there."""
    part = form.part_path(out)
    _remove(part)  # of an export that was killed
    try:
        yield part
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_equal(differences: Sequence[Difference]) -> None:
    for one in differences:
        if not one.equal:
            raise ValueError(
                f"the copy is not equal: on {one.batch} image(s) outputs differ by "
                f"{one.relative:.2g} of the largest, more than {TOLERANCE:g}; nothing was written"
            )


def _put_in_place(exported: Exported, part: Path) -> None:
    """Move the copy from ``part`` to its place, with its card."""
    out = exported.out
    if exported.form.suffix:
        if exported.card is not None:
            write_text(exported.card, model_card(exported))
        part.replace(out)
        return
    if exported.card is not None:
        write_text(part / README, model_card(exported))
    old = out.with_name(f".{out.name}.old")
    _remove(old)
    if out.exists():
        out.rename(old)  # a folder with files in it cannot be replaced in one step
    part.rename(out)
    _remove(old)


def _versions(form: Format) -> dict[str, str]:
    """Versions of what made the copy."""
    ours = {name: number for name, number in versions().items() if name != "optuna"}
    return {**ours, **{name: version(name) for name in form.libraries}}
