"""Detectors and segmenters on our networks: their data, models and training."""
