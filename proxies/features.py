"""The feature that measures use, the state to measure it in, and whether it is well defined.

The feature of a classifier is the input of its head, before the final normalisation: timm's
``forward_features``, pooled. The feature of a plain module is its flattened output.

A value must not depend on the calling code: reduced precision, autocast and inference mode are off
during a measurement. Weights in bfloat16 or half precision are measured in float32. A network must
be deterministic, and treat the images of a batch independently: a mean over the batch, or a batch
norm without running statistics, lets them interact even in evaluation mode.
"""

import math
import random
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from proxies.functional import checked_rows, model_errors, network_output, shape_or_type
from proxies.registry import Inputs

Norms = Literal["bypassed", "kept"]

_NORM_TYPES: tuple[type[nn.Module], ...] = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
_NORM_NAMES = re.compile(r"(Rms|Simple|Layer|Group|Batch|FilterResponse)Norm")
# Where classifiers have the normalisation between the last block and the head; CoaT has three.
_FINAL_NORMS = ("norm", "fc_norm", "head.norm", "norm2", "norm3", "norm4", "neck.3")
# Where the last stage has it, if a classifier has none of those.
_LAST_OF_STAGE = ("norm", "blocks.-1.norm3")
# Dtypes that keep too few digits to measure in.
_NARROW = frozenset({torch.bfloat16, torch.float16})


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation of torch or timm."""
    return isinstance(module, _NORM_TYPES) or bool(_NORM_NAMES.match(type(module).__name__))


def pooled_feature(model: nn.Module, images: Tensor) -> Tensor:
    """Feature of each image, ``[n, C, H, W]`` to ``[n, F]``; call inside :func:`measured`."""
    network: Any = model
    images = images.clone()  # the network may change its input in place
    with model_errors(model):
        if hasattr(model, "forward_features") and hasattr(model, "forward_head"):
            output = network.forward_head(network.forward_features(images), pre_logits=True)
        else:
            output = network(images)
    return checked_rows(model, output, images).flatten(1)


def input_for(model: nn.Module, images: Tensor) -> Tensor:
    """Images with the dtype and device that a model is measured with, which autograd can save."""
    images = images.to(reference_tensor(model))
    return images.clone() if images.is_inference() else images


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits of a classifier, ``[n, C, H, W]`` to ``[n, classes]``, with at least two classes."""
    kind = type(model).__name__
    if getattr(model, "num_classes", None) == 0:
        raise ValueError(f"{kind} has num_classes=0; this measure needs a classifier")
    with model_errors(model):
        out: object = model(images.clone())  # as above
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(images) or out.shape[1] < 2:
        raise ValueError(
            f"{kind} gives {shape_or_type(out)} for {len(images)} images; this measure needs a "
            "classifier, with a row of at least 2 classes for each image"
        )
    return out


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, then restore the mode of every module.

    Set before and after: networks that cache tensors, as timm's LeViT does its position biases,
    drop them then.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        model.eval()
        for module in training:
            module.training = True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """:func:`in_evaluation_mode`, without influence of global torch state.

    Tensors with fewer digits than float32 are in float32, what torch.compile has compiled runs as
    it was written, and timm's checkpoints are off. A ValueError if the model wraps the network to
    measure, or has tensors without gradients.
    """
    kind, inner = type(model).__name__, getattr(model, "module", None)
    # nn.DataParallel and its like, which would be taken for a plain module.
    if hasattr(inner, "forward_features") and not hasattr(model, "forward_features"):
        raise ValueError(f"{kind} wraps another network; measure its attribute module")
    if any(not is_lazy(tensor) and tensor.is_inference() for tensor in tensors_of(model)):
        raise ValueError(
            f"{kind} was built inside torch.inference_mode(), so its tensors have no gradients; "
            "build it outside"
        )
    with ExitStack() as stack:
        for tensor in tensors_of(model):
            if tensor.dtype in _NARROW:
                stack.callback(setattr, tensor, "data", tensor.data)
                tensor.data = tensor.data.float()
        part: Any
        for part in model.modules():
            if getattr(part, "grad_checkpointing", False):
                stack.callback(setattr, part, "grad_checkpointing", True)
                part.grad_checkpointing = False
        stack.enter_context(in_evaluation_mode(model))
        stack.enter_context(full_precision())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and its import is slow
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield model


