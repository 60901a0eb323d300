"""Networks in the forms that others read, each proved equal to the network it was made of."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.export.formats import FORMATS, Format

if TYPE_CHECKING:
    from asvit.export.card import model_card
    from asvit.export.comparison import TOLERANCE, Difference, compare
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

# Name -> module that defines it. The process that proves an ONNX file starts here, and is to do
# without PyTorch.
_LAZY = {
    "TOLERANCE": "asvit.export.comparison",
    "Difference": "asvit.export.comparison",
    "compare": "asvit.export.comparison",
    "model_card": "asvit.export.card",
    "write_copy": "asvit.export.writers",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit.export' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
