"""Cost of the shift and of its obvious implementations, relative to copying the same map.

Run from a checkout: ``python -m experiments.bench_shift``. Every time is the shortest of
interleaved runs in one process; forward passes do not record a graph.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from asvit.models.layers.shift import shift

N_DIV, STEP = 12, 1
#: Channels and side of the map of each stage of Shift-T at 224 px.
STAGES = ((96, 56), (192, 28), (384, 14), (768, 7))
COPY = "copy"


def by_padding(x: Tensor) -> Tensor:
    """Crop and pad each group, then concatenate."""
    left, right, up, down, rest = _groups(x)
    moved = [
        F.pad(left[..., STEP:], (0, STEP)),
        F.pad(right[..., :-STEP], (STEP, 0)),
        F.pad(up[:, :, STEP:], (0, 0, 0, STEP)),
        F.pad(down[:, :, :-STEP], (0, 0, STEP, 0)),
    ]
    return torch.cat([*moved, rest], dim=1)


def by_rolling(x: Tensor) -> Tensor:
    """Roll each group, zero the wrapped part, then concatenate."""
    groups = _groups(x)
    left, right = groups[0].roll(-STEP, 3), groups[1].roll(STEP, 3)
    up, down = groups[2].roll(-STEP, 2), groups[3].roll(STEP, 2)
    left[..., -STEP:] = 0
    right[..., :STEP] = 0
    up[:, :, -STEP:] = 0
    down[:, :, :STEP] = 0
    return torch.cat([left, right, up, down, groups[4]], dim=1)


def by_slices(x: Tensor) -> Tensor:
    """Copy each group into zeros, with autograd's own backward pass."""
    out = torch.zeros_like(x)
    g = x.shape[1] // N_DIV
    out[:, :g, :, :-STEP] = x[:, :g, :, STEP:]
    out[:, g : 2 * g, :, STEP:] = x[:, g : 2 * g, :, :-STEP]
    out[:, 2 * g : 3 * g, :-STEP] = x[:, 2 * g : 3 * g, STEP:]
    out[:, 3 * g : 4 * g, STEP:] = x[:, 3 * g : 4 * g, :-STEP]
    out[:, 4 * g :] = x[:, 4 * g :]
    return out


def ours(x: Tensor) -> Tensor:
    """The shift of :mod:`asvit.models.layers.shift`."""
    return shift(x, n_div=N_DIV, step=STEP)


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    COPY: torch.clone,
    "ours": ours,
    "pad and join": by_padding,
    "roll and join": by_rolling,
    "slices": by_slices,
}


def main() -> None:
    """Print a table for each memory format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=15, help="runs, of which the shortest counts")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    print(
        f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, "
        f"batch {options.batch}, float32; times over those of a copy"
    )
    for memory in (torch.contiguous_format, torch.channels_last):
        print(f"\n{str(memory).removeprefix('torch.')}: forward | backward")
        print(" " * 14 + "".join(f"{f'{c} x {n} x {n}':>17}" for c, n in STAGES))
        table = [_stage(c, n, memory, options) for c, n in STAGES]
        for name in WAYS:
            cells = (f"{row[name][0]:.2f} | {row[name][1]:.2f}" for row in table)
            print(f"{name:14}" + "".join(f"{cell:>17}" for cell in cells), flush=True)


def _stage(
    channels: int, side: int, memory: torch.memory_format, options: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Implementation -> forward and backward time relative to a copy, for one map."""
    x = torch.randn(options.batch, channels, side, side, device=options.device)
    x = x.to(memory_format=memory)
    expected = ours(x)
    best = {name: [float("inf"), float("inf")] for name in WAYS}
    for _ in range(options.runs):
        for name, way in WAYS.items():
            if name != COPY and not torch.equal(way(x), expected):
                raise RuntimeError(f"{name} gives other numbers")
            # Not a leaf, as within a network: the gradient of a leaf would be copied once more.
            inner = x.detach().requires_grad_().view_as(x)
            backward = partial(way(inner).backward, x)
            times = [_seconds(call, options.device) for call in (partial(way, x), backward)]
            best[name] = [min(pair) for pair in zip(best[name], times, strict=True)]
    copy = best[COPY][0]
    return {name: (forward / copy, backward / copy) for name, (forward, backward) in best.items()}


def _seconds(call: Callable[[], object], device: str) -> float:
    started = time.perf_counter()
    call()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def _groups(x: Tensor) -> tuple[Tensor, ...]:
    """The four shifted groups, and the channels that stay."""
    group = x.shape[1] // N_DIV
    groups: tuple[Tensor, ...] = x.split([group] * 4 + [x.shape[1] - 4 * group], dim=1)
    return groups


if __name__ == "__main__":
    main()
