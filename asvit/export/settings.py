"""Settings of an export."""

from asvit.core.settings import Settings, setting, settings_class
from asvit.export.formats import FORMATS

TOLERANCE = 1.0  # points
_ONNX_ALONE = ("with_preprocessing", "int8")


@settings_class
class ExportSettings(Settings):
    """Settings of an export."""

    to: str = setting(
        ...,
        "timm, onnx, pt2 or safetensors.",
        metavar="FORMAT",
        convert=lambda name: FORMATS[name].name,
        complete="asvit.export.formats:FORMATS",
    )
    architecture: str | None = setting(
        None,
        "Text of any space or family, or timm:NAME; not needed where the weights name it. A file "
        "or a run folder in its place is taken for the weights.",
        metavar="[ARCH]",
        argument=True,
        complete="architectures",
    )
    weights: str | None = setting(
        None,
        "File of weights, run folder of a training or design, or timm:NAME for timm's published "
        "weights.",
        metavar="PATH",
        complete="paths",
    )
    random: bool = setting(False, "Export freshly initialised weights.")
    out: str | None = setting(
        None,
        "The copy: a file, or a folder for timm.",
        metavar="PATH",
        shown="beside the weights",
        complete="paths",
    )
    image_size: int | None = setting(
        None,
        "Side of the square images, in pixels; position embeddings are resampled.",
        at_least=1,
        shown="that of the weights, else 224",
    )
    num_classes: int | None = setting(
        None,
        "Number of classes.",
        name="classes",
        at_least=0,
        shown="those of the weights, else 1000",
    )
    with_preprocessing: bool = setting(
        False,
        "Resize, crop and normalise in the onnx graph, which then takes a decoded picture of any "
        "size; beside it is a script that runs it without asvit.",
    )
    int8: bool = setting(
        False, "Quantise onnx to 8-bit integers, and say what that costs in accuracy."
    )
    data: str | None = setting(
        None,
        "Pictures for int8, as asvit train takes them: those to train on give the ranges, the "
        "others test it.",
        metavar="DATA",
        shown="those of the weights' run",
        complete="data",
    )
    tolerance: float = setting(
        TOLERANCE,
        "Points of accuracy that int8 may lose on those pictures; a copy that loses more is not "
        "written.",
        metavar="POINTS",
        at_least=0,
    )
    card: bool = setting(True, "Write a model card beside it.")
    force: bool = setting(False, "Replace an existing copy.", repeats=False)

    @property
    def published(self) -> bool:
        """Whether the weights are those that timm publishes."""
        return self.weights is not None and self.weights.startswith("timm:")

    def check(self) -> None:
        """Check values that depend on each other."""
        for name in _ONNX_ALONE:
            if getattr(self, name) and self.to != "onnx":
                raise ValueError(f"{name} is for onnx, not for {self.to}; leave it out")
        for name, default in (("data", None), ("tolerance", TOLERANCE)):
            value = getattr(self, name)
            if value != default and not self.int8:
                raise ValueError(f"{name}={value} is for int8; give that, too")
        if self.random and self.weights is not None:
            raise ValueError(f"weights={self.weights!r} and random ones were requested; name one")
        if not self.random and self.weights is None and self.architecture is None:
            raise ValueError("nothing to export; name a file of weights or a run folder")
        if self.random and self.architecture is None:
            raise ValueError("random weights of which network? name the architecture")
        if self.out is None and (self.random or self.published):
            raise ValueError("a network without a file of weights needs a name; give --out")
