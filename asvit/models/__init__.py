"""The networks. Importing this package registers them with timm."""

from asvit.models.asvit import AsViT
from asvit.models.convert import HALLUCINATED_HOSTS, convert, merge
from asvit.models.psvit import PRESETS as PSVIT_PRESETS
from asvit.models.psvit import PSViT
from asvit.models.resnet import SmallResNet
from asvit.models.retokenization import Tokens, retokenize, token_stages
from asvit.models.shiftvit import VARIANTS as SHIFTVIT_VARIANTS
from asvit.models.shiftvit import ShiftViT

__all__ = [
    "HALLUCINATED_HOSTS",
    "PSVIT_PRESETS",
    "SHIFTVIT_VARIANTS",
    "AsViT",
    "PSViT",
    "ShiftViT",
    "SmallResNet",
    "Tokens",
    "convert",
    "merge",
    "retokenize",
    "token_stages",
]
