"""Networks as they are trained and handed on: what builds one again, and its weights in a file."""

from asvit.networks.network import Network
from asvit.networks.weights import WeightsFile, load_state, read_state

__all__ = ["Network", "WeightsFile", "load_state", "read_state"]
