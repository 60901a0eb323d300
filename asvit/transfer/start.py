"""What the model of a detector or a segmenter starts from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torchvision.transforms import v2

from asvit.data.statistics import Normalisation
from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import backbone
from asvit.training.checkpoint import Origin
from asvit.training.pretrained import picture_statistics, weights_path
from asvit.transfer.settings import TransferSettings


@dataclass(frozen=True)
class Start:
    """The network under a model, how its pixels in [0, 1] are normalised, and its weights."""

    network: str | Network
    normalisation: Normalisation
    weights: Path | None = None  # their file; None for fresh ones

    @classmethod
    def of(cls, settings: TransferSettings) -> Self:
        """As settings say.

        The normalisation is that of the weights: as their file or timm says; otherwise ImageNet's.
        """
        network: str | Network | None = settings.architecture
        weights, normalisation = None, Normalisation()
        if settings.weights is not None:
            weights = weights_path(settings.weights)
            try:
                file = WeightsFile.read(weights)
                network = network or replace(file.network, image_size=settings.image_size)
            except ValueError:
                if network is None:
                    raise
            else:
                if not (kind := file.preparation.kind).picture:
                    raise ValueError(
                        f"{weights} takes images of {kind}, and detectors and segmenters are "
                        "trained on 8-bit RGB pictures alone; use weights of such"
                    )
            own = picture_statistics(settings.weights, settings.architecture or "")
            normalisation = own or normalisation
        if network is None:
            raise ValueError("name an architecture, or weights that say theirs")
        return cls(network, normalisation, weights)

    @classmethod
    def stored(cls, origin: Origin) -> Self:
        """As a training began; its checkpoint has the weights of the whole model."""
        network = origin.network or origin.settings.architecture
        if origin.normalisation is None or network is None:  # of an earlier version
            return cls.of(origin.settings)
        return cls(network, origin.normalisation)

    def pyramid(
        self, settings: TransferSettings, fpn: int | None = None
    ) -> tuple[Any, v2.Normalize]:
        """The network as a feature pyramid, and the normalisation."""
        names = ("norms", "frozen_stages", "drop_path", "grad_checkpointing")
        options = {name: getattr(settings, name) for name in names}
        pyramid = backbone(
            self.network,
            settings.image_size,
            weights=self.weights,
            windows=settings.windows or None,
            fpn=fpn,
            **options,
        )
        return pyramid, v2.Normalize(self.normalisation.mean, self.normalisation.std)
