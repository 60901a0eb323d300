"""The feed-forward part of a block."""

from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear, GELU, Linear, for every token alone.

    Args:
        dim: Width of a token.
        hidden: Width between the two maps.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., dim] -> [..., dim]``."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out