@contextmanager
def measured(model: nn.Module, *, norms: Norms) -> Iterator[nn.Module]:
    """Put a model into the state that feature measures are defined for, then restore it.

    As :func:`evaluating`; in addition the final normalisation is the identity, and so are all
    others with ``norms="bypassed"``. An activation that is fused into a normalisation is kept.
    """
    with evaluating(model), ExitStack() as stack:
        all_norms = (module for module in model.modules() if is_norm(module))
        for module in all_norms if norms == "bypassed" else _final_norms(model):
            if "forward" in vars(module):  # set by a caller for this module alone
                stack.callback(setattr, module, "forward", module.forward)
            else:
                stack.callback(delattr, module, "forward")
            fused = (getattr(module, name, None) for name in ("drop", "act"))
            kept = [part for part in fused if isinstance(part, nn.Module)]
            module.forward = nn.Sequential(*kept).forward
        yield model


def reference_tensor(model: nn.Module) -> Tensor:
    """An empty tensor with the dtype and device that the model is measured with."""
    floating = (x.detach().flatten()[:0] for x in tensors_of(model) if x.is_floating_point())
    empty = next(floating, torch.empty(0))
    return empty.float() if empty.dtype in _NARROW else empty


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, in one pass over the modules."""
    for module in model.modules():
        for tensor in chain(module._parameters.values(), module._buffers.values()):
            if tensor is not None:
                yield tensor


def _final_norms(model: nn.Module) -> list[nn.Module]:
    """The norms between the last block and the head of a classifier, each once."""
    if not hasattr(model, "forward_features"):
        return []
    norms = [norm for path in _FINAL_NORMS for norm in _norms_of(_part(model, path))]
    if not norms:
        stage = _part(model, "stages.-1")
        norms = [norm for path in _LAST_OF_STAGE for norm in _norms_of(_part(stage, path))]
    return list(dict.fromkeys(norms))


def _part(module: object, path: str) -> object:
    """An attribute of an attribute, or an item of a list of modules by its place; else None."""
    for name in path.split("."):
        if isinstance(module, nn.Sequential | nn.ModuleList) and name.lstrip("-").isdigit():
            place = int(name)
            module = module[place] if -len(module) <= place < len(module) else None
        else:
            module = getattr(module, name, None)
    return module


def _norms_of(module: object) -> list[nn.Module]:
    """The module if it is a norm, or its items if all are, as in models with several branches."""
    parts = list(module) if isinstance(module, nn.ModuleList) else [module]
    norms = [part for part in parts if isinstance(part, nn.Module) and is_norm(part)]
    return norms if len(norms) == len(parts) else []


_lock = threading.RLock()


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, torch computes in full precision, and gradients can be enabled.

    TF32 keeps ten bits of a product's factors and bfloat16 seven, fewer than the measures need.
    One thread at a time: torch's precision is process-wide.
    """
    with _lock, ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # inference mode implies it
        accelerator = torch.accelerator.current_accelerator()
        for kind in {"cpu", accelerator.type if accelerator else "cpu"}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(float32_products("ieee"))
        yield


