"""Classes of pictures by a trained network, or by an exported copy of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from asvit.core.codec import content_fault
from asvit.core.files import expanded
from asvit.core.records import MALFORMED, parse_json
from asvit.core.run_files import RESULT
from asvit.core.threads import in_order
from asvit.core.versions import missing
from asvit.data.decoding import read_as
from asvit.data.folders import find_images
from asvit.data.kinds import ImageKind, Picture
from asvit.export.formats import ABOUT, FORMATS, IMAGE, INPUT, OUTPUT, PROBABILITIES
from asvit.export.reload import by_torch, fixed_batch, onnx_session, run_onnx, takes_pictures
from asvit.export.settings import ExportSettings
from asvit.export.writers import preparation_facts
from asvit.networks import Network, WeightsFile
from asvit.runs.exporting import find_source
from asvit.runs.folder import kind_in, kind_noun
from asvit.runs.timm_classifiers import published_classifier, timm_preparation
from asvit.spaces.timm_models import PREFIX
from asvit.training.precision import arithmetic, fast_layout, use_fast_convolutions
from asvit.training.pretrained import architecture_in, weights_path
from proxies.evaluation import FAILURES, resolve_device
from proxies.messages import first_line, out_of_memory
from proxies.text import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asvit.export.reload import Run

logger = logging.getLogger(__name__)

_ONNX_NUMBERS = {"float32": "float", "float64": "double"}  # others have NumPy's names
_ONNX, _PROGRAM = (FORMATS[name].suffix for name in ("onnx", "pt2"))


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
    paths = list(find_pictures(images))
    classifier = open_classifier(str(weights), resolve_device(device))
    yield from classifier.all(paths, top, batch_size)


def open_classifier(
    weights: str,
    device: torch.device,
    *,
    architecture: str | None = None,
    image_size: int | None = None,
) -> Classifier:
    """A trained network that pictures can be given to.

    Args:
        weights: As of :func:`predict`, or ``timm:NAME`` for the weights that timm publishes.
        device: Where weights run.
        architecture: The network of a file that does not say it.
        image_size: Side of the images in pixels, by default that of the weights.

    Raises:
        FileNotFoundError: If the weights do not exist, or cannot be downloaded.
        ValueError: If they cannot be read, or do not say which network they are of.
        ImportError: If ONNX Runtime is needed and not installed.
    """
    if weights.startswith(PREFIX):
        content = published_classifier(weights, image_size)
        return Classifier.of(Path(weights), content, _by_torch(content.load(), device))
    file = weights_path(weights)
    if not file.exists():
        _check_finished(file.parent)
    if architecture is None and image_size is None:
        return Classifier.load(file, device)
    if file.suffix in (_ONNX, _PROGRAM):
        raise ValueError(f"{file} has a network and an image size of its own; name neither")
    facts: Mapping[str, Any] = {}
    if architecture is not None and architecture.startswith(PREFIX):
        facts, side = timm_preparation(architecture)
        if not architecture_in(weights):  # whose file has a size of its own
            image_size = image_size or side
    source = ExportSettings("safetensors", architecture, weights=str(file), image_size=image_size)
    content, model, _ = find_source(source)
    facts = {**facts, **preparation_facts(content.facts), **content.facts}
    content = replace(content, facts=facts)
    return Classifier.of(file, content, _by_torch(model, device))


def _by_torch(model: nn.Module, device: torch.device) -> Run:
    """Runs a network that nothing else uses on a device, on a CPU as trainings run it."""
    use_fast_convolutions(model, device)
    model.register_forward_pre_hook(lambda _, inputs: (fast_layout(inputs[0]),))
    run = by_torch(model, device)

    def exact(images: NDArray[Any]) -> NDArray[Any]:
        with arithmetic(device, "fp32"):  # torch's own choice are TF32's ten bits
            return run(images)

    return exact


def find_pictures(images: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    """Files of pictures, and of those in folders; raises what is wrong with a path."""
    for image in [images] if isinstance(images, str | Path) else images:
        path = expanded(str(image))
        if path.is_dir():
            yield from find_images(path)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"no picture {str(path)!r}; give a file or a folder")


def _check_finished(folder: Path) -> None:
    """Check that a folder without weights is not that of a run which has yet to write them."""
    if not (folder / RESULT).exists() and (kind := kind_in(folder)):
        raise FileNotFoundError(
            f"{folder} is that of {kind_noun(kind)} that has not finished, and has no "
            "weights yet; give its command again, which goes on"
        )


@dataclass(frozen=True)
class Classifier:
    """A network, how pictures are prepared for it, and its classes."""

    path: Path  # of its weights
    run: Run
    prepare: Callable[[Picture], Tensor]  # of an image, what the network takes
    kind: ImageKind  # of the images in files
    ground: str  # that transparent ones are laid over
    labels: Sequence[str]  # names of the classes, or numbers where the weights name none
    has_names: bool  # whether the weights name them
    network: Network
    batch: int | None  # pictures in every batch; None for any number

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Classifier:
        """The classifier in a file of ours."""
        if path.suffix == _PROGRAM:
            raise ValueError(
                f"{path} is a torch.export program; give the weights that it was made from"
            )
        if path.suffix == _ONNX:
            return cls._from_onnx(path)
        content = WeightsFile.read(path)
        try:
            model = content.load()
        except ValueError as error:
            raise ValueError(f"{path}: {first_line(error)}") from error
        return cls.of(path, content, _by_torch(model, device))

    @classmethod
    def _from_onnx(cls, path: Path) -> Classifier:
        if not path.is_file():
            raise FileNotFoundError(f"no file {str(path)!r}")
        try:
            session = onnx_session(path)
        except ImportError as error:
            raise missing("an ONNX graph", "onnxruntime", "export") from error
        except FAILURES as error:  # as in _checked
            raise ValueError(f"{path} is no ONNX graph: {first_line(error)}") from error
        try:
            about = session.get_modelmeta().custom_metadata_map.get(ABOUT)
            if about is None:
                raise ValueError("it does not say which network it is of")
            content = WeightsFile.described(parse_json(about), {})
            _check_graph(session, content)
        except MALFORMED as error:
            raise ValueError(
                f"{path} is no copy of asvit export: {content_fault(error)}"
            ) from error
        run = _checked(path, run_onnx(session))
        alone = takes_pictures(session)
        return cls.of(path, content, run, fixed_batch(session), alone=alone)

    @classmethod
    def of(
        cls,
        path: Path,
        content: WeightsFile,
        run: Run,
        batch: int | None = None,
        *,
        alone: bool = False,
    ) -> Classifier:
        """The classifier of a network that ``run`` computes.

        ``alone``: It takes decoded pictures, and resizes, crops and normalises them itself.
        """
        network = content.network
        if not network.num_classes:
            raise ValueError(f"{network.architecture} was built without classes")
        labels = content.classes or tuple(map(str, range(network.num_classes)))
        try:
            preparation = content.preparation
        except ValueError as error:
            raise ValueError(f"{path}: {first_line(error)}") from error

        def as_it_is(picture: Picture) -> Tensor:
            return torch.from_numpy(np.array(picture))

        prepare = as_it_is if alone else preparation
        has_names = bool(content.classes)
        kind, ground = preparation.kind, preparation.ground
        return cls(path, run, prepare, kind, ground, labels, has_names, network, batch)

    def all(self, paths: Sequence[Path], top: int, batch_size: int) -> Iterator[PicturePrediction]:
        """What each picture is taken for."""
        names = [str(path) for path in paths]
        rows = self.logits(names, lambda place: self.read(paths[place]), batch_size)
        for path, logits in zip(paths, rows, strict=True):
            if isinstance(logits, str):
                yield PicturePrediction(str(path), reason=logits)
            else:
                yield PicturePrediction(str(path), self._guesses(logits, top))

    def read(self, path: Path) -> Picture:
        """Read an image as the network's :attr:`prepare` takes it."""
        return read_as(path, self.kind, self.ground)

    def logits(
        self, names: Sequence[str], picture: Callable[[int], Picture], batch_size: int
    ) -> Iterator[Tensor | str]:
        """Logits ``[classes]`` of pictures with these names, or why one has none.

        ``picture`` reads the one at a place; a ValueError of it says what is wrong.
        """
        size = self.batch or batch_size

        def read(place: int) -> Tensor | str:
            """A picture as the network takes it, or why there is none."""
            try:
                return self.prepare(picture(place))
            except ValueError as error:
                return str(error)
            except ImportError as error:
                if error.name is not None:
                    raise
                return f"cannot read image {names[place]!r}: {first_line(error)}"
            except FAILURES as error:
                if out_of_memory(error):
                    return f"cannot read image {names[place]!r}: memory ran out"
                raise

        inputs = zip(names, in_order(read, range(len(names))), strict=True)
        while batch := list(islice(inputs, size)):
            images = [image for _, image in batch if isinstance(image, Tensor)]
            rows = iter(self._logits(images) if images else ())
            for name, image in batch:
                row = image if isinstance(image, str) else next(rows)
                if isinstance(row, Tensor) and not row.isfinite().all():
                    row = (
                        f"image {name!r} has numbers so large that {self.path} gives NaN or "
                        "infinity in the place of probabilities"
                    )
                yield row

    def _logits(self, images: Sequence[Tensor]) -> Tensor:
        """Logits ``[images, classes]``, finite but for images of huge numbers."""
        missing = max(0, (self.batch or 0) - len(images))
        whole = torch.stack([*images, *[torch.zeros_like(images[0])] * missing])
        logits = self._run(whole)
        if not logits.isfinite().all() and not self._run(torch.ones_like(whole)).isfinite().all():
            raise ValueError(
                f"{self.path} gives NaN or infinity in the place of probabilities: its weights "
                "are damaged or from a failed training; use another copy"
            )
        return logits[: len(images)]

    def _run(self, images: Tensor) -> Tensor:
        """Logits ``[images, classes]`` of a whole batch."""
        logits = torch.from_numpy(self.run(images.numpy())).float()
        expected = (len(images), len(self.labels))
        if tuple(logits.shape) != expected:
            raise ValueError(
                f"{self.path} gives {tuple(logits.shape)} where {expected[0]} picture(s) of "
                f"{expected[1]} classes are due; it is damaged, use another copy"
            )
        return logits

    def _guesses(self, logits: Tensor, top: int) -> tuple[Guess, ...]:
        # Stable: of equal logits, frequent in 8-bit copies, asvit test takes the first class, too.
        likeliest = logits.argsort(descending=True, stable=True)[:top].tolist()
        shares = logits.softmax(0).tolist()
        return tuple(Guess(self.labels[place], shares[place]) for place in likeliest)


