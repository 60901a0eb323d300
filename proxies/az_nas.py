"""The measures of AZ-NAS, on features and gradients from block to block.

A primary block is each block of a convolutional network, and the attention and the feed-forward
part of each block of a transformer. Its feature is its output, as one vector of channels for each
position of each image; every token is a position. The fourth measure is the multiply-adds.

They take a network with :func:`proxies.structure.residual_blocks` that return one feature map,
else a ValueError, and images ``[n, C, H, W]``; the paper draws 64 of standard normal noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from proxies.features import (
    evaluating,
    input_for,
    is_norm,
    reference_tensor,
    repeatable_images,
)
from proxies.functional import network_output, to_host
from proxies.registry import register_measure
from proxies.structure import feed_forward_after_attention, first_map, residual_blocks

_PAPER = "AZ-NAS, arXiv:2403.19232"


@register_measure(
    "how isotropic features are, summed over blocks",
    paper=_PAPER,
    check=repeatable_images,
)
def az_expressivity(model: nn.Module, noise: Tensor) -> float:
    """Expressivity: the entropy of features, summed over primary blocks.

    Of a block in nats, at most ``ln(channels)``: of the eigenvalues of its feature's covariance
    over positions, normalised to sum to 1. One forward pass and one eigendecomposition per block,
    in float64. A ValueError if a feature is the same at every position or not finite.
    """
    return float(_entropies(model, noise).sum())


@register_measure(
    "smallest gain in expressivity from block to block",
    paper=_PAPER,
    check=repeatable_images,
)
def az_progressivity(model: nn.Module, noise: Tensor) -> float:
    """Progressivity: the smallest gain in expressivity from one primary block to the next.

    In nats; the paper omits it for vision transformers. Otherwise as :func:`az_expressivity`.
    """
    entropies = _entropies(model, noise)
    if len(entropies) < 2:
        raise ValueError(f"{type(model).__name__} has one primary block; at least 2 are needed")
    return float(entropies.diff().min())


@register_measure(
    "how closely blocks preserve the norm of gradients",
    paper=_PAPER,
    check=repeatable_images,
)
def az_trainability(model: nn.Module, noise: Tensor, *, seed: int = 0) -> float:
    """Trainability: how closely the primary blocks preserve the norm of gradients.

    The mean of ``2 − σ − 1/σ`` over all primary blocks but the first; at most 0, for σ = 1. σ is
    the spectral norm of the block's Jacobian, channels by channels, estimated by
    ``A = mean over positions of g_in g_outᵀ`` with ``g_out`` drawn from ±1 and ``g_in`` its
    backpropagated gradient. If a convolutional block has a stride, the input positions of an
    output position count as channels; blocks that change the number of tokens are left out. One
    forward and one backward pass. A ValueError if there is no Jacobian but the first block's, or
    no finite gradient passes a block.
    """
    # Another seed than that of the noise.
    generator = torch.Generator(reference_tensor(model).device).manual_seed(seed + 1)
    squares: list[Tensor | None] = []

    def backward(before: BlockFeature, after: BlockFeature) -> None:
        squares.append(_squared_jacobian(before, after, generator))

    with evaluating(model), torch.enable_grad(), watch_blocks(model, backward):
        network_output(model, input_for(model, noise))
    jacobians = [square for square in squares[1:] if square is not None]
    if not jacobians:
        raise ValueError(f"{type(model).__name__} has no Jacobian but the first primary block's")
    spectra = _spectra(jacobians, "gradients", model)
    sigma = torch.stack([spectrum[-1] for spectrum in spectra]).sqrt()
    if not sigma.min() > 0:
        raise ValueError(f"no gradient comes back through a block of {type(model).__name__}")
    return float((2 - sigma - 1 / sigma).mean())


def _entropies(model: nn.Module, images: Tensor) -> Tensor:
    """Entropy of the feature of each primary block, ``[blocks]`` float64."""
    covariances: list[Tensor] = []

    def collect(_: BlockFeature, after: BlockFeature) -> None:
        covariances.append(_covariance(after.rows(after.tensor)))

    with torch.no_grad(), evaluating(model), watch_blocks(model, collect):
        network_output(model, input_for(model, images))
    values = torch.stack([_entropy(own) for own in _spectra(covariances, "features", model)])
    if not values.isfinite().all():
        raise ValueError(f"a feature of {type(model).__name__} is the same at every position")
    return values


def _spectra(matrices: Sequence[Tensor], what: str, model: nn.Module) -> list[Tensor]:
    """Eigenvalues of matrices, on the CPU; LAPACK says of NaN that it is ill-conditioned."""
    on_host = to_host(matrices)
    if not all(matrix.isfinite().all() for matrix in on_host):
        raise ValueError(f"{type(model).__name__} gives {what} that are not finite")
    return list(map(torch.linalg.eigvalsh, on_host))


def _covariance(rows: Tensor) -> Tensor:
    """Of the centred columns of ``[positions, channels]``, or of the rows, if there are fewer."""
    rows = rows.double()
    centred = rows - rows.mean(0)
    return centred @ centred.T if len(rows) < rows.shape[1] else centred.T @ centred


def _entropy(spectrum: Tensor) -> Tensor:
    """Entropy of the variances of the principal components."""
    shares = spectrum.clamp(min=0)
    return cast("Tensor", torch.special.entr(shares / shares.sum()).sum())


def _squared_jacobian(
    before: BlockFeature, after: BlockFeature, generator: torch.Generator
) -> Tensor | None:
    """The smaller of ``AᵀA`` and ``AAᵀ``; None if positions do not correspond."""
    signs = torch.empty_like(after.tensor, requires_grad=False).bernoulli_(generator=generator)
    g_out = signs.mul_(2).sub_(1)
    g_in = torch.autograd.grad(after.tensor, before.edge, g_out, retain_graph=True)[0]
    if before.channels_first and after.channels_first and g_in.shape != g_out.shape:
        stride, rest = divmod(g_in.shape[-1], g_out.shape[-1])
        if rest or g_in.shape[-2] != stride * g_out.shape[-2]:
            return None
        g_in = F.pixel_unshuffle(g_in, stride)
    back, out = before.rows(g_in).double(), after.rows(g_out).double()
    if len(back) != len(out):
        return None
    jacobian = back.T @ out / len(out)
    tall = jacobian.shape[0] > jacobian.shape[1]
    return jacobian.T @ jacobian if tall else jacobian @ jacobian.T


class BlockFeature:
    """Input or output of a primary block, ``[n, channels, H, W]`` or ``[n, ..., channels]``."""

    def __init__(self, tensor: Tensor, module: nn.Module) -> None:
        self.tensor = tensor
        # Convolutions take channels first, linear maps channels last.
        self.channels_first = tensor.ndim == 4 and isinstance(first_map(module), nn.Conv2d)
        # What gradients are taken for, also if the block changes the tensor in place.
        self.edge: Any = get_gradient_edge(tensor) if tensor.requires_grad else tensor

    def rows(self, x: Tensor) -> Tensor:
        """Reshape a tensor of the same layout to ``[positions, channels]``."""
        return (x.movedim(1, -1) if self.channels_first else x).flatten(0, -2)


Visit = Callable[[BlockFeature, BlockFeature], None]


@contextmanager
def watch_blocks(model: nn.Module, visit: Visit) -> Iterator[None]:
    """Inside, call ``visit`` with the input and the output of each primary block as it ends.

    Blocks are detached from each other, so that the graph holds the activations of one at a time.
    """
    with ExitStack() as handles:
        for name, block in residual_blocks(model).items():
            for handle in _Watch(f"{name} of {type(model).__name__}", visit).hooks_on(block):
                handles.enter_context(handle)
        yield


class _Watch:
    """Visits the primary blocks of a block: up to each feed-forward part, and to its end.

    The input of a part, or of the norm before it, ends a primary block unless it is the input of
    the block or of another part. Tensors are compared by address and version, and kept for that.
    """

    def __init__(self, name: str, visit: Visit) -> None:
        self._name, self._visit = name, visit
        self._last: BlockFeature  # that a primary block began with
        self._seen: dict[tuple[int, int], Tensor] = {}
        self._norm: tuple[Tensor, Tensor] | None = None  # input and output of the last norm

    def hooks_on(self, block: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        parts = feed_forward_after_attention(block)
        norms = [module for module in block.modules() if parts and is_norm(module)]
        return [
            block.register_forward_pre_hook(self._enter),
            *(norm.register_forward_hook(self._pass_norm) for norm in norms),
            *(part.register_forward_pre_hook(self._enter_part) for part in parts),
            block.register_forward_hook(self._leave),
        ]

    def _enter(self, block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not args or not isinstance(args[0], Tensor):
            raise ValueError(f"{self._name} does not take one feature map")
        leaf = args[0].detach().requires_grad_(torch.is_grad_enabled())
        entered = leaf.clone()  # the block may change its input in place
        self._last, self._norm = BlockFeature(leaf, block), None
        self._seen = {_state(entered): entered}
        return entered, *args[1:]

    def _pass_norm(self, norm: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        self._norm = (args[0], out)

    def _enter_part(self, part: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0]
        if self._norm is not None and self._norm[1].data_ptr() == x.data_ptr():
            x = self._norm[0]
        if _state(x) not in self._seen:
            self._seen[_state(x)] = x
            self._end(BlockFeature(x, part))

    def _end(self, feature: BlockFeature) -> None:
        self._visit(self._last, feature)
        self._last = feature

    def _leave(self, block: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        outputs = out if isinstance(out, tuple) else (out,)  # of a feature and an attention map
        feature = outputs[0]
        if not isinstance(feature, Tensor) or feature.ndim < 2:
            raise ValueError(f"{self._name} does not return one feature map")
        self._end(BlockFeature(feature, block))
        self._seen, self._norm = {}, None
        detached = tuple(x.detach() if isinstance(x, Tensor) else x for x in outputs)
        return detached if isinstance(out, tuple) else detached[0]


def _state(x: Tensor) -> tuple[int, int]:
    return x.data_ptr(), x._version
