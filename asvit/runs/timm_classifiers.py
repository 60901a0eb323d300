"""Classifiers of timm: published weights, timm's preparation of pictures, names of ImageNet."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.data import ImageNetInfo, infer_imagenet_subset

from asvit.data.preparation import CROP_MODES, PREPARATION, Preparation
from asvit.networks import Network, WeightsFile
from asvit.networks.positions import resampled
from asvit.spaces.timm_models import PREFIX, TimmModel
from asvit.training.pretrained import load_published
from proxies.messages import unknown


def published_classifier(text: str, image_size: int | None = None) -> WeightsFile:
    """A model of timm's with its published weights, which are downloaded where they are not yet.

    Classes of ImageNet have the names of its folders, such as ``n01440764``.

    Args:
        text: ``timm:NAME``, or ``timm:NAME.TAG`` for certain weights.
        image_size: Side of the images in pixels, by default timm's own; positions are resampled.

    Raises:
        ValueError: If timm publishes none, or the weights are of no classifier.
        FileNotFoundError: If they cannot be downloaded.
    """
    named = TimmModel.parse(text)
    model: Any = load_published(named)
    architecture = str(replace(named, name=named.name.partition(".")[0]))
    facts, side = _prepared(model.pretrained_cfg)
    network = Network(architecture, image_size or side, model.num_classes)
    weights = model.state_dict()
    if network.image_size != side:
        with torch.random.fork_rng([]):  # initial weights, which are replaced
            weights = resampled(network.build(), weights)
    subset = infer_imagenet_subset(model)
    classes = tuple(ImageNetInfo(subset).label_names()) if subset else ()
    return WeightsFile(network, weights, classes, facts)


def timm_preparation(text: str) -> tuple[Mapping[str, Any], int]:
    """How timm prepares pictures for a model of a text, as facts of weights, and the side.

    Raises:
        ValueError: If timm does not say it, or prepares them as asvit cannot.
    """
    config = timm.get_pretrained_cfg(TimmModel.parse(text).name)
    if config is None:  # as of a model by a former name
        raise ValueError(
            f"timm does not say how pictures are prepared for {text}; use the model's present name"
        )
    return _prepared(config.to_dict())


def timm_facts(network: Network) -> Mapping[str, Any]:
    """How timm prepares pictures for one of its networks; nothing of others, or if we cannot."""
    if not network.architecture.startswith(PREFIX):
        return {}
    with suppress(ValueError):
        facts, _ = timm_preparation(network.architecture)
        if facts["crop_pct"] <= 1:
            return Preparation.of(network.image_size, network.in_chans, facts).facts
    return {}


def _prepared(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    names = (*PREPARATION, "crop_mode")
    facts = {name: config[name] for name in names if config.get(name) is not None}
    if facts.get("crop_mode", CROP_MODES[0]) not in CROP_MODES:
        raise ValueError(unknown("crop_mode", facts["crop_mode"], CROP_MODES))
    return facts, int(config["input_size"][-1])
