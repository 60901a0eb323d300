"""Networks with their settings and weights; opened in one place, feature pyramids in another."""

from asvit.networks.network import Network
from asvit.networks.weights import WeightsFile, load_state, read_state

__all__ = ["Network", "WeightsFile", "load_state", "read_state"]
