"""Small networks of every kind that can be retokenized, by name, for 64 px and 5 classes."""

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.deit import VisionTransformerDistilled
from timm.models.pit import PoolingVisionTransformer
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

from asvit.models import AsViT, PSViT, ShiftViT, convert

SIDE = 64
PYRAMID = {"embed_dims": (8, 16), "depths": (1, 1), "num_heads": (1, 2), "mlp_ratios": (2, 2)}
SETTINGS = {"img_size": SIDE, "num_classes": 5}
PLAIN = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, **SETTINGS}


def small_asvit():
    return AsViT("7,8,2|3,4,2|4,2,2|2,1,2|16,16", **SETTINGS)


def small_psvit(pooling, **settings):
    cells, dims, heads = ("s", "b", "b"), (16, 24, 32), (2, 2, 4)
    return PSViT(cells, dims, heads, pooling=pooling, patch_size=4, **SETTINGS, **settings)


def small_pvt(**settings):
    return PyramidVisionTransformerV2(num_classes=5, sr_ratios=(8, 4), **PYRAMID, **settings)


def small_pit(**settings):
    shape = {"base_dims": (8, 8, 8), "depth": (1, 1, 1), "heads": (1, 2, 4), "mlp_ratio": 2}
    return PoolingVisionTransformer(patch_size=8, stride=4, **shape, **SETTINGS, **settings)


def small_swin(**settings):
    shape = {"embed_dim": 8, "depths": (2, 2, 2), "num_heads": (1, 2, 2), "window_size": 4}
    return SwinTransformer(**{**SETTINGS, **shape, **settings})


def both_parts(model):
    return convert(model, "hallucinated", "compact")


NETWORKS = {
    "asvit": small_asvit,
    "asvit, converted": lambda: both_parts(small_asvit()),
    "shiftvit": lambda: ShiftViT(depths=(1, 1, 1, 1), width=12, num_classes=5),
    "psvit 1d": lambda: small_psvit("1d"),
    "psvit 2d": lambda: small_psvit("2d"),
    "psvit 2d, converted": lambda: both_parts(small_psvit("2d")),
    "vit": lambda: VisionTransformer(**PLAIN),
    "vit, any size": lambda: VisionTransformer(**PLAIN, dynamic_img_size=True),
    "vit, mean of tokens": lambda: VisionTransformer(
        **PLAIN, class_token=False, global_pool="avg", reg_tokens=2, no_embed_class=True
    ),
    "deit with a teacher": lambda: VisionTransformerDistilled(**PLAIN),
    "deit, converted": lambda: both_parts(VisionTransformer(**PLAIN)),
    "pvt": small_pvt,
    "pvt, converted": lambda: both_parts(small_pvt()),
    "pit": small_pit,
    "swin": small_swin,
    "swin, other windows": lambda: small_swin(window_size=(3, 5, 4), always_partition=True),
    "convnext": lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5),
    "resnet": lambda: timm.create_model("test_resnet", num_classes=5),
}


def make(name):
    """The network of that name, in evaluation mode, with its own weights."""
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


def images(count=2, side=SIDE):
    """``[count, 3, side, side]``."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))
