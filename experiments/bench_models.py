"""Throughput of each published model relative to its baseline.

Run from a checkout: ``python -m experiments.bench_models``. Runs of a model and its baseline are
interleaved in one process, and the shortest of each counts. Training is a forward and a backward
pass of the training form; inference and MACs use the merged form.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

import asvit
from experiments.bench import bench_parser, shortest, start


class Entry(NamedTuple):
    """A model, its baseline, and the parts to convert."""

    name: str
    baseline: str
    parts: Mapping[str, Any] = MappingProxyType({})
    channels_last: bool = False

    def build(self) -> nn.Module:
        """Build the model with random weights."""
        torch.manual_seed(0)
        model: nn.Module = timm.create_model(self.name)
        model = asvit.convert(model, **self.parts) if self.parts else model
        memory = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(memory_format=memory)

    @property
    def label(self) -> str:
        """Its name in the table."""
        words = [self.name, *("+ " + kind for kind in self.parts.values())]
        return " ".join([*words, "(channels last)"] if self.channels_last else words)


_HMHSA = {"attention": "hallucinated"}
_CFFN = {"ffn": "compact"}

ENTRIES = (
    *(
        Entry(name, "swin_tiny_patch4_window7_224", channels_last=last)
        for name in ("shiftvit_r2_tiny", "shiftvit_light_tiny")
        for last in (False, True)
    ),
    Entry("psvit_1d_tiny", "deit_tiny_patch16_224"),
    Entry("psvit_1d_tiny_shared", "deit_tiny_patch16_224"),
    Entry("psvit_2d_tiny", "deit_tiny_patch16_224"),
    *(
        Entry(host, host, parts)
        for host in ("deit_tiny_patch16_224", "deit_small_patch16_224", "pvt_v2_b1")
        for parts in (_HMHSA, _CFFN, _HMHSA | _CFFN)
    ),
    Entry("nextvit_small", "nextvit_small", _HMHSA),
    Entry("nextvit_small", "nextvit_small", _HMHSA | _CFFN),
)


def main() -> None:
    """Print one row for each model."""
    parser = bench_parser(__doc__, runs=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    device = start(options, f"batch {options.batch}, 224 px, float32; throughput over a baseline")
    print(f"{'model':50}{'baseline':32}{'MACs':>7}{'inference':>11}{'training':>10}")
    for entry in ENTRIES:
        if options.only in entry.name:
            print(_row(entry, options, device), flush=True)


def _row(entry: Entry, options: argparse.Namespace, device: torch.device) -> str:
    """The line of one model in the table."""
    macs, inference, training = over_baseline(entry, options.batch, options.runs, device)
    return f"{entry.label:50}{entry.baseline:32}{macs:7.2f}{inference:11.2f}{training:10.2f}"


def over_baseline(
    entry: Entry, batch: int, runs: int, device: torch.device
) -> tuple[float, float, float]:
    """Multiply-adds, and throughput of inference and training, over the model's baseline."""
    trained = [entry.build(), Entry(entry.baseline, entry.baseline).build()]
    merged = [asvit.merge(model) for model in trained]
    macs = [asvit.cost(model).macs for model in merged]
    images = torch.randn(batch, 3, 224, 224, device=device)
    memory = torch.channels_last if entry.channels_last else torch.contiguous_format
    inputs = images.to(memory_format=memory), images
    ratios = []
    for run, models in ((_infer, merged), (_train, trained)):
        calls = [partial(run, m.to(device), x) for m, x in zip(models, inputs, strict=True)]
        own, baseline = shortest(device, runs, *calls)
        ratios.append(baseline / own)
    return macs[0] / macs[1], ratios[0], ratios[1]


def _infer(model: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        model.eval()(images)


def _train(model: nn.Module, images: Tensor) -> None:
    model.train()(images).square().mean().backward()
    model.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