def _checked(path: Path, run: Run) -> Run:
    """``run`` of an ONNX graph, whose errors become a ValueError."""

    def checked(images: NDArray[Any]) -> NDArray[Any]:
        try:
            return run(images)
        except FAILURES as error:  # those of ONNX Runtime have no common base
            raise ValueError(f"{path} cannot be run: {first_line(error)}") from error

    return checked


def _check_graph(session: Any, content: WeightsFile) -> None:
    """Check that an ONNX graph is of the network that its metadata describe."""
    network = content.network
    channels, *sides = network.image_shape
    prepares, logits = takes_pictures(session), (OUTPUT, [network.num_classes])
    images = (IMAGE, ["width", channels]) if prepares else (INPUT, [channels, *sides])
    shares = (PROBABILITIES, logits[1])
    for kind, tensors, expected in (
        ("input", session.get_inputs(), [images]),
        ("output", session.get_outputs(), [logits, shares] if prepares else [logits]),
    ):
        numbers = content.preparation.kind.dtype
        types = {IMAGE: f"tensor({_ONNX_NUMBERS.get(numbers, numbers)})"}
        forms = [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in tensors]
        if forms != [(name, types.get(name, "tensor(float)"), shape) for name, shape in expected]:
            name, shape = expected[0]
            raise ValueError(
                f"the {kind} of its graph is {shown(forms)}, not {name!r} of {shown(shape)} as "
                "its metadata say"
            )
