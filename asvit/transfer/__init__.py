"""Detectors and segmenters on feature pyramids: their settings, data, models and training."""
