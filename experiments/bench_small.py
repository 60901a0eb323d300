"""Images a second in training small pictures: our trainer and a plain loop in memory.

Run from a checkout: ``python -m experiments.bench_small``. Both train the same network on the same
pictures of noise, which are in memory as 8-bit numbers. The plain loop crops and flips a batch as
a whole, by the same draws for all of its images, and has SGD; ours draws for each image, clips
gradients, checks losses, and has SGD or, as in designs, Muon, all in float32. *Ours, bf16* has
Muon and the arithmetic that designs choose, which on CPUs without bfloat16 is float32, too. Epochs
of all alternate; the clock is processor time.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from asvit.data import MEAN, STD, LabelledImages
from asvit.search.limits import Limits
from asvit.search.settings import SearchSettings
from asvit.spaces import build, load_space
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings
from experiments.bench import alternating, bench_parser, our_epoch, start
from experiments.tables import markdown

CLASSES = 10
SIDES = (28, 64, 128)
MACS = (2_000_000, 5_000_000, 10_000_000)
SHARE = 14  # a picture is shifted by this part of its side at most
SGD = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4}


class Noise(LabelledImages):
    """Pictures of noise."""

    def __init__(self, count: int, side: int) -> None:
        labels = np.arange(count) % CLASSES
        super().__init__(f"noise of {side} px", tuple(map(str, range(CLASSES))), labels)
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)

    def picture(self, index: int) -> Image.Image:
        """Image ``index``."""
        return Image.fromarray(self.pixels[index])


def main() -> None:
    """Print images a second of every way, and their ratio to the plain loop's."""
    parser = bench_parser(__doc__, runs=3, threads=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=16, help="updates of an epoch")
    options = parser.parse_args()
    start(options, f"batches of {options.batch}, median of {options.runs} epochs")
    rows = []
    for side in SIDES:
        for macs in MACS:
            text = network(side, macs)
            images = Noise(options.batch * options.steps, side)
            ways = {
                "plain": plain(text, images, options.batch),
                "sgd": ours(text, images, options.batch, precision="fp32", **SGD),
                "muon": ours(text, images, options.batch, precision="fp32"),
                "chosen": ours(text, images, options.batch),
            }
            times = alternating(ways, options.runs, torch.device("cpu"))
            speed = {name: len(images) / statistics.median(own) for name, own in times.items()}
            ratios = [f"{speed[name] / speed['plain']:.2f}" for name in ("sgd", "muon", "chosen")]
            speeds = [round(images) for images in speed.values()]
            rows.append([side, f"{macs / 1e6:.0f} M", *speeds, *ratios])
            print(*rows[-1], flush=True)
    names = ["px", "multiply-adds", "plain", "ours, SGD", "ours, Muon", "ours, bf16"]
    ratios = ["SGD / plain", "Muon / plain", "bf16 / plain"]
    print(markdown(dict.fromkeys([*names, *ratios], "r"), rows))


def network(side: int, macs: int) -> str:
    """The residual network of designs at this side, of about so many multiply-adds."""
    space = "resnet-small" if side < 64 else "resnet-parts"
    settings = SearchSettings(
        trainings=1, space=space, image_size=side, classes=CLASSES, max_macs=macs
    )
    known = load_space(space)
    return str(Limits(known, settings).network(known.parse(known.by_hand[0])))


def ours(text: str, images: Noise, batch: int, **options: Any) -> Callable[[int], None]:
    """An epoch of our trainer."""
    side = images.pixels.shape[1]
    settings = TrainSettings.make(
        recipe="small",
        architecture=text,
        image_size=side,
        batch_size=batch,
        crop_scale=1.0,
        shift=side // SHARE,
        color_jitter=0.0,
        **options,
    )
    return our_epoch(settings, images, fresh(text, side), ProcessGroup("cpu"))


def plain(text: str, images: Noise, batch: int) -> Callable[[int], None]:
    """An epoch of a plain loop."""
    pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).contiguous()
    labels, side = torch.from_numpy(images.labels), pixels.shape[-1]
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (MEAN, STD))
    model = fresh(text, side).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    pad = side // SHARE

    def epoch(_number: int) -> None:
        model.train()
        for chosen in torch.randperm(len(pixels)).split(batch):
            x = (pixels[chosen].float() - mean) / std
            top, left = torch.randint(0, 2 * pad + 1, (2,)).tolist()
            x = F.pad(x, (pad,) * 4)[:, :, top : top + side, left : left + side]
            if torch.rand(()) < 0.5:
                x = x.flip(3)
            x = x.contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(x), labels[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def fresh(text: str, side: int) -> nn.Module:
    """A new network; its weights are the same for all."""
    torch.manual_seed(0)
    return build(text, side, CLASSES)


if __name__ == "__main__":
    main()
