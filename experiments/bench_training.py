"""Training time per image: our trainer and a plain loop of timm's parts.

Run from a checkout: ``python -m experiments.bench_training``. Both train the same network on the
same pictures with the recipe of Swin: timm's random augmentation, erasing, mixup and CutMix,
AdamW, a cosine schedule per update and gradient clipping; or, with ``--recipe small``, by that of
a design: crops, flips and colour jitter alone. The plain loop follows timm's script; ours is
:class:`asvit.training.trainer.Trainer` with our loader. Epochs of both alternate, and the shortest
of each counts; the median shows how steady the machine was. On a CPU without data workers the
clock is process time, which excludes other programs.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timm.data import Mixup, create_dataset, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, dispatch_clip_grad
from torch import nn
from torch.nn import functional as F

from asvit.data import MEAN, STD, open_dataset
from asvit.spaces import build
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings
from experiments.bench import alternating, bench_parser, our_epoch, start, write_pictures

CLASSES = 4
AUGMENT = "rand-m9-mstd0-inc1"  # stronger than 9 timm asks for 0 bits, which Pillow 13 refuses
WAYS = ("plain timm loop", "asvit")


def main() -> None:
    """Print the time per image of both, and their ratio."""
    parser = bench_parser(__doc__, runs=5, threads=1)  # runs are epochs of each
    parser.add_argument("--arch", default="timm:deit_tiny_patch16_224")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="updates of an epoch")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--recipe", choices=("swin", "small"), default="swin")
    parser.add_argument("--precision", default="auto", help="of ours; the other has float32")
    options = parser.parse_args()
    side, images = options.image_size, options.batch * options.steps
    what = f"{options.arch}, {side} px, batches of {options.batch}, {options.workers} workers"
    device = start(options, f"{what}; ms an image")
    settings = TrainSettings.make(
        recipe=options.recipe,
        architecture=options.arch,
        image_size=side,
        batch_size=options.batch,
        epochs=options.runs + 1,
        precision=options.precision,
        **({"auto_augment": AUGMENT} if options.recipe == "swin" else {}),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), images, classes=CLASSES, size=(2 * side, 2 * side))
        times = measured(settings, Path(folder), options.workers, str(device))
    for name, own in times.items():
        shortest, median = (1e3 * of(own) / images for of in (min, statistics.median))
        print(f"{name:>16}  {shortest:8.2f}  median {median:8.2f}")
    plain, ours = times.values()
    medians = statistics.median(ours) / statistics.median(plain)
    print(f"ratio {min(ours) / min(plain):.3f}, of the medians {medians:.3f}")


def measured(
    settings: TrainSettings, folder: Path, workers: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each epoch but the first; epochs of both ways alternate."""
    processes = ProcessGroup(device)
    ways = {
        name: way(settings, folder, workers, processes)
        for name, way in zip(WAYS, (plain, ours), strict=True)
    }
    return alternating(ways, settings.epochs - 1, processes.device, wall=workers > 0)


def ours(
    settings: TrainSettings, folder: Path, workers: int, processes: ProcessGroup
) -> Callable[[int], None]:
    """An epoch of our trainer."""
    return our_epoch(settings, open_dataset(str(folder)), network(settings), processes, workers)


def plain(
    settings: TrainSettings, folder: Path, workers: int, processes: ProcessGroup
) -> Callable[[int], None]:
    """An epoch of a loop like that of timm's training script."""
    device = processes.device
    model = network(settings).to(device)
    loader: Any = create_loader(
        create_dataset("", str(folder)),
        input_size=(3, settings.image_size, settings.image_size),
        batch_size=settings.batch_size,
        is_training=True,
        use_prefetcher=device.type == "cuda",
        re_prob=settings.erasing,
        re_mode="pixel",
        auto_augment=None if settings.auto_augment == "none" else settings.auto_augment,
        color_jitter=settings.color_jitter,
        scale=(settings.crop_scale, 1.0),
        interpolation="bicubic",
        mean=MEAN,
        std=STD,
        num_workers=workers,
        persistent_workers=workers > 0,
        device=device,
    )
    mixup = Mixup(
        settings.mixup,
        settings.cutmix,
        switch_prob=0.5,
        label_smoothing=settings.label_smoothing,
        num_classes=CLASSES,
    )
    optimizer = create_optimizer_v2(
        model, settings.optimizer, settings.learning_rate, settings.weight_decay
    )
    schedule, _ = create_scheduler_v2(
        optimizer,
        num_epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        warmup_lr=settings.lowest_rates[0],
        min_lr=settings.lowest_rates[1],
        step_on_epochs=False,
        updates_per_epoch=len(loader),
    )
    criterion = SoftTargetCrossEntropy()

    def epoch(number: int) -> None:
        model.train()
        losses = AverageMeter()
        for step, (images, labels) in enumerate(loader):
            images, labels = images.to(device), labels.to(device)
            targets: torch.Tensor = F.one_hot(labels, CLASSES).float()
            if settings.mixup or settings.cutmix:
                images, targets = mixup(images, labels)
            loss = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            dispatch_clip_grad(model.parameters(), settings.clip)
            optimizer.step()
            schedule.step_update(number * len(loader) + step + 1)
            if step % 50 == 0 or step + 1 == len(loader):
                losses.update(float(loss.detach()), len(images))

    return epoch


def network(settings: TrainSettings) -> nn.Module:
    """A new network; its weights are the same for both."""
    torch.manual_seed(0)
    return build(settings.architecture, settings.image_size, CLASSES, drop_path=settings.drop_path)


if __name__ == "__main__":
    main()
