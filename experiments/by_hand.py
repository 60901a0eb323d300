"""Networks that people take for small grey pictures, each with its own recipe, in one plain loop.

They take pictures ``[B, 1, 28, 28]``. The loop is what a script of forty lines has: pictures in
memory as 8-bit numbers, crops and flips of a whole batch, channels last, one learning rate that
rises and falls once over the time that there is, which is processor time of one thread.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import DenseNet

SIDE, CLASSES = 28, 10
_PAD = 2  # pixels by which a batch is shifted at most
_LAYERS, _HEADS = 2, 2  # of the transformer with a convolutional tokenizer


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; ``warmup`` is a share of the time."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    batch: int = 128
    smoothing: float = 0.0
    mixup: float = 0.0  # alpha of the Beta distribution; 0 for none
    warmup: float = 0.05


# ---- Networks


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels != width or stride != 1:
            shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, C, H, W]``."""
        return F.relu(self.convolutions(x) + self.shortcut(x))


def residual() -> nn.Module:
    """A residual network of eight convolutions."""
    widths = 16, 32, 64, 128
    blocks = [Block(a, b, 2) for a, b in itertools.pairwise(widths)]
    stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES))
    return nn.Sequential(stem, *blocks, head)


def dense() -> nn.Module:
    """DenseNet-BC of 40 layers and growth 12, as for CIFAR (arXiv:1608.06993)."""
    dense: DenseNet = DenseNet(12, (6, 6, 6), 24, num_classes=CLASSES)
    stem = nn.Conv2d(1, 24, 3, 1, 1, bias=False)
    dense.features = nn.Sequential(stem, *dense.features[4:])
    network: nn.Module = dense
    return network


def mobile() -> nn.Module:
    """MobileNetV3-Small at half the width (arXiv:1905.02244), whose stem keeps the pixels."""
    name = "mobilenetv3_small_050"
    network: nn.Module = timm.create_model(name, num_classes=CLASSES, in_chans=1)
    network.conv_stem.stride = (1, 1)  # type: ignore[assignment]
    return network


def vision_transformer() -> nn.Module:
    """A narrow DeiT (arXiv:2012.12877) of patches of 4 pixels."""
    network: nn.Module = VisionTransformer(
        img_size=SIDE,
        patch_size=4,
        in_chans=1,
        num_classes=CLASSES,
        embed_dim=96,
        depth=9,
        num_heads=3,
        mlp_ratio=2,
        class_token=False,
        global_pool="avg",
    )
    return network


class CompactTransformer(nn.Module):
    """A CCT-2/3x2: convolutional tokenizer, two blocks, sequence pooling (arXiv:2104.05704)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, out in ((1, 64), (64, width)):
            convolution = nn.Conv2d(channels, out, 3, 1, 1, bias=False)
            layers += [convolution, nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.tokenizer = nn.Sequential(*layers)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (SIDE // 4) ** 2, width))
        block = nn.TransformerEncoderLayer(
            width, _HEADS, width, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(width)
        self.blocks = nn.TransformerEncoder(block, _LAYERS, norm, enable_nested_tensor=False)
        self.weight = nn.Linear(width, 1)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, 10]``."""
        tokens = self.tokenizer(x).flatten(2).transpose(1, 2)  # [B, 49, width]
        tokens = self.blocks(tokens + self.positions)
        weights = self.weight(tokens).softmax(1)  # [B, 49, 1]
        logits: Tensor = self.head((weights * tokens).sum(1))
        return logits


_SGD = Recipe()
_ADAMW = Recipe("adamw", 1e-3, 0.05, smoothing=0.1, mixup=0.2, warmup=0.1)

#: Name of a network -> what makes it, and its recipe.
BY_HAND: Mapping[str, tuple[Callable[[], nn.Module], Recipe]] = {
    "plain residual network": (residual, _SGD),
    "DenseNet-BC": (dense, Recipe(weight_decay=1e-4)),
    "MobileNetV3": (mobile, Recipe(weight_decay=1e-4)),
    "CCT": (CompactTransformer, _ADAMW),
    "DeiT": (vision_transformer, _ADAMW),
}


# ---- The loop


@dataclass(frozen=True)
class Pictures:
    """Grey pictures ``[n, 28, 28]`` as 8-bit numbers, and their labels ``[n]``."""

    pixels: Tensor
    labels: Tensor

    def batch(self, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Some pictures ``[B, 1, 28, 28]``, with mean 0 and deviation 1 on the whole."""
        x = (self.pixels[chosen].unsqueeze(1).float() - 73) / 90
        return x.contiguous(memory_format=torch.channels_last), self.labels[chosen]


def train(network: nn.Module, recipe: Recipe, pictures: Pictures, seconds: float) -> float:
    """Train a network for so long; returns the epochs that this was."""
    network.to(memory_format=torch.channels_last)
    optimizer = _optimizer(network, recipe)
    began, done, updates = time.process_time(), 0.0, 0
    network.train()
    while done < 1:
        for chosen in torch.randperm(len(pictures.labels)).split(recipe.batch):
            rate = min(done / recipe.warmup, (1 + math.cos(math.pi * done)) / 2)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * max(rate, 1e-3)
            loss = _loss(network, recipe, *pictures.batch(chosen))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            if (done := (time.process_time() - began) / seconds) >= 1:
                break
    return updates * recipe.batch / len(pictures.labels)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters, decay = network.parameters(), recipe.weight_decay
    if recipe.optimizer == "sgd":
        rate = recipe.learning_rate
        return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=decay, nesterov=True)
    return torch.optim.AdamW(parameters, weight_decay=decay)


def _loss(network: nn.Module, recipe: Recipe, x: Tensor, labels: Tensor) -> Tensor:
    """The loss of a batch, shifted and mirrored as a whole, and mixed with itself."""
    top, left = torch.randint(0, 2 * _PAD + 1, (2,)).tolist()
    x = F.pad(x, (_PAD,) * 4, value=-73 / 90)[:, :, top : top + SIDE, left : left + SIDE]
    if torch.rand(()) < 0.5:
        x = x.flip(3)
    targets = F.one_hot(labels, CLASSES).float()
    if recipe.mixup:
        share = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample()
        x, targets = (share * one + (1 - share) * one.flip(0) for one in (x, targets))
    return F.cross_entropy(network(x), targets, label_smoothing=recipe.smoothing)


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Pictures) -> float:
    """The share of pictures that a network gets right, per cent."""
    network.eval()
    right = 0
    for start in range(0, len(pictures.labels), 500):
        x, labels = pictures.batch(slice(start, start + 500))
        right += int((network(x).argmax(1) == labels).sum())
    return 100 * right / len(pictures.labels)
