"""Settings shared by the runs that train with the short recipe on images in memory."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from asvit.core.preparing_settings import fit_setting, ground_setting
from asvit.core.settings import Settings, seed_setting, setting


@dataclass(frozen=True)
class Recipe:
    """A training recipe: AdamW or Muon, linear warm-up, cosine decay to 0.

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
        Szegedy et al. 2016, arXiv:1512.00567: label smoothing.
    """

    steps: int
    batch_size: int = 64  # images
    learning_rate: float = 2e-3  # the highest
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.05  # decoupled, of matrices; vectors (norms, biases) have none
    warmup: int = 20  # steps over which the learning rate rises
    label_smoothing: float = 0.1  # share of the target that is spread over all classes
    clip: float = 1.0  # largest gradient norm
    shift: int = 0  # largest random shift along each axis, in pixels
    flip: bool = False  # half of the images, at random
    crop_scale: float = 1.0  # smallest share of an image's area in a random crop
    color_jitter: float = 0.0  # strength of random brightness, contrast and saturation
    # Of uneven classes: weights in the loss, or equally many images of each.
    balance: Literal["none", "weights", "sampling"] = "none"


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


def take_classes(settings: Any) -> None:
    """Give settings with ``data`` and ``classes`` those that ``fractal:CLASSES`` names."""
    name, _, text = str(settings.data).partition(":")
    if name == "fractal" and text.isascii() and text.isdecimal():
        default = {field.name: field.default for field in fields(settings)}["classes"]
        if settings.classes not in (default, int(text)):
            raise ValueError(
                f"classes={settings.classes} beside data={settings.data}; leave one of them out"
            )
        object.__setattr__(settings, "classes", int(text))


@dataclass(frozen=True, kw_only=True)
class ShortTrainingSettings(Settings):
    """The recipe: a linear warm-up and a cosine decay, on images kept in memory."""

    data: str = labelled_data()
    classes: int = setting(
        ..., "Classes of the fractals; other images have their own.", at_least=2
    )
    batch_size: int = setting(..., "Images in a batch.", at_least=1)
    learning_rate: float = setting(
        1e-3, "Highest learning rate, after the warm-up.", metavar="N", above=0
    )
    weight_decay: float = setting(
        0.05, "Decoupled weight decay of matrices.", metavar="N", at_least=0, below=1
    )
    warmup: float = setting(
        0.1,
        "Share of the steps over which the learning rate rises, before a cosine decay.",
        metavar="N",
        at_least=0,
        below=1,
    )
    label_smoothing: float = setting(
        0.1, "Share of the target spread over all classes.", metavar="N", at_least=0, below=1
    )
    clip: float = setting(1.0, "Largest norm of the gradient.", metavar="N", above=0)
    shift: int = setting(0, "Shift training images by up to N pixels along each axis.", at_least=0)
    flip: bool = setting(False, "Mirror half of the training images.")
    crop_scale: float = setting(
        1.0, "Smallest share of an image's area in a random crop.", above=0, at_most=1
    )
    color_jitter: float = setting(
        0.0, "Strength of random brightness, contrast and saturation.", at_least=0, at_most=1
    )
    fit: str = fit_setting()
    ground: str = ground_setting()
    seed: int = seed_setting()

    def __post_init__(self) -> None:
        take_classes(self)
        super().__post_init__()

    @property
    def images(self) -> str:
        """Where the images come from, with the number of classes of fractals."""
        return f"fractal:{self.classes}" if self.data == "fractal" else self.data

    def short_recipe(self, steps: int) -> Recipe:
        """The recipe for a training of so many steps."""
        names = {field.name for field in fields(Recipe)} & {field.name for field in fields(self)}
        shared = {name: getattr(self, name) for name in names - {"steps"}}
        return Recipe(steps, **{**shared, "warmup": round(self.warmup * steps)})
