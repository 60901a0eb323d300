"""Opens trained networks: of run folders, files of weights, copies, or as timm publishes them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from asvit.core.codec import MALFORMED
from asvit.core.files import expanded
from asvit.core.run_files import INHERITED, MODEL, RESULT
from asvit.core.tensor_files import read_header
from asvit.data.kinds import PICTURES
from asvit.data.preparation import CROP_MODES, PREPARATION
from asvit.data.statistics import Normalisation
from asvit.networks.network import Network
from asvit.networks.weights import WeightsFile, load_state, read_state, resampled
from asvit.spaces.architectures import canonical
from asvit.spaces.timm_models import PREFIX, TimmModel
from proxies.messages import first_line, unknown
from proxies.text import listed, one_line

_LONGEST = 120  # characters of the reason of a failed download


def open_network(
    weights: str,
    *,
    architecture: str | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
) -> WeightsFile:
    """A trained network with its weights, classes and preparation of images.

    Args:
        weights: Run folder of a training or design, file of weights, copy for timm, or
            ``"timm:NAME"`` for the weights that timm publishes, which are downloaded once.
        architecture: Network of a file that does not say it; it is prepared for as timm does
            where it is timm's. This and the next may repeat what a file says, but not differ.
        image_size: Side in pixels, by default that of the weights, else timm's or 224; positions
            are resampled.
        num_classes: Classes of a file that does not say them, by default as many as it has.

    Raises:
        FileNotFoundError: If there are no such weights, or they cannot be downloaded.
        ValueError: If they cannot be read, do not say which network they are of, or are of
            another one.
    """
    if weights.startswith(PREFIX):
        return _published(weights, image_size)
    path = weights_path(weights)
    try:
        content = WeightsFile.read(path)
    except ValueError:
        if architecture is None:
            raise
        return _unnamed(path, Network(architecture), image_size, num_classes)
    named = None if architecture is None else canonical(architecture)
    for name, value in (("architecture", named), ("num_classes", num_classes)):
        there = getattr(content.network, name)
        if value not in (None, there):
            raise ValueError(
                f"{path} has {name} {there!r}, not {value!r}; leave it out, or name other weights"
            )
    return _resized(content, image_size or content.network.image_size)


def _published(text: str, image_size: int | None) -> WeightsFile:
    """A model of timm's; classes of ImageNet have the names of its folders (``n01440764``)."""
    named = TimmModel.parse(text)
    model: Any = load_published(named)
    architecture = str(replace(named, name=named.name.partition(".")[0]))
    facts, side = _preparation_facts(model.pretrained_cfg)
    subset = infer_imagenet_subset(model)
    classes = tuple(ImageNetInfo(subset).label_names()) if subset else ()
    network = Network(architecture, side, model.num_classes)
    content = WeightsFile(network, model.state_dict(), classes, facts)
    return _resized(content, image_size or side)


def _unnamed(
    path: Path, network: Network, image_size: int | None, num_classes: int | None
) -> WeightsFile:
    """The network of a file that does not say it; its head has the number of classes."""
    weights = read_state(path)
    facts: Mapping[str, Any] = {}
    side = network.image_size
    if network.architecture.startswith(PREFIX):
        facts, side = timm_preparation(network.architecture)
    classes = network.num_classes if num_classes is None else num_classes
    network = replace(network, image_size=image_size or side, num_classes=classes)
    with torch.random.fork_rng([]):
        model = network.build()
        if (numbers := _unequal_classes(model, weights)) is not None:
            if num_classes is not None:
                raise ValueError(
                    f"{path} is for {numbers[0]} classes, not {num_classes}; leave them out"
                )
            network = replace(network, num_classes=numbers[0])
            model = network.build()
    weights = resampled(model, weights)
    load_state(model, weights, what=f"the weights of {path}")
    return WeightsFile(network, weights, facts=facts)


def _resized(content: WeightsFile, image_size: int) -> WeightsFile:
    """The same for another image size."""
    if image_size == content.network.image_size:
        return content
    network = replace(content.network, image_size=image_size)
    with torch.random.fork_rng([]):
        weights = resampled(network.build(), content.weights)
    return replace(content, network=network, weights=weights)


def weights_path(text: str) -> Path:
    """The file of weights at a path, which may be a run folder or its result.json."""
    path = expanded(text)
    path = path.parent if path.name == RESULT else path
    if not path.is_dir():
        return path
    candidates = (path / name for name in (MODEL, INHERITED))
    return next((candidate for candidate in candidates if candidate.exists()), path / MODEL)


