"""Tiny networks that can be converted, for 4 classes."""

from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import asvit
from asvit.models import PSViT


def deit(channels: int = 3, side: int = 16, **changes) -> nn.Module:
    shape = {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 4}
    return VisionTransformer(in_chans=channels, img_size=side, **{**shape, **changes})


def pyramid(channels: int = 3, **changes) -> nn.Module:
    shape = {"depths": (1, 1), "embed_dims": (8, 20), "num_heads": (2, 5), "mlp_ratios": (4, 4)}
    shape |= {"sr_ratios": (2, 1), "num_classes": 4}
    return PyramidVisionTransformerV2(in_chans=channels, **{**shape, **changes})


def as_vit() -> nn.Module:
    return asvit.build("5,2,2|3,1,2|2,1,2|2,1,3|16,8", image_size=32, num_classes=4)


def psvit() -> nn.Module:
    return PSViT(("s", "b"), (8, 12), (2, 3), pooling="2d", img_size=32, num_classes=4)


#: Name -> (builder, side of its images).
MODELS = {"deit": (deit, 16), "pvt": (pyramid, 32), "asvit": (as_vit, 32), "psvit": (psvit, 32)}
