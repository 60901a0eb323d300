"""Training recipes by name: the published ones of the hosts, and ours."""

from collections.abc import Mapping
from typing import Any

from proxies.registry import Registry

# DeiT's values, which the others share; further settings are the defaults of TrainSettings. DeiT's
# colour jitter has no effect: timm jitters only without a random augmentation.
_COMMON: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 1024,
    "base_rate": 5e-4,
    "warmup_epochs": 5,
    "first_rate": 1e-6,
    "last_rate": 1e-5,
    "clip": 0.0,
    "drop_path": 0.1,
}
_SWIN = {"warmup_epochs": 20, "first_rate": 5e-7, "last_rate": 5e-6, "clip": 5.0, "drop_path": 0.2}
_NEXT_VIT = {"batch_size": 2048, "weight_decay": 0.1, "warmup_epochs": 20, "clip": 5.0}
_SMALL = {
    "epochs": 100,
    "batch_size": 64,
    "optimizer": "muon",
    "base_rate": 1.6e-2,
    "weight_decay": 0.5,
    "warmup_epochs": 10,
    "clip": 1.0,
    "auto_augment": "none",
    "color_jitter": 0.2,
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "crop_scale": 0.35,
    "drop_path": 0.0,
    "init": "xavier",
}
_FINE_TUNING = {
    "epochs": 30,
    "batch_size": 512,
    "base_rate": 1e-4,
    "weight_decay": 1e-4,
    "warmup_epochs": 3,
    "first_rate": 1e-7,
    "last_rate": 1e-6,
    "clip": 1.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "crop_scale": 0.35,
    "crop_pct": 1.0,
}

RECIPES: Registry[Mapping[str, Any]] = Registry(
    "recipe",
    {
        "deit": _COMMON,
        "swin": _COMMON | _SWIN,
        "pvt": _COMMON,
        "nextvit": _COMMON | _NEXT_VIT,
        "shiftvit": _COMMON | {"warmup_epochs": 20, "drop_path": 0.2},
        "small": _COMMON | _SMALL,
        "finetune": _COMMON | _FINE_TUNING,
    },
)
"""Recipe to its settings.

``base_rate`` is the learning rate for a batch of 512 images; it scales linearly with the batch,
and is :data:`MUON_RATE` times as high with Muon. A warm-up begins at ``first_rate``, and the
decay ends at ``last_rate``.
``deit``, ``swin``, ``pvt``, ``nextvit`` and ``shiftvit`` are the published ones for ImageNet-1K
and 300 epochs, but for repeated augmentation (DeiT, PVTv2, ShiftViT) and the moving average of the
weights (DeiT, ShiftViT), which we leave out. Their drop-path is that of the smallest network of
each family (Swin-T; Swin-S has 0.3 and Swin-B 0.5; ShiftViT's larger ones have 0.4 and 0.5 to
0.6). ShiftViT's batch is eight times its 128 per device; the ten cool-down epochs that its script
takes are never reached, as its loop ends at 300.
``small``, for a few thousand images, and ``finetune``, which starts from given weights, are ours.

References:
    DeiT, arXiv:2012.12877; Swin, arXiv:2103.14030; PVTv2, arXiv:2106.13797; Next-ViT,
    arXiv:2207.05501; ShiftViT, arXiv:2201.10801.
"""

REFERENCE_BATCH = 512
MUON_RATE = 3  # learning rates of AdamW
WARMUP_SHARE = 5  # a warm-up takes at most a fifth of a training, unless its length is given

_ENOUGH = 32  # updates of an epoch, for which a recipe's batch shrinks
_FEW = 32  # images of a batch that shrinks further for fewer updates alone
_LEAST = 8  # these
_SHARE = 4  # images of the smallest batch, for each process


def fitting_batch(images: int, batch: int, processes: int = 1) -> int:
    """Images in a batch where there are so many to train on and a recipe has ``batch``.

    It is halved as long as an epoch would have fewer than 32 updates; from 32 images on, fewer
    than 8. All processes get equal parts, of pairs, as mixing takes these.
    """
    least, step = _SHARE * processes, 2 * processes
    while batch >= 2 * least and images // batch < (_ENOUGH if batch > _FEW else _LEAST):
        batch = batch // 2 // step * step
    return batch


def fitting_rate(rate: float, batch: int) -> float:
    """The learning rate of a batch that was made smaller, where a recipe has ``rate`` for its own.

    It stays, and below 32 images falls with the batch, as in designs.
    """
    return rate * min(1, batch / _FEW)
