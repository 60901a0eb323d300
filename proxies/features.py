"""The feature that measures use, and the state of the network and of torch while measuring.

The feature of a classifier is the input of its head, before the final normalisation: timm's
``forward_features``, pooled. The feature of a plain module is its flattened output.

A value must not depend on the calling code: reduced precision, autocast and inference mode are off
during a measurement. Weights in bfloat16 or half precision are measured in float32.
"""

import re
import sys
import threading
import warnings
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import cache
from itertools import chain
from typing import Any, Literal

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.parameter import is_lazy

from proxies.functional import NARROW, checked_rows, model_errors, shape_or_type, widened

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
# Attributes of classifiers that hold the normalisation between the last block and the head.
_FINAL_NORMS = ("norm", "fc_norm", "head.norm")
# Autograd's names of operations that select, pool, and combine tokens, linearly.
_POOLING = re.compile(
    r"(Mean|Sum|AdaptiveAvgPool2D|AvgPool2D|Select|Slice|Index|Split|SplitWithSizes|Unbind|Cat|"
    r"Stack|Add|Mul|Div|Convolution|View|UnsafeView|Reshape|ReshapeAlias|Permute|Transpose|T|"
    r"Squeeze|Unsqueeze|Expand|Clone|Alias|AsStrided)Backward\d+"
)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation of torch or timm."""
    return isinstance(module, _NORM_TYPES) or _named_as_norm(type(module).__name__)


@cache
def _named_as_norm(kind: str) -> bool:
    return bool(_NORM_NAMES.match(kind))


def pooled_feature(model: nn.Module, images: Tensor) -> Tensor:
    """Feature of each image, ``[n, C, H, W]`` to ``[n, F]``; call inside :func:`measured`."""
    return feature_of(model, images, "pooled")


def feature_of(model: nn.Module, images: Tensor, feature: Feature) -> Tensor:
    """Pooled feature of each image, or all of its tokens concatenated; ``[n, F]``.

    A plain module does not pool: both are its output.
    """
    features: Callable[..., object] | None = getattr(model, "forward_features", None)
    head: Callable[..., object] | None = getattr(model, "forward_head", None)
    output: object
    images = images.clone()  # the network may change its input in place
    with model_errors(model):
        if features is None or head is None:
            output = model(images)
        elif feature == "tokens":
            output = features(images)
        else:
            output = head(features(images), pre_logits=True)
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

    Networks that cache tensors in evaluation mode, as timm's LeViT does its position biases, drop
    them whenever the mode is set: before, as they are of another pass, and after.
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
    """Put a model into evaluation mode, then restore the mode of every module.

    Samples do not interact through batch statistics, and there is no dropout. Global torch state
    has no influence, and tensors with fewer digits than float32 are in float32: see
    :mod:`proxies.features`. What torch.compile has compiled runs uncompiled, and what is
    checkpointed keeps its graph.

    Raises:
        ValueError: If the model wraps the network to measure, or has tensors without gradients.
    """
    _check_measurable(model)
    narrow = [(tensor, tensor.data) for tensor in tensors_of(model) if tensor.dtype in NARROW]
    try:
        for tensor, data in narrow:
            tensor.data = widened(data)
        with in_evaluation_mode(model), full_precision(), _uncompiled(), _without_checkpoints():
            yield model
    finally:
        for tensor, data in narrow:
            tensor.data = data


def _check_measurable(model: nn.Module) -> None:
    kind, inner = type(model).__name__, getattr(model, "module", None)
    # nn.DataParallel and its like, which would be taken for a plain module.
    if hasattr(inner, "forward_features") and not hasattr(model, "forward_features"):
        raise ValueError(f"{kind} wraps another network; measure its attribute module")
    if any(not is_lazy(tensor) and tensor.is_inference() for tensor in tensors_of(model)):
        raise ValueError(
            f"{kind} was built inside torch.inference_mode(), so its tensors have no gradients; "
            "build it outside"
        )


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """Inside, what torch.utils.checkpoint wraps is called, and saved tensors stay as they are.

    It only saves memory, and calls the network again where its tensors have been put back.
    """
    hooks: Any = torch.autograd.graph.saved_tensors_hooks
    reentrant: Any = torch.utils.checkpoint.CheckpointFunction
    own = (
        (hooks, "__enter__", lambda self: None),
        (hooks, "__exit__", lambda self, *error: None),
        (reentrant, "apply", staticmethod(lambda function, _, *inputs: function(*inputs))),
    )
    with ExitStack() as stack:
        for owner, name, method in own:
            if name in vars(owner):
                stack.callback(setattr, owner, name, vars(owner)[name])
            else:
                stack.callback(delattr, owner, name)
            setattr(owner, name, method)
        yield


def _uncompiled() -> AbstractContextManager[object]:
    """Inside, compiled networks run as they were written: graphs hide operations and blocks."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled, and its import is slow
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


