"""The networks. Importing this package registers them with timm."""

from asvit.models.asvit import AsViT
from asvit.models.convert import convert, merge
from asvit.models.hallucinated import HALLUCINATED_HOSTS
from asvit.models.psvit import PSViT
from asvit.models.psvit_presets import PRESETS as PSVIT_PRESETS
from asvit.models.retokenization import Tokens, retokenize, token_stages
from asvit.models.shiftvit import ShiftViT
from asvit.models.shiftvit_variants import VARIANTS as SHIFTVIT_VARIANTS

__all__ = [
    "HALLUCINATED_HOSTS",
    "PSVIT_PRESETS",
    "SHIFTVIT_VARIANTS",
    "AsViT",
    "PSViT",
    "ShiftViT",
    "Tokens",
    "convert",
    "merge",
    "retokenize",
    "token_stages",
]
