"""Small networks of every family, by name; and those of the released code."""

import json
from pathlib import Path

import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.convnext import ConvNeXt
from timm.models.deit import VisionTransformerDistilled
from timm.models.nextvit import NextViT
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from asvit.architectures.genotype import Genotype
from asvit.models import AsViT, PSViT, ShiftViT, convert

SIDE = 64
PYRAMID = {"embed_dims": (8, 16), "depths": (1, 1), "num_heads": (1, 2), "mlp_ratios": (2, 2)}
SETTINGS = {"img_size": SIDE, "num_classes": 5}
PLAIN = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, **SETTINGS}


#: Every part that a space varies, as it is not in the published network.
PARTS = "stem=conv,head=linear,mixing=ffn,init=width"


def small_asvit(parts=""):
    return AsViT("7,8,2|3,4,2|4,2,2|2,1,2|16,16" + parts, **SETTINGS)


def small_psvit(pooling, **settings):
    cells, dims, heads = ("s", "b", "b"), (16, 24, 32), (2, 2, 4)
    return PSViT(cells, dims, heads, pooling=pooling, patch_size=4, **SETTINGS, **settings)


def small_pvt(**settings):
    return PyramidVisionTransformerV2(num_classes=5, sr_ratios=(8, 4), **PYRAMID, **settings)


def both_parts(model):
    return convert(model, "hallucinated", "compact")


#: Networks that can be retokenized, for images of 64 px and 5 classes.
NETWORKS = {
    "asvit": small_asvit,
    "asvit, positions": lambda: small_asvit(";positions=absolute"),
    "asvit, parts": lambda: small_asvit(f";{PARTS}"),
    "asvit, parts, compact": lambda: convert(small_asvit(f";{PARTS}"), ffn="compact"),
    "shiftvit": lambda: ShiftViT(depths=(1, 1, 1, 1), width=12, num_classes=5),
    "shiftvit, deep stem": lambda: ShiftViT(
        depths=(1, 1, 1, 1), width=12, stem="deep", num_classes=5
    ),
    "psvit 1d": lambda: small_psvit("1d"),
    "psvit 2d": lambda: small_psvit("2d"),
    "vit": lambda: VisionTransformer(**PLAIN),
    "vit, any size": lambda: VisionTransformer(**PLAIN, dynamic_img_size=True),
    "vit, mean of tokens": lambda: VisionTransformer(
        **PLAIN, class_token=False, global_pool="avg", reg_tokens=2, no_embed_class=True
    ),
    "deit with a teacher": lambda: VisionTransformerDistilled(**PLAIN),
    "deit, converted": lambda: both_parts(VisionTransformer(**PLAIN)),
    "pvt": small_pvt,
    "pvt, converted": lambda: both_parts(small_pvt()),
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


# Weights, images and outputs of the released code (VITA-Group/AsViT), made on CPU in float32.
GOLDEN = sorted((Path(__file__).parents[2] / "data" / "golden").glob("*.safetensors"))


def released(path):
    """The network of a golden file in evaluation mode, all tensors of the file, and its facts."""
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    genotype = Genotype.parse(facts["arch"]).with_(
        depths=json.loads(facts["depths"]), width=int(facts["width"])
    )
    model = AsViT(genotype, img_size=int(facts["image_size"])).eval()
    assert sum(p.numel() for p in model.parameters()) == int(facts["params"])
    tensors = load_file(path)
    weights = {name: t for name, t in tensors.items() if name.startswith("weights.")}
    model.load_state_dict({name.removeprefix("weights."): t for name, t in weights.items()})
    return model, tensors, facts


def deit(**changes):
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return VisionTransformer(**{**shape, "num_classes": 5, **changes})


def pyramid(**changes):
    shape = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 20, 32), "num_heads": (1, 2, 5, 8)}
    shape |= {"mlp_ratios": (4, 4, 4, 4), "num_classes": 5}
    return PyramidVisionTransformerV2(**{**shape, **changes})


def tiny_pyramid(**changes):
    shape = {"depths": (1, 1), "embed_dims": (8, 20), "num_heads": (2, 5), "mlp_ratios": (4, 4)}
    return pyramid(**{**shape, "sr_ratios": (2, 1), "num_classes": 4, **changes})


def psvit(cells, dims, heads, pooling, **settings):
    shape = {"img_size": 64, "num_classes": 5}
    return PSViT(cells, dims, heads, pooling=pooling, **{**shape, **settings})


def with_statistics(model):
    """The network in evaluation mode, with batch norms that have seen something."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.weight, 0.5, 2)
    return model.eval()


#: Networks whose attention can be replaced -> (builder, height and width of an image).
HOSTS = {
    "deit": (deit, (32, 32)),
    "deit, any size": (lambda: deit(dynamic_img_size=True), (24, 48)),
    "pvt": (pyramid, (64, 96)),
    # The smallest there is: widths are given, and the third stage has fives of blocks.
    "next": (lambda: NextViT(in_chans=3, num_classes=5, depths=(1, 1, 5, 1)), (32, 64)),
}
#: The same for measures by brute force; 4 classes, and the side of an image.
TINY_HOSTS = {
    "deit": (lambda: deit(img_size=16, patch_size=4, embed_dim=12, num_classes=4), 16),
    "pvt": (tiny_pyramid, 32),
}