@contextmanager
def measured(model: nn.Module, *, norms: Norms, images: Tensor) -> Iterator[nn.Module]:
    """Put a model into the state that feature measures are defined for, then restore it.

    As :func:`evaluating`; in addition the final normalisation is the identity, and so are all
    others with ``norms="bypassed"``. An activation that is fused into a normalisation is kept.

    A final normalisation without one of the usual names is detected from autograd's graph, in a
    pass of the first of ``images``, ``[n, C, H, W]``.
    """
    with evaluating(model):
        if norms == "bypassed":
            bypassed = [module for module in model.modules() if is_norm(module)]
        else:
            bypassed = _final_norms(model, images[:1])
        with ExitStack() as stack:
            for module in bypassed:
                if "forward" in vars(module):  # set by a caller for this module alone
                    stack.callback(setattr, module, "forward", module.forward)
                else:
                    stack.callback(delattr, module, "forward")
                module.forward = _without_norm(module)
            yield model


def reference_tensor(model: nn.Module) -> Tensor:
    """A tensor with the dtype and device that the model is measured with."""
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return widened(tensor.detach().flatten()[:0])
    return torch.empty(0)


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, in one pass over the modules."""
    for module in model.modules():
        for tensor in chain(module._parameters.values(), module._buffers.values()):
            if tensor is not None:
                yield tensor


def _final_norms(model: nn.Module, image: Tensor) -> list[nn.Module]:
    """The norms between the last block and the head of a classifier, each once."""
    if not hasattr(model, "forward_features"):
        return []
    modules = dict(model.named_modules())
    norms = [norm for name in _FINAL_NORMS for norm in _norms_of(modules.get(name))]
    if not norms and isinstance(stages := modules.get("stages"), nn.Sequential | nn.ModuleList):
        # In pyramid transformers each stage ends in a norm; the last stage's is the final one.
        norms = _norms_of(getattr(stages[-1], "norm", None))
    return list(dict.fromkeys(norms or _pooled_norms(model, image)))


def _pooled_norms(model: nn.Module, image: Tensor) -> list[nn.Module]:
    """The norms whose outputs are all that the feature of an image pools.

    None of them may be in front of another, as where residual branches end in norms. Batch norms
    do not count, being affine maps in evaluation mode, nor do norms with a fused activation. Reads
    no value from the device.
    """
    norm_of: dict[Node, nn.Module] = {}  # node of the output in autograd's graph -> norm

    def record(norm: nn.Module, inputs: object, out: object) -> None:
        if isinstance(out, Tensor) and out.grad_fn is not None:
            norm_of[out.grad_fn] = norm

    with ExitStack() as hooks, torch.enable_grad():
        for norm in filter(_is_plain_norm, model.modules()):
            hooks.callback(norm.register_forward_hook(record).remove)
        image = image.to(reference_tensor(model)).detach().requires_grad_()
        try:
            feature = pooled_feature(model, image)
        except (RuntimeError, ValueError):
            return []  # the measure's own pass gives the reason
    norms: set[nn.Module] = set()
    behind: list[Node | None] = []
    for node in _graph([feature.grad_fn], until=norm_of):
        if node in norm_of:
            norms.add(norm_of[node])
            behind += [source for source, _ in node.next_functions]
        elif not _POOLING.fullmatch(node.name()) and getattr(node, "variable", image) is image:
            return []
    return [] if any(norm_of.get(node) in norms for node in _graph(behind)) else list(norms)


def _is_plain_norm(module: nn.Module) -> bool:
    fused = getattr(module, "act", None)
    return (
        is_norm(module)
        and "BatchNorm" not in type(module).__name__
        and (fused is None or isinstance(fused, nn.Identity))
    )


def _graph(starts: Iterable[Node | None], until: Container[Node] = ()) -> Iterator[Node]:
    """Nodes of autograd's graph behind ``starts``, each once; not beyond those in ``until``."""
    visited: set[Node] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        yield node
        if node not in until:
            stack += [source for source, _ in node.next_functions]


def _norms_of(module: object) -> list[nn.Module]:
    """The module if it is a norm, or its items if all are, as in models with several branches."""
    parts = list(module) if isinstance(module, nn.ModuleList) else [module]
    norms = [part for part in parts if isinstance(part, nn.Module) and is_norm(part)]
    return norms if len(norms) == len(parts) else []


def _without_norm(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """A forward method that replaces a norm's, and applies what is fused into the norm."""
    parts = (getattr(module, name, None) for name in ("drop", "act"))
    return nn.Sequential(*(part for part in parts if isinstance(part, nn.Module))).forward


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
        # A network may allow TF32, as cudnn.flags() does by default; that is ignored.
        attribute = vars(type(torch.backends.cudnn))["allow_tf32"]
        for owner, setter in ((torch._C, "_set_cudnn_allow_tf32"), (attribute, "setter")):
            stack.callback(setattr, owner, setter, getattr(owner, setter))
            setattr(owner, setter, lambda allowed: None)
        yield


@contextmanager
def float32_products(precision: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Compute products of float32 exactly, or in TF32 where the device can.

    Torch has two interfaces for this, and refuses to read the older one where they differ, so
    both are set.
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
    """:func:`full_precision`, with torch's default dtype (float32) and device (the CPU).

    One thread at a time: torch's generator and dual-number level are process-wide, too.
    """
    with full_precision(), ExitStack() as stack:
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        yield
