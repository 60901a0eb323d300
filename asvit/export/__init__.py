"""Export of networks to other formats, each copy verified against the original."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.export.formats import FORMATS, Format

if TYPE_CHECKING:
    from asvit.export.comparison import TOLERANCE, Difference, compare
    from asvit.export.exported import model_card
    from asvit.export.writers import write_copy

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Difference",
    "Format",
    "compare",
    "model_card",
    "write_copy",
]

# Name -> module that defines it. Lazy, since the process that verifies an ONNX file imports this
# package and must not need PyTorch.
_LAZY = {
    "TOLERANCE": "asvit.export.comparison",
    "Difference": "asvit.export.comparison",
    "compare": "asvit.export.comparison",
    "model_card": "asvit.export.exported",
    "write_copy": "asvit.export.writers",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit.export' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