@contextmanager
def float32_products(precision: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Compute products of float32 exactly, or in TF32 where the device can.

    Torch has two interfaces, and refuses to read the older one where they differ: both are set.
    """
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    switches = (
        *(backends.cuda.matmul, cudnn.conv, cudnn.rnn),
        *(mkldnn.matmul, mkldnn.conv, mkldnn.rnn),
    )
    with ExitStack() as stack:
        for switch in switches:
            stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
        # The older interface changes the newer one: it is set first, and restored first.
        with warnings.catch_warnings():
            # torch 2.9 warns of it.
            warnings.filterwarnings("ignore", "Please use the new API", UserWarning)
            with suppress(RuntimeError):
                before = torch.get_float32_matmul_precision()
                stack.callback(torch.set_float32_matmul_precision, before)
            with suppress(RuntimeError):
                stack.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            cudnn.allow_tf32 = precision == "tf32"
        for switch in switches:
            switch.fp32_precision = precision
        yield


@contextmanager
def isolated() -> Iterator[None]:
    """:func:`full_precision`, with torch's default dtype (float32) and device (the CPU)."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    cpu = torch.device("cpu")  # which costs a call of Python for each operation
    with full_precision(), nullcontext() if device == cpu else cpu:
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def independent_curve(model: nn.Module, inputs: Inputs) -> str:
    """Why points of the circle have no pooled feature of their own, norms bypassed, or nothing."""
    images = inputs.circle.at(inputs.circle.angles[:2])
    with measured(model, norms="bypassed"):
        return _fault(model, images, pooled_feature)


def independent_images(model: nn.Module, inputs: Inputs) -> str:
    """Why images interact, in the pooled feature or in the output, or nothing if they do not."""
    with evaluating(model):
        return _fault(model, inputs.images, _feature_and_output)


def repeatable_images(model: nn.Module, inputs: Inputs) -> str:
    """Why the output is not reproducible; images may interact, as in the loss of a batch."""
    with evaluating(model):
        return _fault(model, inputs.images, _feature_and_output, independent=False)


def _feature_and_output(model: nn.Module, images: Tensor) -> Tensor:
    outputs = pooled_feature(model, images), network_output(model, images)  # a head may be zero
    return torch.cat([rows.flatten(1) for rows in outputs], 1)


def _fault(
    model: nn.Module,
    images: Tensor,
    rows: Callable[[nn.Module, Tensor], Tensor],
    *,
    independent: bool = True,
) -> str:
    """Why a network's rows cannot be measured, from two passes, or three if ``independent``.

    A pass must draw nothing, and all rows must be reproducible. If ``independent``, the row of the
    first image must also be the same between other images. All batches have three images for equal
    rounding, which some networks amplify by 10,000 times without their norms.
    """
    like = reference_tensor(model)
    first, other = images[0], images[min(1, len(images) - 1)]

    def passed(outer: Tensor) -> Tensor:
        # Not by a list of places, which an accelerator would be sent.
        return rows(model, torch.stack([outer, first, outer]).to(like))

    beside = first if independent else other
    with torch.no_grad():
        once = passed(beside)
        # Only now, as a network may draw its weights in its first pass.
        states = generator_states(like.device)
        again = passed(beside)
        if generator_states(like.device) != states or not same_rows(once, again):
            return draws_numbers(model)
        if independent and not same_rows(once[1:2], passed(other)[1:2]):
            kind = type(model).__name__
            return f"{kind}'s output depends on the other images of a batch: its samples interact"
    return ""


def same_rows(rows: Tensor, other: Tensor) -> Tensor:
    """Whether rows ``[..., n, F]`` are equal up to rounding, or not finite; on their device."""
    difference = (rows - other).abs().amax(-1)
    tolerance = math.sqrt(torch.finfo(rows.dtype).eps)
    same: Tensor = ~(difference > tolerance * rows.abs().amax(-1)).any()
    return same


def draws_numbers(model: nn.Module) -> str:
    """The reason why a network that draws random numbers cannot be measured."""
    return (
        f"{type(model).__name__} draws random numbers: its output for an image is not reproducible"
    )


def generator_states(device: torch.device) -> list[object]:
    """What torch, Python and NumPy draw from: every draw changes it, whatever it changes else."""
    of_numpy: Any = np.random.get_state()  # noqa: NPY002
    states = [random.getstate(), of_numpy[1].tobytes(), of_numpy[2:]]
    tensors = [torch.default_generator.get_state()]
    if device.type not in ("cpu", "meta"):
        tensors.append(torch.get_device_module(device).get_rng_state(device))
    return [*states, *(tensor.numpy().tobytes() for tensor in tensors)]
