"""Collect the features of primary blocks during a forward pass."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from proxies.features import is_norm
from proxies.operations import InterceptOperations, Operation
from proxies.structure import feed_forward_after_attention, first_map, residual_blocks


@dataclass(frozen=True)
class BlockFeature:
    """Input or output of a primary block.

    Args:
        tensor: ``[n, channels, H, W]`` or ``[n, ..., channels]``.
        channels_first: Whether it has the first of these layouts.
    """

    tensor: Tensor
    channels_first: bool

    def rows(self, x: Tensor) -> Tensor:
        """Reshape a tensor of the same layout to ``[positions, channels]``."""
        return (x.movedim(1, -1) if self.channels_first else x).flatten(0, -2)


Visit = Callable[[list[BlockFeature]], None]


@contextmanager
def watch_blocks(model: nn.Module, visit: Visit) -> Iterator[None]:
    """Inside, call ``visit`` with the features of each block at the end of its forward pass.

    These are the input of the block, the sum between its attention and feed-forward parts if it
    has both, and its output. Blocks are detached from each other, so that the graph holds the
    activations of one block at a time.

    Raises:
        ValueError: If the model has no list of blocks, see
            :func:`proxies.structure.residual_blocks`; in the forward pass, if the input or output
            of a block is not one feature map.
    """
    blocks = residual_blocks(model)
    with ExitStack() as handles, _SumTracker() as sums:
        for name, block in blocks.items():
            hooks = _BlockHooks(f"{name} of {type(model).__name__}", visit, sums)
            for handle in hooks.register(block):
                handles.callback(handle.remove)
        yield


class _SumTracker(InterceptOperations):
    """Detects which of the tracked tensors become terms of a sum.

    Tensors are identified by address, so that views count, and kept, so that their addresses are
    not reused.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tracked: dict[int, Tensor] = {}
        self._terms: set[int] = set()

    def clear(self) -> None:
        """Stop tracking all tensors."""
        self._tracked.clear()
        self._terms.clear()

    def track(self, x: Tensor) -> bool:
        """Track a tensor; returns whether it is new."""
        is_new = x.data_ptr() not in self._tracked
        self._tracked[x.data_ptr()] = x
        return is_new

    def is_term(self, x: Tensor) -> bool:
        """Whether a tracked tensor has been a term of a sum."""
        return x.data_ptr() in self._terms

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func in _ADDITIONS:
            addresses = {x.data_ptr() for x in args if isinstance(x, Tensor)}
            self._terms |= addresses & self._tracked.keys()
        return func(*args, **kwargs)


_ADDITIONS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


class _BlockHooks:
    """Hooks on one block and its parts."""

    def __init__(self, name: str, visit: Visit, sums: _SumTracker) -> None:
        self._name = name
        self._visit = visit
        self._sums = sums
        self._inputs: list[BlockFeature] = []  # of the block, then of its feed-forward parts
        self._norm: tuple[Tensor, Tensor] | None = None  # input and output of the last norm

    def register(self, block: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Register hooks on a block and its parts; returns their handles."""
        parts = feed_forward_after_attention(block)
        norms = [module for module in block.modules() if parts and is_norm(module)]
        return [
            block.register_forward_pre_hook(self._on_enter),
            *(norm.register_forward_hook(self._on_norm) for norm in norms),
            *(part.register_forward_pre_hook(self._on_part) for part in parts),
            block.register_forward_hook(self._on_leave),
        ]

    def _on_enter(self, block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not args or not isinstance(args[0], Tensor):
            raise ValueError(f"{self._name} does not take one feature map")
        leaf = args[0].detach().requires_grad_(torch.is_grad_enabled())
        # A copy: the block may change its input in place.
        entered = leaf.clone()
        self._inputs = [BlockFeature(leaf, _channels_first(leaf, block))]
        self._sums.track(entered)
        return entered, *args[1:]

    def _on_norm(self, norm: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        self._norm = (args[0], out)

    def _on_part(self, part: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0]
        if self._norm is not None and self._norm[1].data_ptr() == x.data_ptr():
            x = self._norm[0]
        # A part in parallel to the attention, or to another part, has an input that is tracked.
        if self._sums.track(x):
            self._inputs.append(BlockFeature(x, _channels_first(x, part)))

    def _on_leave(self, block: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        several = isinstance(out, tuple)
        maps = [x for x in (out if several else (out,)) if isinstance(x, Tensor)]
        if len(maps) != 1 or maps[0].ndim < 2:
            raise ValueError(f"{self._name} does not return one feature map")
        first, *others = self._inputs
        # The input of a part is a feature if the part's output is added to it.
        between = [feature for feature in others if self._sums.is_term(feature.tensor)]
        self._visit([first, *between, BlockFeature(maps[0], _channels_first(maps[0], block))])
        self._inputs, self._norm = [], None
        self._sums.clear()
        detached = maps[0].detach()
        if not several:
            return detached
        return tuple(detached if isinstance(x, Tensor) else x for x in out)


def _channels_first(x: Tensor, module: nn.Module) -> bool:
    """Convolutions take channels first, linear maps channels last."""
    return x.ndim == 4 and isinstance(first_map(module), nn.Conv2d)
