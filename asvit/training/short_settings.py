"""Settings of the short trainings of architectures and supernets, on images in memory."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from asvit.core.settings import (
    SEED,
    Presets,
    Settings,
    fields_of,
    presets_with,
    setting,
    settings_class,
)
from asvit.core.shared_settings import FIT, GROUND

BALANCES: Final = ("none", "sampling")

#: Times as many images as the smallest class the largest has, from which on classes are uneven.
UNEVEN: Final = 3.0

#: What sampling does about uneven classes, in words.
IN_WORDS: Final = "every epoch has equally many images of each class"


def imbalance(sizes: Any) -> float:
    """Images of the largest class over those of the smallest that has any, by those of each.

    1 without images.
    """
    some = [float(size) for size in sizes if size]
    return max(some) / min(some) if some else 1.0


def labelled_data() -> Any:
    """The setting ``data`` of a run that needs classes."""
    return setting(
        "fractal",
        "fractal, digits, a folder of class folders, TABLE.csv, wds:PATTERN, torchvision:NAME or "
        "hf:NAME.",
        metavar="DATA",
        complete="data",
    )


def initial_weights(default: str = "xavier", **options: Any) -> Any:
    """The setting ``init`` of runs that train networks of any width."""
    return setting(
        default,
        "Initial weights of linear layers, and of convolutions whose own are too small: xavier, "
        "or own, the authors', with which narrow networks learn late.",
        choices=("xavier", "own"),
        **options,
    )


def balance_setting(**options: Any) -> Any:
    """The setting ``balance`` of runs that train."""
    return setting(
        "none",
        "For uneven classes, sample equally many images of each; networks and epochs are then "
        "compared by balanced accuracy.",
        choices=BALANCES,
        **options,
    )


def take_classes(settings: Any) -> None:
    """Give settings with ``data`` and ``classes`` those that ``fractal:CLASSES`` names."""
    name, _, text = str(settings.data).partition(":")
    if name == "fractal" and text.isascii() and text.isdecimal():
        default = fields_of(type(settings))["classes"].default
        if settings.classes not in (default, int(text)):
            raise ValueError(
                f"classes={settings.classes} beside data={settings.data}; leave one of them out"
            )
        object.__setattr__(settings, "classes", int(text))


def images_of(settings: Any) -> str:
    """Where the images come from, with the number of classes of fractals."""
    return f"fractal:{settings.classes}" if settings.data == "fractal" else str(settings.data)


@dataclass(frozen=True, kw_only=True)
class CandidateSettings:
    """How the networks of a search are trained: equal settings give equal accuracies on a CPU.

    What the settings of a search have as options, they have checked.
    """

    data: str = "fractal"
    classes: int = 100  # of fractals
    train_images: int = 20_000
    test_images: int = 5_000
    image_size: int = 64  # pixels
    steps: int = 3_000  # batches of each training, the same for all
    batch_size: int = 64
    learning_rate: float = 1e-3
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of the steps
    label_smoothing: float = 0.1
    clip: float = 1.0
    shift: int = 0
    flip: bool = False
    crop_scale: float = 1.0
    color_jitter: float = 0.0
    fit: str = "crop"
    ground: str = "auto"
    init: Literal["xavier", "own"] = "xavier"
    balance: Literal["none", "sampling"] = "none"
    seed: int = 0


@settings_class(kw_only=True)
class SupernetSettings(Settings):
    """Settings of a supernet. Two runs with equal settings on one CPU give equal weights.

    The paper gives no recipe. This one is DeiT's at the size of a laptop, with the gradient
    clipped at 1 and without its augmentation; all images stay in memory.
    """

    presets: ClassVar[Presets] = presets_with(
        quick={
            "classes": 5,
            "train_images": 500,
            "validation_images": 100,
            "test_images": 100,
            "image_size": 32,
            "width": 24,
            "epochs": 10,
            "batch_size": 50,
        }
    )

    space: str = setting(
        "psvit2d",
        "Search space: psvit2d or psvit1d.",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
    )
    classes: int = setting(20, "Classes of the fractals; other images have their own.", at_least=2)
    train_images: int = setting(8_000, "Images to train on, over all classes.", at_least=2)
    validation_images: int = setting(1_000, "Held-out images to rank paths by.", at_least=1)
    test_images: int = setting(
        1_000, "Images used neither for training nor for ranking paths.", at_least=1
    )
    width: int = setting(48, "Channels of the first stage.", at_least=1)
    epochs: int = setting(60, "Passes over the training images.", at_least=1)
    data: str = labelled_data()
    image_size: int = setting(64, "Side of the square images, in pixels.", at_least=1)
    batch_size: int = setting(64, "Images in a batch.", at_least=1)
    learning_rate: float = setting(
        1e-3, "Highest learning rate, after the warm-up.", metavar="N", above=0
    )
    shift: int = setting(0, "Shift training images by up to N pixels along each axis.", at_least=0)
    flip: bool = setting(False, "Mirror half of the training images.")
    crop_scale: float = setting(
        1.0, "Smallest share of an image's area in a random crop.", above=0, at_most=1
    )
    color_jitter: float = setting(
        0.0, "Strength of random brightness, contrast and saturation.", at_least=0, at_most=1
    )
    fit: str = FIT
    ground: str = GROUND
    seed: int = SEED

    def __post_init__(self) -> None:
        take_classes(self)
        super().__post_init__()

    def check(self) -> None:
        """Check that there is a batch in an epoch."""
        if self.batch_size > self.train_images:
            raise ValueError(
                f"batch_size={self.batch_size} is more than there are training images, "
                f"{self.train_images}; use at most as many"
            )
