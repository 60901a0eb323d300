"""Architectures as texts and as frozen dataclasses: what networks, spaces and settings read."""
