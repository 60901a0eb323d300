"""Networks with their settings and weights files, and feature pyramids in their own module."""

from asvit.networks.network import Network
from asvit.networks.weights import WeightsFile, load_state, read_state

__all__ = ["Network", "WeightsFile", "load_state", "read_state"]
