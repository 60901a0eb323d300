"""The joint categorical policy over a search space, and one REINFORCE update of it.

References:
    Williams 1992, "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning"; Chen et al. 2022, arXiv:2202.11921.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Indices = tuple[int, ...]


class JointCategoricalPolicy(nn.Module):
    """Independent categorical distributions, one per dimension of the space.

    An architecture is a tuple with the index of one choice in every dimension; ``sizes`` are the
    numbers of choices. Logits are drawn normal with standard deviation ``scale``, which is near 0,
    so that the policy starts uniform.
    """

    def __init__(
        self, sizes: Sequence[int], *, generator: torch.Generator, scale: float = 1e-3
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        # One tensor for all dimensions: twelve small ones cost Adam several times the time.
        # float64: rounding should not decide what is drawn on another machine.
        start = torch.randn(
            sum(sizes), generator=generator, dtype=torch.float64, device=generator.device
        )
        self.logits = nn.Parameter(scale * start)  # [sum of sizes]

    def log_probabilities(self) -> list[Tensor]:
        """Log-probabilities of the choices, in nats: one ``[choices]`` per dimension."""
        return [part.log_softmax(0) for part in torch.split(self.logits, self.sizes)]

    @torch.no_grad()
    def sample(self, generator: torch.Generator) -> Indices:
        """Draw one choice in every dimension."""
        return tuple(
            int(torch.multinomial(part.exp().to(generator.device), 1, generator=generator))
            for part in self.log_probabilities()
        )

    def log_prob(self, indices: Indices) -> Tensor:
        """Joint log-probability of ``indices`` in nats, a scalar: the sum over dimensions."""
        parts = zip(self.log_probabilities(), indices, strict=True)
        return torch.stack([part[index] for part, index in parts]).sum()

    def entropy(self) -> Tensor:
        """Joint entropy in nats, a scalar: the sum over dimensions."""
        return torch.stack([-(p.exp() * p).sum() for p in self.log_probabilities()]).sum()

    def argmax(self) -> Indices:
        """The likeliest choice of every dimension; the first one where several are equal."""
        return tuple(int(part.argmax()) for part in torch.split(self.logits.detach(), self.sizes))


def reinforce_step(
    policy: JointCategoricalPolicy,
    optimizer: torch.optim.Optimizer,
    architectures: Sequence[Indices],
    advantages: Sequence[float],
) -> None:
    """Move ``policy`` towards architectures in proportion to their advantage, in place.

    The loss is the mean over the architectures that were drawn since the last update of
    ``-log pi(architecture) * advantage``; an advantage is reward minus baseline.
    """
    terms = [
        policy.log_prob(indices) * advantage
        for indices, advantage in zip(architectures, advantages, strict=True)
    ]
    loss = -torch.stack(terms).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
