"""Pictures of where the attention of a network looks, and of the tokens that pooling leaves."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from asvit.core.files import check_target, expanded, oddity, write_bytes
from asvit.core.run_files import figure_files
from asvit.data.kinds import PICTURES
from asvit.data.preparation import Preparation, visible
from asvit.export.settings import ExportSettings
from asvit.models.psvit import PSViT
from asvit.report.attention_maps import CellMaps, cell_picture, layer_maps, token_maps
from asvit.report.html import write_files
from asvit.report.pictures import Picture
from asvit.report.style import thinned
from asvit.runs.exporting import find_source, name_weights
from asvit.runs.predicting import find_pictures
from asvit.training.pretrained import weights_path
from proxies.text import listed, shown

_LAYERS = 4  # unless some are named
_KINDS = ("png", "svg", "pdf", "jpg")  # of a file, by its ending
_DPI = 200


def attention_maps(
    network: str | Path | nn.Module,
    images: str | Path | Iterable[str | Path],
    *,
    layers: str | int | Sequence[str | int] = (),
    query: tuple[int, int] | None = None,
    image_size: int | None = None,
    weights: str | None = None,
    attention: str | None = None,
    ffn: str | None = None,
) -> list[Picture]:
    """Pictures of where the heads of a network look in images; of a PSViT, of its tokens, too.

    Args:
        network: A module, a text, or what ``asvit export`` takes for weights. Without weights a
            network is freshly initialised, always alike.
        images: Files of pictures, or one of them; folders stand for all pictures in them.
        layers: Attention layers by number from 0, from the end if negative, or by the name of a
            module that they are or are in, or one of them; by default four from the first to the
            last.
        query: As :func:`asvit.report.attention_maps.layer_maps`.
        image_size: Side of the images in pixels; by default that of the weights, else 224.
        weights: File of weights, or run folder of a training or design.
        attention: ``"hallucinated"``, as of :func:`asvit.export_network`.
        ffn: ``"compact"``, likewise.

    Raises:
        ValueError: As there; also if a layer does not exist, a file cannot be read, or a module
            does not take 8-bit RGB pictures.
        FileNotFoundError: If pictures or weights do not exist.

    Example:
        >>> pictures = asvit.attention_maps("timm:vit_tiny_patch16_224", ["pictures/cat/0.png"])
        >>> pictures[0].name
        '0-maps'
    """
    facts: Any = {}
    if isinstance(network, nn.Module):
        model, size, channels = network, image_size or 224, _channels(network)
    else:
        text = str(network)
        settings = ExportSettings(
            "timm",
            text,
            weights,
            random=not (weights or weights_path(text).is_file()),
            out=text,
            image_size=image_size,
            attention=attention,
            ffn=ffn,
        )
        content, model, _ = find_source(name_weights(settings))
        channels, size, _ = content.network.image_shape
        facts = content.facts
    paths = list(find_pictures(images))
    wanted = [layers] if isinstance(layers, str | int) else layers
    unique = len({path.stem for path in paths}) == len(paths)
    prepare, pictures = Preparation.of(size, channels, facts), []
    for place, path in enumerate(paths):
        name = path.stem if unique else f"{place}-{path.stem}"
        cropped = prepare.read(path)
        pixels, image = visible(cropped), prepare.normalise(cropped)
        maps = layer_maps(model, image[None], query)
        named = [cells for layer in wanted for cells in _named(maps, str(layer))]
        pictures.append(cell_picture(f"{name}-maps", pixels, named or thinned(maps, _LAYERS)))
        if isinstance(model, PSViT):
            tokens = token_maps(model, image[None])
            pictures.append(cell_picture(f"{name}-tokens", pixels, [tokens]))
    return pictures


def _channels(model: nn.Module) -> int:
    """Channels of the images of a module, which must be those of pictures."""
    convolutions = (part for part in model.modules() if isinstance(part, nn.Conv2d))
    channels = next((part.in_channels for part in convolutions), PICTURES.channels)
    if channels != PICTURES.channels:
        raise ValueError(
            f"{type(model).__name__} takes {channels} channel(s), and a module does not say of "
            "what images; give its file of weights"
        )
    return channels


def write_pictures(pictures: Sequence[Picture], out: str) -> list[Path]:
    """Write pictures and their rows into a folder, or the only picture as a file.

    Raises:
        FileExistsError: If one of the files is there.
        ValueError: If several pictures are to be one file.
    """
    place = expanded(out)
    kind = place.suffix[1:].lower()
    if kind in _KINDS and not place.is_dir():
        return [_write_file(pictures, place, kind)]
    for path in map(place.joinpath, figure_files(picture.name for picture in pictures)):
        if path.exists() or oddity(path):
            raise FileExistsError(f"{path} exists; give another folder")
    place.mkdir(parents=True, exist_ok=True)
    return write_files(place, pictures)


def _write_file(pictures: Sequence[Picture], path: Path, kind: str) -> Path:
    if len(pictures) != 1:
        names = listed(picture.name for picture in pictures)
        raise ValueError(
            f"{path} is one file, and there are {len(pictures)} pictures ({names}); give a folder"
        )
    if path.exists() or oddity(path):
        raise FileExistsError(f"{path} exists; give another file")
    check_target(path)
    content = io.BytesIO()
    pictures[0].savefig(content, format=kind, dpi=_DPI)
    write_bytes(path, content.getvalue())
    return path


def _named(maps: Sequence[CellMaps], layer: str) -> list[CellMaps]:
    """The layers that a number or the name of a module stands for."""
    numbers = [str(place) for place in (*range(len(maps)), *range(-len(maps), 0))]
    if layer in numbers:
        return [maps[int(layer)]]
    inside = [cells for cells in maps if f"{cells.name}.".startswith(f"{layer}.")]
    if not inside:
        last = f"{len(maps) - 1} or a module's name, such as {maps[-1].name}"
        raise ValueError(f"no attention layer {shown(layer)}; use 0 to {last}")
    return inside
