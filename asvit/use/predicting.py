"""Classes of pictures by a trained network, or by an exported copy of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from asvit.core.codec import MALFORMED, content_fault, parse_json
from asvit.core.files import expanded
from asvit.core.running import ABOUT, by_onnx, by_torch, onnx_session, takes_pictures
from asvit.core.threads import in_order
from asvit.core.versions import missing
from asvit.data.decoding import read_as
from asvit.data.folders import find_images
from asvit.data.kinds import ImageKind, Picture
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import open_network, weights_path
from asvit.spaces.timm_models import PREFIX
from asvit.training.precision import arithmetic, fast_layout, use_fast_convolutions
from proxies.evaluation import FAILURES, resolve_device
from proxies.messages import first_line, out_of_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asvit.core.running import Run

_ONNX = ".onnx"


@dataclass(frozen=True)
class Guess:
    """A class that a picture may be of."""

    label: str
    probability: float


@dataclass(frozen=True)
class PicturePrediction:
    """What a network takes a picture for."""

    image: str  #: path of the picture
    guesses: tuple[Guess, ...] = ()  #: the likeliest classes, the likeliest first
    reason: str = ""  #: why the picture has none, else empty


def predict(
    weights: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    top: int = 3,
    batch_size: int = 32,
    device: str = "auto",
) -> list[PicturePrediction]:
    """Classify pictures, prepared as the images that the network was tested on.

    Args:
        weights: Run folder of a training or a design, file of weights of ours, a copy that was
            exported for timm or ONNX, quantised or with preprocessing, too, or ``"timm:NAME"``
            for the weights that timm publishes.
        images: Files of pictures, or one of them; folders stand for all pictures in them.
        top: Classes to name for each picture.
        batch_size: Pictures that pass the network together.
        device: Where weights run, such as ``"cuda"``; an ONNX graph runs on the CPU.

    Returns:
        One prediction for each picture, in their order. One that cannot be read, or whose numbers
        overflow in the network, has a reason in place of classes.

    Raises:
        FileNotFoundError: If weights or pictures do not exist.
        ValueError: If the weights cannot be read, or do not say which network they are of.
        ImportError: If ONNX Runtime is needed and not installed.

    Example:
        >>> result = asvit.run_training(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32, classes=2, train_images=20,
        ...     validation_images=10, epochs=1, batch_size=10, out="training",
        ... )
        >>> (prediction,) = asvit.predict("training", ["pictures/cat/0.png"], top=1)
        >>> len(prediction.guesses)
        1
    """
    return list(predictions(weights, images, top=top, batch_size=batch_size, device=device))


def predictions(
    weights: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    top: int = 3,
    batch_size: int = 32,
    device: str = "auto",
) -> Iterator[PicturePrediction]:
    """The same as of :func:`predict`, one by one, for any number of pictures."""
    for name, number in {"top": top, "batch_size": batch_size}.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    paths = list(_find_pictures(images))
    classifier = open_classifier(str(weights), resolve_device(device))
    rows = classifier.logits(
        [str(path) for path in paths],
        lambda place: read_as(paths[place], classifier.kind, classifier.ground),
        batch_size,
    )
    for path, logits in zip(paths, rows, strict=True):
        if isinstance(logits, str):
            yield PicturePrediction(str(path), reason=logits)
            continue
        # Stable: of equal logits, frequent in 8-bit copies, asvit test takes the first class, too.
        likeliest = logits.argsort(descending=True, stable=True)[:top].tolist()
        shares = logits.softmax(0).tolist()
        guesses = tuple(Guess(classifier.labels[place], shares[place]) for place in likeliest)
        yield PicturePrediction(str(path), guesses)


def _find_pictures(images: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    for image in [images] if isinstance(images, str | Path) else images:
        path = expanded(str(image))
        if path.is_dir():
            yield from find_images(path)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"no picture {str(path)!r}; give a file or a folder")


@dataclass(frozen=True)
class Classifier:
    """A network, how pictures are prepared for it, and its classes."""

    path: Path  # of its weights
    network: Network
    run: Run
    prepare: Callable[[Picture], Tensor]  # of an image, what the network takes
    kind: ImageKind  # of the images in files
    ground: str  # that transparent ones are laid over
    labels: Sequence[str]  # names of the classes, or numbers where the weights name none
    has_names: bool  # whether the weights name them
    alone: bool  # whether the network takes a single picture at a time, which it prepares

    def logits(
        self, names: Sequence[str], picture: Callable[[int], Picture], batch_size: int
    ) -> Iterator[Tensor | str]:
        """Logits ``[classes]`` of pictures with these names, or why one has none.

        ``picture`` reads the one at a place; a ValueError of it says what is wrong.
        """

        def read(place: int) -> Tensor | str:
            """A picture as the network takes it, or why there is none."""
            try:
                return self.prepare(picture(place))
            except ValueError as error:
                return str(error)
            except FAILURES as error:
                lacking = isinstance(error, ImportError) and error.name is None  # a codec
                if not lacking and not out_of_memory(error):
                    raise
                return f"cannot read image {names[place]!r}: {first_line(error)}"

        inputs = zip(names, in_order(read, range(len(names))), strict=True)
        while batch := list(islice(inputs, 1 if self.alone else batch_size)):
            images = [image for _, image in batch if isinstance(image, Tensor)]
            rows = iter(self._logits(torch.stack(images)) if images else ())
            for name, image in batch:
                row = image if isinstance(image, str) else next(rows)
                if isinstance(row, Tensor) and not row.isfinite().all():
                    row = (
                        f"{self.path} gives NaN or infinity in the place of probabilities for "
                        f"image {name!r}: its numbers are too large, or the weights are damaged"
                    )
                yield row

    def _logits(self, images: Tensor) -> Tensor:
        """Logits ``[images, classes]``."""
        try:
            logits = torch.from_numpy(self.run(images.numpy())).float()
        except FAILURES as error:  # those of ONNX Runtime have no common base
            if self.path.suffix != _ONNX:
                raise
            raise ValueError(f"{self.path} cannot be run: {first_line(error)}") from error
        if tuple(logits.shape) != (len(images), len(self.labels)):
            raise ValueError(
                f"{self.path} gives {tuple(logits.shape)} where {len(images)} picture(s) of "
                f"{len(self.labels)} classes are due; it is damaged, use another copy"
            )
        return logits


def open_classifier(
    weights: str,
    device: torch.device,
    *,
    architecture: str | None = None,
    image_size: int | None = None,
) -> Classifier:
    """A trained network that pictures can be given to; errors as those of :func:`predict`.

    The ``architecture`` is of a file of weights that does not say it. Images are ``image_size``
    pixels wide, by default as the weights say.
    """
    path = Path(weights) if weights.startswith(PREFIX) else weights_path(weights)
    if path.suffix == ".pt2":
        raise ValueError(
            f"{path} is a torch.export program; give the weights that it was made from"
        )
    if path.suffix == _ONNX:
        if (architecture, image_size) != (None, None):
            raise ValueError(f"{path} has a network and an image size of its own; name neither")
        content, session = _open_onnx(path)
        run, alone = by_onnx(session), takes_pictures(session)
    else:
        content = open_network(weights, architecture=architecture, image_size=image_size)
        run, alone = _by_torch(content.load(), device), False
    network = content.network
    if not network.num_classes:
        raise ValueError(f"{network.architecture} was built without classes")
    try:
        preparation = content.preparation
    except ValueError as error:
        raise ValueError(f"{path}: {first_line(error)}") from error
    return Classifier(
        path=path,
        network=network,
        run=run,
        prepare=_as_tensor if alone else preparation,
        kind=preparation.kind,
        ground=preparation.ground,
        labels=content.classes or tuple(map(str, range(network.num_classes))),
        has_names=bool(content.classes),
        alone=alone,
    )


def _open_onnx(path: Path) -> tuple[WeightsFile, Any]:
    """What an ONNX file of ours says of its network, and ONNX Runtime's session of it."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    try:
        session = onnx_session(path)
    except ImportError as error:
        raise missing("an ONNX graph", "onnxruntime", "export") from error
    except FAILURES as error:  # those of ONNX Runtime have no common base
        raise ValueError(f"{path} is no ONNX graph: {first_line(error)}") from error
    about = session.get_modelmeta().custom_metadata_map.get(ABOUT)
    if about is None:
        raise ValueError(
            f"{path} is no copy of asvit export: it does not say which network it is of"
        )
    try:
        return WeightsFile.described(parse_json(about), {}), session
    except MALFORMED as error:
        raise ValueError(f"{path} is no copy of asvit export: {content_fault(error)}") from error


def _by_torch(model: nn.Module, device: torch.device) -> Run:
    """Runs a network that nothing else uses on a device, on a CPU as trainings run it."""
    use_fast_convolutions(model, device)
    model.register_forward_pre_hook(lambda _, inputs: (fast_layout(inputs[0]),))
    run = by_torch(model, device)

    def exact(images: NDArray[Any]) -> NDArray[Any]:
        with arithmetic(device, "fp32"):  # torch's own choice are TF32's ten bits
            return run(images)

    return exact


def _as_tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(np.array(picture))
