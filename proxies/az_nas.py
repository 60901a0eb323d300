"""The measures of AZ-NAS: how features spread from block to block, and how gradients come back.

A primary block is what ends in a residual addition: each block of a convolutional network, and the
attention and the feed-forward part of each block of a transformer. Its feature is what it adds up
to, taken as vectors of channels, one for each position of each image; every token is a position.
The fourth measure, complexity, is the number of multiply-adds: see :mod:`proxies.counts`.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.activations import network_output
from proxies.features import evaluating, reference_tensor
from proxies.primary_blocks import Feature, watch_blocks


def az_expressivity(model: nn.Module, images: Tensor) -> float:
    """Expressivity: how evenly features spread over their directions, summed over primary blocks.

    Of each block's feature the entropy, in nats, of the eigenvalues of its covariance over
    positions, normalised to sum to 1; ``ln(channels)`` at most. Higher is better. One forward pass
    and an eigendecomposition for each primary block, in float64.

    Args:
        model: A network with a list of blocks, see :func:`proxies.structure.residual_blocks`.
        images: ``[n, C, H, W]``; the paper draws 64 images of standard normal noise.

    Raises:
        ValueError: If the model has no list of blocks, one of them does not give one feature map,
            or a feature is the same at every position.

    References:
        Lee and Ham 2024, AZ-NAS, arXiv:2403.19232.
    """
    return float(_entropies(model, images).sum())


def az_progressivity(model: nn.Module, images: Tensor) -> float:
    """Progressivity: the least that expressivity gains from one primary block to the next.

    In nats, higher is better. The paper leaves it out for vision transformers. Arguments, cost,
    errors and source as :func:`az_expressivity`; of a single primary block there is none.
    """
    entropies = _entropies(model, images)
    if len(entropies) < 2:
        raise ValueError(f"{type(model).__name__} has one primary block; at least 2 are needed")
    return float(entropies.diff().min())


def az_trainability(model: nn.Module, images: Tensor, *, seed: int = 0) -> float:
    """Trainability: how close the primary blocks come to keeping the size of gradients.

    The mean over primary blocks, the first one apart, of ``2 − σ − 1/σ``: 0 at best, for σ = 1.
    σ is the spectral norm of the block's Jacobian, channels by channels, as estimated by
    ``A = mean over positions of g_in g_outᵀ``, where ``g_out`` is drawn from ±1 and ``g_in`` is
    the gradient that comes back. Where a convolutional block has a stride, the positions that it
    reads for one that it writes count as channels. Dimensionless; higher is better. One forward
    and one backward pass, without weight gradients, and an eigendecomposition for each block.

    A block's Jacobian begins at what the block itself reads: layers between two blocks that change
    the size of the map are left out, and so are blocks of tokens that change their number. The
    authors' code leaves out blocks that are exactly the identity as well, and adds 1e-6 to σ in
    the quotient; their formula does not.

    Args:
        model: As in :func:`az_expressivity`.
        images: As in :func:`az_expressivity`.
        seed: For the signs.

    Raises:
        ValueError: As :func:`az_expressivity`, if there is no Jacobian but the first block's, or
            if nothing comes back through a block.

    References:
        Lee and Ham 2024, AZ-NAS, arXiv:2403.19232.
    """
    images = images.to(reference_tensor(model))
    generator = torch.Generator(images.device).manual_seed(seed)
    squares: list[Tensor | None] = []

    def backward(features: list[Feature]) -> None:
        squares.extend(_squared_gain(*pair, generator) for pair in pairwise(features))

    with torch.enable_grad(), evaluating(model), watch_blocks(model, backward):
        network_output(model, images)
    gains = [square.sqrt() for square in squares[1:] if square is not None]
    if not gains:
        raise ValueError(f"{type(model).__name__} has no Jacobian but the first primary block's")
    sigma = torch.stack(gains).cpu()
    if not sigma.min() > 0:
        raise ValueError(f"no gradient comes back through a block of {type(model).__name__}")
    return float((2 - sigma - 1 / sigma).mean())


def standard_normal_like(images: Tensor, seed: int) -> Tensor:
    """Standard normal noise in the shape of the images: what AZ-NAS shows a network."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images.shape, generator=generator).to(images)


def _entropies(model: nn.Module, images: Tensor) -> Tensor:
    """Entropy of the feature of each primary block, in order, ``[blocks]`` float64."""
    entropies: list[Tensor] = []

    def spread(features: list[Feature]) -> None:
        entropies.extend(_entropy(feature.rows(feature.tensor)) for feature in features[1:])

    with torch.no_grad(), evaluating(model), watch_blocks(model, spread):
        network_output(model, images.to(reference_tensor(model)))
    found = torch.stack(entropies).cpu()
    if not found.isfinite().all():
        raise ValueError(f"a feature of {type(model).__name__} is the same at every position")
    return found


def _entropy(rows: Tensor) -> Tensor:
    """Entropy of the principal components' shares, of ``[positions, channels]``."""
    centred = rows.double() - rows.double().mean(0)
    # Both products have the same eigenvalues, but for zeros.
    few = len(centred) < centred.shape[1]
    covariance = centred @ centred.T if few else centred.T @ centred
    spectrum = torch.linalg.eigvalsh(covariance).clamp(min=0)
    entropy: Tensor = torch.special.entr(spectrum / spectrum.sum()).sum()
    return entropy


def _squared_gain(before: Feature, after: Feature, generator: torch.Generator) -> Tensor | None:
    """Largest eigenvalue of ``AᵀA``; ``None`` where positions do not correspond."""
    signs = torch.empty_like(after.tensor, requires_grad=False).bernoulli_(generator=generator)
    g_out = signs.mul_(2).sub_(1)
    g_in = torch.autograd.grad(after.tensor, before.tensor, g_out, retain_graph=True)[0]
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
    squared = jacobian.T @ jacobian if tall else jacobian @ jacobian.T
    largest: Tensor = torch.linalg.eigvalsh(squared)[-1]
    return largest
