"""Networks with their settings, weights files and feature pyramids."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.networks.network import Network
from asvit.networks.weights import WeightsFile, load_state, read_state

if TYPE_CHECKING:
    from asvit.networks.pyramid import backbone

__all__ = ["Network", "WeightsFile", "backbone", "load_state", "read_state"]


def __getattr__(name: str) -> object:
    if name != "backbone":  # lazy: it imports torchvision's detectors
        raise AttributeError(f"module 'asvit.networks' has no attribute {name!r}")
    return getattr(import_module("asvit.networks.pyramid"), name)
