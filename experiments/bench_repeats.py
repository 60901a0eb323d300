"""Cost of repeated measurements, one by one and in one vectorised pass.

Run from a checkout: ``python -m experiments.bench_repeats``. Times are relative to forward passes
of the same images through as many networks; each is the shortest of interleaved runs. Operations
are the calls that torch dispatches to a device, except views: roughly the kernels that an
accelerator launches. They are counted on the meta device up to the point where results would be
fetched, because the CPU splits attention into other blocks.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import asvit
from experiments.timing import forward, hardware, shortest
from proxies import Circle, curve_speed, ntk_matrix
from proxies.evaluation import resolve_device
from proxies.expansion import curve_speeds
from proxies.ntk import ntk_matrices


@dataclass(frozen=True)
class Entry:
    """A network and the size of its images in pixels."""

    name: str
    side: int
    parts: Mapping[str, Any] | None = None

    def build(self) -> nn.Module:
        """Build the network with random weights."""
        if "|" in self.name:
            return asvit.build(self.name, image_size=self.side)
        sized = {"img_size": self.side} if "deit" in self.name else {}
        model: nn.Module = timm.create_model(self.name, **sized)
        return asvit.convert(model, **self.parts) if self.parts else model

    @property
    def label(self) -> str:
        """Its name in the table."""
        return f"{self.name}{' hallucinated' if self.parts else ''}, {self.side} px"


ENTRIES = (
    Entry("8,2,3|4,1,2|4,1,4|4,1,6|16", 32),
    Entry("8,2,3|4,1,2|4,1,4|4,1,6|32", 64),
    Entry("8,2,3|4,1,2|4,1,4|4,1,6|32", 224),
    Entry("shiftvit_light_tiny", 64),
    Entry("deit_tiny_patch16_224", 32),
    Entry("deit_tiny_patch16_224", 224),
    Entry("deit_tiny_patch16_224", 32, {"attention": "hallucinated"}),
    Entry("resnet10t", 32),
)


class Operations(TorchDispatchMode):
    """Counts operations dispatched to devices, except views."""

    count: int = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        results = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in results)
        self.count += not view and any("Tensor" in str(result.type) for result in results)
        return func(*args, **(kwargs or {}))


def operations(function: Callable[[], object]) -> int:
    """Count the operations of a call up to fetching its results from the meta device."""
    counted = Operations()  # type: ignore[no-untyped-call]
    with counted, suppress(NotImplementedError):
        function()
    return counted.count


def main() -> None:
    """Print two rows for each network: its feature curve, and its kernel."""
    options = _options()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = resolve_device(options.device)
    print(
        f"{hardware(device)}, {options.repeats} repeats, {options.points} points, "
        f"{options.images} images, float32; times in forward passes"
    )
    names = ["one by one", "together", "gain", "operations", "together", "fewer"]
    print(f"{'network':46}{'measure':9}" + "".join(f"{name:>12}" for name in names))
    for entry in ENTRIES:
        if options.only in entry.label:
            for measure, figures in _figures(entry, options, device).items():
                cells = "".join(f"{figure:12.2f}" for figure in figures)
                print(f"{entry.label:46}{measure:9}{cells}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=16, help="images in the kernel's batch")
    parser.add_argument("--points", type=int, default=10, help="points of the circle")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the shortest counts")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="", help="part of a name")
    return parser.parse_args()


def _figures(
    entry: Entry, options: argparse.Namespace, device: torch.device
) -> dict[str, tuple[float, ...]]:
    """Measure -> times one by one and together, their ratio; the same for operations."""
    side, images = entry.side, torch.randn(options.images, 3, entry.side, entry.side)
    circles = [Circle.random((3, side, side), options.points) for _ in range(options.repeats)]
    models, like = _networks(entry, options.repeats, device), images.to(device)
    meta = _networks(entry, options.repeats, torch.device("meta")), images.to("meta")
    units = {"L^E": circles[0].images(like), "kernel": like}
    found: dict[str, tuple[float, ...]] = {}
    for name, shown in units.items():
        ways = partial(_forward, models, shown), *_ways(name, circles, models, like)
        unit, one, all_ = shortest(device, options.runs, *ways)
        counts = [operations(way) for way in _ways(name, circles, *meta)]
        found[name] = (one / unit, all_ / unit, one / all_, *counts, counts[0] / counts[1])
    return found


def _networks(entry: Entry, count: int, device: torch.device) -> list[nn.Module]:
    networks = []
    for seed in range(count):
        torch.manual_seed(seed)
        with torch.device(device):
            networks.append(entry.build().eval())
    return networks


def _forward(models: Sequence[nn.Module], images: Tensor) -> None:
    for model in models:
        forward(model, images)


def _ways(
    measure: str, circles: Sequence[Circle], models: Sequence[nn.Module], images: Tensor
) -> tuple[Callable[[], object], Callable[[], object]]:
    """A measure of all networks, one by one and together."""

    def curves() -> None:
        for model, circle in zip(models, circles, strict=True):
            curve_speed(model, circle)

    def kernels() -> None:
        for model in models:
            with suppress(NotImplementedError):  # on the meta device, where nothing is fetched
                ntk_matrix(model, images)

    if measure == "kernel":
        return kernels, lambda: ntk_matrices(models, images)
    return curves, lambda: curve_speeds(models, circles)


if __name__ == "__main__":
    main()
