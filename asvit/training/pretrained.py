"""Pretrained weights, also for another image size or other classes."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from asvit.core.files import expanded
from asvit.core.records import MALFORMED
from asvit.core.run_files import INHERITED, MODEL, RESULT
from asvit.core.tensor_files import read_header
from asvit.data.kinds import PICTURES
from asvit.data.statistics import Normalisation
from asvit.networks import Network, WeightsFile, load_state, read_state
from asvit.networks.positions import resampled
from asvit.spaces.timm_models import PREFIX, TimmModel
from proxies.messages import first_line
from proxies.text import listed, one_line

_LONGEST = 120  # characters of the reason of a failed download


def weights_path(text: str) -> Path:
    """The file of weights at a path, which may be a run folder or its result.json."""
    path = expanded(text)
    path = path.parent if path.name == RESULT else path
    if not path.is_dir():
        return path
    candidates = (path / name for name in (MODEL, INHERITED))
    return next((candidate for candidate in candidates if candidate.exists()), path / MODEL)


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
    if (numbers := unequal_classes(model, weights)) is not None:
        there, here = numbers
        raise ValueError(
            f"the weights of {path} are for {there} classes, the images have {here}; "
            "give --new-head to start with a fresh classifier"
        )
    file = None if new_head or not classes else _described(text)
    if file is not None and file.classes not in ((), classes):
        raise ValueError(
            f"the classifier in {path} is for other classes than the images, or for these in "
            f"another order: {listed(file.classes)}; give --new-head to start with a fresh one"
        )
    return load_state(model, weights, what=f"the weights of {path}", may_lack=left_out)


def named_weights(text: str, architecture: str, image_size: int = 224) -> WeightsFile:
    """The weights of a file that does not say which network they are of, as a file that does.

    Raises:
        ValueError: If it says it, or cannot be read, or it is no architecture.
        FileNotFoundError: If there is no such file.
    """
    path = weights_path(text)
    weights = read_state(path)
    if there := architecture_in(text):
        raise ValueError(f"{path} says that it is of {there}; leave out {architecture}")
    network = Network(architecture, image_size)
    with torch.random.fork_rng([]):
        numbers = unequal_classes(network.build(), weights)
    if numbers is not None:
        network = replace(network, num_classes=numbers[0])
    statistics = picture_statistics(text, architecture)
    facts = {} if statistics is None else vars(statistics)
    return WeightsFile(network, weights, facts=facts)


def unequal_classes(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """For how many classes weights are, and for how many the model; None if for as many."""
    own = model.state_dict()
    for name in [name for name in _head_names(model) if name in own and name in weights]:
        there, here = weights[name].shape[:1], own[name].shape[:1]
        if there and here and there != here:  # load_state will refuse those without dimensions
            return there[0], here[0]
    return None


def picture_statistics(text: str, architecture: str) -> Normalisation | None:
    """How pictures of 8-bit RGB are normalised for weights; None if as ImageNet's.

    A file or run folder of ours says it. One of timm's has the weights of a ``timm:`` architecture
    as timm publishes them.
    """
    own: Any = None
    if (file := _described(text)) is not None:
        own = file.preparation if file.preparation.kind.picture else None
    elif architecture.startswith(PREFIX):
        own = timm.get_pretrained_cfg(TimmModel.parse(architecture).name)
    if own is None or len(own.mean) != PICTURES.channels:
        return None
    statistics = Normalisation(tuple(own.mean), tuple(own.std))
    return None if statistics == Normalisation() else statistics


def architecture_in(text: str) -> str:
    """The architecture of a file of weights or run folder; nothing if it says none, or is gone."""
    with suppress(OSError, SafetensorError, *MALFORMED):
        header = read_header(weights_path(text))
        return Network.from_json(header["network"]).architecture
    return ""


def _described(text: str) -> WeightsFile | None:
    """What a file of weights or run folder says of itself; None of files of others."""
    with suppress(SafetensorError, *MALFORMED):
        return WeightsFile.described(read_header(weights_path(text)), {})
    return None


def load_published(model: TimmModel) -> nn.Module:
    """A model of timm's with its published weights, which are downloaded where they are not yet.

    Raises:
        ValueError: If timm publishes none.
        FileNotFoundError: If they cannot be downloaded.
    """
    try:
        with torch.random.fork_rng([]):  # initial weights, which are replaced
            network: nn.Module = timm.create_model(model.name, pretrained=True, **model.arguments)
    except RuntimeError as error:  # timm has none
        raise ValueError(
            f"timm publishes no weights of {model.name!r}: {first_line(error)}"
        ) from error
    except OSError as error:
        cause: BaseException = error
        while (before := cause.__cause__ or cause.__context__) is not None:
            cause = before
        raise FileNotFoundError(
            f"timm's weights of {model.name!r} are not on this machine and cannot be downloaded "
            f"({one_line(first_line(cause), most=_LONGEST)}); go online, or give a file of weights"
        ) from error
    return network


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
