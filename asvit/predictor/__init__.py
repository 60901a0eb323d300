"""Accuracies predicted from a few short trainings, and how far to trust them."""

from asvit.predictor.features import features
from asvit.predictor.model import Predictor
from asvit.predictor.validation import CrossValidation, cross_validate

__all__ = ["CrossValidation", "Predictor", "cross_validate", "features"]
