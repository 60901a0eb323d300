"""Watching what the blocks of a network read and write, and what runs between their parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from proxies.features import is_norm
from proxies.structure import feed_forward_after_attention, first_map, residual_blocks


@dataclass(frozen=True)
class Feature:
    """What a primary block reads or writes.

    Args:
        tensor: ``[n, channels, H, W]`` or ``[n, ..., channels]``.
        channels_first: Which of the two.
    """

    tensor: Tensor
    channels_first: bool

    def rows(self, x: Tensor) -> Tensor:
        """A tensor laid out as this one, as ``[positions, channels]``."""
        return (x.movedim(1, -1) if self.channels_first else x).flatten(0, -2)


Visit = Callable[[list[Feature]], None]


@contextmanager
def watch_blocks(model: nn.Module, visit: Visit) -> Iterator[None]:
    """Inside, the end of each block in a forward pass shows its features to a function.

    They are what the block reads; what it has added up to between an attention and a feed-forward
    part, where it has both; and what it writes. In a graph each block is cut from the others, so
    that only one block's activations are held at a time.

    Raises:
        ValueError: If the model has no list of blocks, see
            :func:`proxies.structure.residual_blocks`. The forward pass raises one if a block does
            not read and give one feature map.
    """
    blocks = residual_blocks(model)
    with ExitStack() as hooks, _Sums() as sums:
        for name, block in blocks.items():
            watch = _Watch(f"{name} of {type(model).__name__}", visit, sums)
            for handle in watch.register(block):
                hooks.callback(handle.remove)
        yield


class _Sums(TorchFunctionMode):
    """Notes which of the tensors that it is told of become terms of a sum.

    They are known by their address, so that views of them count, and kept, so that nothing else
    gets that address.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, Tensor] = {}
        self._terms: set[int] = set()

    def forget(self) -> None:
        """Let go of all tensors."""
        self._kept.clear()
        self._terms.clear()

    def keep(self, x: Tensor) -> bool:
        """Follow a tensor; whether it is a new one."""
        is_new = x.data_ptr() not in self._kept
        self._kept[x.data_ptr()] = x
        return is_new

    def is_term(self, x: Tensor) -> bool:
        """Whether something has been added to a tensor that is followed."""
        return x.data_ptr() in self._terms

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _ADDITIONS:
            addresses = {x.data_ptr() for x in args if isinstance(x, Tensor)}
            self._terms |= addresses & self._kept.keys()
        return func(*args, **(kwargs or {}))


_ADDITIONS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


class _Watch:
    """Hooks on one block and its parts."""

    def __init__(self, name: str, visit: Visit, sums: _Sums) -> None:
        self._name = name
        self._visit = visit
        self._sums = sums
        self._read: list[Feature] = []
        """What the block has read, and then what its feed-forward parts have."""
        self._norm: tuple[Tensor, Tensor] | None = None
        """What the last norm read and wrote."""

    def register(self, block: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Hook onto a block; to be undone by removing what comes back."""
        parts = feed_forward_after_attention(block)
        norms = [module for module in block.modules() if parts and is_norm(module)]
        return [
            block.register_forward_pre_hook(self._enter),
            *(norm.register_forward_hook(self._normalise) for norm in norms),
            *(part.register_forward_pre_hook(self._between) for part in parts),
            block.register_forward_hook(self._leave),
        ]

    def _enter(self, block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not args or not isinstance(args[0], Tensor):
            raise ValueError(f"{self._name} does not read one feature map")
        leaf = args[0].detach().requires_grad_(torch.is_grad_enabled())
        # A copy, because the block may change what it reads in place.
        entered = leaf.clone()
        self._read = [Feature(leaf, _channels_first(leaf, block))]
        self._sums.keep(entered)
        return entered, *args[1:]

    def _normalise(self, norm: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        self._norm = (args[0], out)

    def _between(self, part: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0]
        if self._norm is not None and self._norm[1].data_ptr() == x.data_ptr():
            x = self._norm[0]
        # In parallel to the attention, or to another such part, it reads what is known already.
        if self._sums.keep(x):
            self._read.append(Feature(x, _channels_first(x, part)))

    def _leave(self, block: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        several = isinstance(out, tuple)
        maps = [x for x in (out if several else (out,)) if isinstance(x, Tensor)]
        if len(maps) != 1 or maps[0].ndim < 2:
            raise ValueError(f"{self._name} does not give one feature map")
        first, *others = self._read
        # What a part reads is a feature if what the part gives is added to it.
        between = [feature for feature in others if self._sums.is_term(feature.tensor)]
        self._visit([first, *between, Feature(maps[0], _channels_first(maps[0], block))])
        self._read, self._norm = [], None
        self._sums.forget()
        detached = maps[0].detach()
        if not several:
            return detached
        return tuple(detached if isinstance(x, Tensor) else x for x in out)


def _channels_first(x: Tensor, module: nn.Module) -> bool:
    """Convolutions read maps with their channels in front, linear maps behind."""
    return x.ndim == 4 and isinstance(first_map(module), nn.Conv2d)
