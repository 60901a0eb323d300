"""The joint categorical policy over a search space, its rewards and its REINFORCE update.

The rewards are fed the measured architectures one by one, in order, and are rebuilt by feeding
them the same sequence again.

References:
    Williams 1992, "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning"; Chen et al. 2022, "Auto-scaling Vision Transformers without Training",
    arXiv:2202.11921.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from scaling.ranking import Directions

Indices = tuple[int, ...]

_SIGN = {"higher": 1.0, "lower": -1.0}
_WINDOW = 20  # values of a range
_EPSILON = 1e-6  # beside it
_PAST = 0.9  # weight of the past in a moving average


class JointCategoricalPolicy(nn.Module):
    """Independent categorical distributions, one per dimension of the space.

    An architecture is a tuple with the index of one choice in every dimension; ``sizes`` are the
    numbers of choices. The policy starts nearly uniform: logits have the deviation ``scale``.
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


class WorstSoFar:
    """Stand-in for measures that failed: the worst valid value seen so far, per objective."""

    def __init__(self, better: Directions) -> None:
        self._better = dict(better)
        self._worst: dict[str, float] = {}

    def fill(self, values: Mapping[str, float]) -> dict[str, float]:
        """Take in one architecture's values and return the objectives, every failure filled.

        A value that is not finite is a failure: it has the worst value seen so far, or infinity
        in the bad direction while no valid value of that objective is known.
        """
        filled = {}
        for name, way in self._better.items():
            value, infinitely_bad = values[name], -math.inf * _SIGN[way]
            if math.isfinite(value):
                worse = min if way == "higher" else max
                self._worst[name] = worse(self._worst.get(name, value), value)
            filled[name] = value if math.isfinite(value) else self._worst.get(name, infinitely_bad)
        return filled


class WindowedReward:
    """Sum over the objectives of their step's change, as a share of their recent range.

    For one objective the change of step t is ``(m_t - m_{t-1}) / (max - min + 1e-6)`` with the
    range taken over the last 20 values, the newest included. It counts as it is where
    higher is better and negated where lower is better. An objective without a value two steps in
    a row (at the first step, and while it has only failed) contributes 0.
    """

    def __init__(self, better: Directions) -> None:
        self._better = dict(better)
        self._recent: dict[str, deque[float]] = {name: deque(maxlen=_WINDOW) for name in better}

    def update(self, values: Mapping[str, float]) -> float:
        """Take in one architecture's (filled) values and return its reward, dimensionless."""
        return sum(
            _SIGN[way] * self._change(name, values[name]) for name, way in self._better.items()
        )

    def _change(self, name: str, value: float) -> float:
        if not math.isfinite(value):
            return 0.0
        recent = self._recent[name]
        previous = recent[-1] if recent else value
        recent.append(value)
        return (value - previous) / (max(recent) - min(recent) + _EPSILON)


class MovingBaseline:
    """Bias-corrected exponential moving average of the rewards."""

    def __init__(self) -> None:
        self._average = 0.0
        self._past = 1.0  # the weight of the past to the power of the number of rewards

    def update(self, reward: float) -> float:
        """Take in ``reward`` and return the average with it included."""
        self._average = _PAST * self._average + (1 - _PAST) * reward
        self._past *= _PAST
        return self._average / (1 - self._past)