def described(text: str) -> WeightsFile | None:
    """What a file of weights or run folder says of itself, without weights; None if nothing."""
    with suppress(OSError, SafetensorError, *MALFORMED):
        return WeightsFile.described(read_header(weights_path(text)), {})
    return None


def architecture_in(text: str) -> str:
    """The architecture of a file of weights or run folder; nothing if it says none, or is gone."""
    content = described(text)
    return "" if content is None else content.network.architecture


def load_pretrained(
    model: nn.Module, text: str, *, new_head: bool, classes: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Load the weights of a file or run folder; returns the names of those that were not loaded.

    Position embeddings and relative position bias tables of another grid are resampled (bicubic).
    With ``new_head`` the model keeps its classifier, also where the file's has the same shape;
    else it must be for these ``classes``, where both name theirs.
    """
    path = weights_path(text)
    stored = read_state(path)
    left_out = _head_names(model) if new_head else ()
    body = {name: tensor for name, tensor in stored.items() if name not in left_out}
    weights = resampled(model, body)
    if (numbers := _unequal_classes(model, weights)) is not None:
        raise ValueError(
            f"the weights of {path} are for {numbers[0]} classes, the images have {numbers[1]}; "
            "give --new-head to start with a fresh classifier"
        )
    file = None if new_head or not classes else described(text)
    if file is not None and file.classes not in ((), classes):
        raise ValueError(
            f"the classifier in {path} is for other classes than the images, or for these in "
            f"another order: {listed(file.classes)}; give --new-head to start with a fresh one"
        )
    return load_state(model, weights, what=f"the weights of {path}", may_lack=left_out)


def _unequal_classes(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """For how many classes weights are, and for how many the model; None if for as many."""
    own = model.state_dict()
    for name in [name for name in _head_names(model) if name in own and name in weights]:
        there, here = weights[name].shape[:1], own[name].shape[:1]
        if there and here and there != here:  # load_state will refuse those without dimensions
            return there[0], here[0]
    return None


def _head_names(model: Any) -> tuple[str, ...]:
    """Names of the weights of the classifier, or of both classifiers."""
    classifier = model.get_classifier() if hasattr(model, "get_classifier") else ()
    heads = classifier if isinstance(classifier, tuple) else (classifier,)
    return tuple(
        f"{name}.{weight}"
        for name, module in model.named_modules()
        if any(module is head for head in heads)
        for weight, _ in module.named_parameters()
    )


def picture_statistics(text: str, architecture: str) -> Normalisation | None:
    """How pictures of 8-bit RGB are normalised for weights; None if as ImageNet's.

    A file or run folder of ours says it. One of timm's has the weights of a ``timm:`` architecture
    as timm publishes them.
    """
    own: Any = None
    if (file := described(text)) is not None:
        own = file.preparation if file.preparation.kind.picture else None
    elif architecture.startswith(PREFIX):
        own = timm.get_pretrained_cfg(TimmModel.parse(architecture).name)
    if own is None or len(own.mean) != PICTURES.channels:
        return None
    statistics = Normalisation(tuple(own.mean), tuple(own.std))
    return None if statistics == Normalisation() else statistics


def timm_preparation(text: str) -> tuple[Mapping[str, Any], int]:
    """How timm prepares pictures for a model of a text, as facts of weights, and the side."""
    config = timm.get_pretrained_cfg(TimmModel.parse(text).name)
    if config is None:  # as of a model by a former name
        raise ValueError(
            f"timm does not say how pictures are prepared for {text}; use the model's present name"
        )
    return _preparation_facts(config.to_dict())


def _preparation_facts(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    names = (*PREPARATION, "crop_mode")
    facts = {name: config[name] for name in names if config.get(name) is not None}
    if facts.get("crop_mode", CROP_MODES[0]) not in CROP_MODES:
        raise ValueError(unknown("crop_mode", facts["crop_mode"], CROP_MODES))
    return facts, int(config["input_size"][-1])


def load_published(model: TimmModel) -> nn.Module:
    """A model of timm's with its published weights, which are downloaded once."""
    try:
        with torch.random.fork_rng([]):  # initial weights, which are replaced
            network: nn.Module = timm.create_model(model.name, pretrained=True, **model.arguments)
    except RuntimeError as error:  # timm has none
        raise ValueError(
            f"timm publishes no weights of {model.name!r}: {first_line(error)}"
        ) from error
    except OSError as error:
        raise FileNotFoundError(
            f"timm's weights of {model.name!r} are not on this machine and cannot be downloaded "
            f"({one_line(first_line(error), most=_LONGEST)}); go online, or give a file of weights"
        ) from error
    return network
