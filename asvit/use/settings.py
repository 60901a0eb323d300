"""Settings of a test."""

from __future__ import annotations

from asvit.core.settings import Settings, setting, settings_class


@settings_class
class EvaluationSettings(Settings):
    """Settings of a test of a classifier on labelled pictures."""

    data: str = setting(
        ...,
        "Pictures: a folder with a folder for each class; of train, val and test of these, or in "
        "a table, the last; or wds:PATTERN.",
        metavar="FOLDER",
        argument=True,
        complete="paths",
    )
    weights: str = setting(
        ...,
        "Run folder of a training or a design, file of weights, copy exported for timm or ONNX, "
        "or timm:NAME for timm's published weights.",
        metavar="PATH",
        complete="paths",
    )
    architecture: str | None = setting(
        None,
        "Network of a file that does not say which it is of, such as timm:NAME.",
        name="arch",
        metavar="ARCH",
        shown="what the weights say",
        complete="architectures",
    )
    image_size: int | None = setting(
        None, "Side of the square images, in pixels.", at_least=1, shown="that of the weights"
    )
    batch_size: int = setting(32, "Pictures that pass the network together.", at_least=1)
    device: str = setting(
        "auto", "auto, cpu, cuda, ... An ONNX graph runs on the CPU.", metavar="DEVICE"
    )

    def check(self) -> None:
        """Check that an architecture is named of a file alone."""
        if self.architecture is not None and self.weights.startswith("timm:"):
            raise ValueError(
                f"architecture={self.architecture!r} beside weights={self.weights!r}, which say "
                "which network they are of; leave it out"
            )
