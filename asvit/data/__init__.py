"""Images: fractals made here, noise, folders, and the datasets of other libraries."""

from asvit.data.base import LabelledImages
from asvit.data.cache import cache_folder
from asvit.data.fractals import FractalDataset
from asvit.data.kinds import MEAN, STD, ImageKind
from asvit.data.preparation import Preparation
from asvit.data.sources import Images, Source, list_sources, load_images, open_dataset
from asvit.data.training_sets import TrainingSets, open_training_sets

__all__ = [
    "MEAN",
    "STD",
    "FractalDataset",
    "ImageKind",
    "Images",
    "LabelledImages",
    "Preparation",
    "Source",
    "TrainingSets",
    "cache_folder",
    "list_sources",
    "load_images",
    "open_dataset",
    "open_training_sets",
]
