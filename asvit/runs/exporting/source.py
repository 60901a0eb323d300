"""The network to export: from a file of weights that says what it is, or from what is typed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asvit._files import expanded
from asvit._run_files import RESULT
from asvit.export.writers import classifier_name
from asvit.networks import Network, WeightsFile, read_state
from asvit.runs.exporting.settings import ExportSettings
from asvit.runs.training.result import TrainResult
from asvit.spaces.architectures import canonical
from asvit.training.pretrained import load_pretrained, weights_path

_SEED = 0  # of random weights
_OURS = ".safetensors"  # other files never say which network they are of


@dataclass(frozen=True)
class Source:
    """A network with its weights, to be exported.

    Attributes:
        content: The network, its weights and what is known of it.
        model: The network itself, on the CPU and in evaluation mode.
        trained_size: Side of the images that the file was made for; None where it does not say.
    """

    content: WeightsFile
    model: nn.Module
    trained_size: int | None

    def merged(self) -> Source:
        """The same in the form for inference."""
        network, model = self.content.network.merged(self.model)
        content = replace(self.content, network=network, weights=model.state_dict())
        return replace(self, content=content, model=model)


def name_weights(settings: ExportSettings) -> ExportSettings:
    """The settings with a file or a folder in the architecture's place put where it belongs.

    Raises:
        ValueError: If no weights are named then.
    """
    if settings.random or settings.weights is not None:
        return settings
    text = str(settings.architecture)
    if not expanded(text).exists():
        raise ValueError(
            f"no weights of {text} are named; give --weights a file or a run folder, or --random"
        )
    return replace(settings, architecture=None, weights=text)


def find_source(settings: ExportSettings) -> Source:
    """The network that is asked for.

    Raises:
        FileNotFoundError: If there is no such file of weights.
        ValueError: If it cannot be read, does not say which network it is of and nobody does, or
            is of another network than the one named.
    """
    if settings.weights is None:
        return _random(settings)
    path = weights_path(settings.weights)
    content = _described(settings, path)
    if content is None:
        return _plain(settings, path)
    stored = content.network
    _check_same(settings, stored, path)
    network = replace(stored, image_size=settings.image_size or stored.image_size)
    model = network.build()
    load_pretrained(model, str(path), new_head=False)  # for another size, positions are resampled
    facts = {**_told_by_run(path, stored), **content.facts}
    content = replace(content, network=network, weights=model.state_dict(), facts=facts)
    return Source(content, model.eval(), stored.image_size)


def _told_by_run(path: Path, stored: Network) -> dict[str, Any]:
    """What the result beside a training's weights adds to what they say themselves."""
    try:
        result = TrainResult.read(path.with_name(RESULT))
    except (FileNotFoundError, ValueError):
        return {}  # not finished, or no folder of a training
    if result.network != stored:
        return {}
    return {"command": result.provenance["command"], "seconds": round(result.wall_seconds)}


def _random(settings: ExportSettings) -> Source:
    network = _named(settings, settings.num_classes)
    with torch.random.fork_rng([]):
        torch.manual_seed(_SEED)
        model = network.build().eval()
    return Source(WeightsFile(network, model.state_dict()), model, None)


def _plain(settings: ExportSettings, path: Path) -> Source:
    """A network of a file that holds weights alone, which tell how many classes there are."""
    weights = read_state(path)
    network = _named(settings, settings.num_classes)
    model = network.build()
    head = weights.get(f"{classifier_name(model)}.weight")
    if head is not None and head.numel() and len(head) != network.num_classes:
        if settings.num_classes is not None:
            raise ValueError(
                f"{path} is for {len(head)} classes, not {settings.num_classes}; leave them out"
            )
        network = _named(settings, len(head))
        model = network.build()
    load_pretrained(model, str(path), new_head=False)
    return Source(WeightsFile(network, model.state_dict()), model.eval(), None)


def _named(settings: ExportSettings, num_classes: int | None) -> Network:
    """The network of what is typed."""
    sizes = {"image_size": settings.image_size, "num_classes": num_classes}
    return Network(
        str(settings.architecture),
        attention=settings.attention,
        ffn=settings.ffn,
        branches=settings.branches or 0,
        **{name: size for name, size in sizes.items() if size is not None},
    )


def _described(settings: ExportSettings, path: Path) -> WeightsFile | None:
    """What the file at ``path`` says it holds; None if it does not, and the text is named."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights {str(path)!r}")
    if settings.architecture is None and path.suffix != _OURS:
        raise ValueError(f"{path} does not say which network it is of; name the architecture")
    if path.suffix != _OURS:
        return None
    try:
        return WeightsFile.read(path)
    except ValueError:
        if settings.architecture is None:
            raise
        return None  # weights alone; reading these says so if it is damaged


def _check_same(settings: ExportSettings, stored: Network, path: Path) -> None:
    """Make sure that the file is of the network that is named."""
    text = settings.architecture
    named = {
        "architecture": None if text is None else canonical(text),
        **{name: getattr(settings, name) for name in _OF_NETWORK},
    }
    for name, value in named.items():
        there = getattr(stored, name)
        if value is not None and value != there:
            raise ValueError(f"{path} has {name} {there!r}, not {value!r}; leave it out")


_OF_NETWORK = ("num_classes", "attention", "ffn", "branches")
