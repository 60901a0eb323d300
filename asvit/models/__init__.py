"""The networks. Importing this package registers them with timm."""

from asvit.models.asvit import AsViT

__all__ = ["AsViT"]
