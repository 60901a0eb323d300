"""The feature that every measure looks at, and the state a network is in while it is measured.

The feature of a classifier is what its head receives, before the last normalisation: timm's
``forward_features`` and its pooling. A plain module's feature is its flattened output.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from proxies.errors import first_line
from proxies.surroundings import undisturbed

Norms = Literal["bypassed", "kept"]
Feature = Literal["pooled", "tokens"]

_NORM_TYPES: tuple[type[nn.Module], ...] = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
_NORM_NAMES = re.compile(r"(Rms|Simple|Layer|Group|Batch|FilterResponse)Norm")
# Where classifiers keep the normalisation between their last block and their head.
_FINAL_NORMS = ("norm", "fc_norm", "head.norm")


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises its input, torch's own kinds and timm's."""
    return isinstance(module, _NORM_TYPES) or bool(_NORM_NAMES.match(type(module).__name__))


def pooled_feature(model: nn.Module, images: Tensor) -> Tensor:
    """Feature of each image, ``[n, C, H, W]`` to ``[n, F]``; call inside :func:`measured`.

    Raises:
        ValueError: As :func:`feature_of`.
    """
    return feature_of(model, images, "pooled")


def feature_of(model: nn.Module, images: Tensor, feature: Feature) -> Tensor:
    """Pooled feature of each image, or all that is pooled side by side; ``[n, F]``.

    A plain module has nothing to pool: both are its output.

    Raises:
        ValueError: If the model cannot take the images, or gives something else than one tensor
            with a row per image.
    """
    features: Callable[..., object] | None = getattr(model, "forward_features", None)
    head: Callable[..., object] | None = getattr(model, "forward_head", None)
    try:
        if features is None or head is None:
            found = model(images)
        elif feature == "tokens":
            found = features(images)
        else:
            found = head(features(images), pre_logits=True)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{type(model).__name__}: {first_line(error)}") from error
    if not isinstance(found, Tensor) or found.shape[:1] != images.shape[:1]:
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"{type(model).__name__} gives {what} for {len(images)} images; "
            "a measure needs one tensor with a row for each image"
        )
    return found.flatten(1)


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """What a classifier says of each image, ``[n, C, H, W]`` to ``[n, classes]``.

    Raises:
        ValueError: If the model has no classes, cannot take the images, or gives something else
            than one row an image of at least two classes.
    """
    kind = type(model).__name__
    if getattr(model, "num_classes", None) == 0:
        raise ValueError(f"{kind} has num_classes=0; this measure needs a classifier")
    try:
        out: object = model(images)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{kind}: {first_line(error)}") from error
    found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(images) or out.shape[1] < 2:
        raise ValueError(
            f"{kind} gives {found} for {len(images)} images; this measure needs a classifier, "
            "with one row an image of at least 2 classes"
        )
    return out


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Hold a model in evaluation mode, as it is otherwise, then put every module's mode back.

    No sample then depends on another through batch statistics and nothing is dropped at random.
    Nothing that a caller has set for torch has a part: see :mod:`proxies.surroundings`.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with undisturbed():
            yield model
    finally:
        for module in training:
            module.training = True


@contextmanager
def measured(model: nn.Module, *, norms: Norms, final_norm: bool = False) -> Iterator[nn.Module]:
    """Hold a model in the state that measures of the feature are defined in, then put all back.

    As in :func:`evaluating`; besides, the final normalisation is the identity unless
    ``final_norm``, and with ``norms="bypassed"`` every one is. An activation fused into a
    normalisation stays.
    """
    bypassed = {} if final_norm else {id(module): module for module in _final_norms(model)}
    if norms == "bypassed":
        bypassed |= {id(module): module for module in model.modules() if is_norm(module)}
    with evaluating(model):
        for module in bypassed.values():
            module.forward = _without_norm(module)
        try:
            yield model
        finally:
            for module in bypassed.values():
                del module.forward


def reference_tensor(model: nn.Module) -> Tensor:
    """A tensor whose floating dtype and device are the model's: its first parameter or buffer."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return tensor
    return torch.empty(0)


def _final_norms(model: nn.Module) -> list[nn.Module]:
    if not hasattr(model, "forward_features"):
        return []
    modules = dict(model.named_modules())
    found = [norm for name in _FINAL_NORMS for norm in _norms_of(modules.get(name))]
    if not found and isinstance(stages := modules.get("stages"), nn.Sequential | nn.ModuleList):
        # Pyramid transformers end each stage with its own: the last stage's is the final one.
        found = _norms_of(getattr(stages[-1], "norm", None))
    return found


def _norms_of(module: object) -> list[nn.Module]:
    """A norm, or a list of nothing but norms as models with several branches have."""
    parts = list(module) if isinstance(module, nn.ModuleList) else [module]
    norms = [part for part in parts if isinstance(part, nn.Module) and is_norm(part)]
    return norms if len(norms) == len(parts) else []


def _without_norm(module: nn.Module) -> Callable[[Tensor], Tensor]:
    rest = [
        child
        for name in ("drop", "act")
        if isinstance(child := getattr(module, name, None), nn.Module)
    ]

    def forward(x: Tensor) -> Tensor:
        for child in rest:
            x = child(x)
        return x

    return forward
