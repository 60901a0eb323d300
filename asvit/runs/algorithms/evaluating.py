"""The algorithm of tests."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from asvit.core.answers import Answer, write_answers
from asvit.core.files import split_reading
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.run_files import ANSWERS, PREDICTIONS
from asvit.data.base import LabelledImages, file_digest, sets_digest, subset
from asvit.data.kinds import PICTURES, RGB, ImageKind, Picture
from asvit.data.preparation import shown_channels
from asvit.data.training_sets import open_test_part
from asvit.networks.opening import weights_path
from asvit.runs.run_folder import RunFolder
from asvit.spaces.timm_models import PREFIX
from asvit.training.metrics import predictions_of
from asvit.use.measures import Scored, match_classes, measures, score
from asvit.use.predicting import Classifier, open_classifier
from asvit.use.result import EvaluationResult
from asvit.use.settings import EvaluationSettings
from asvit.use.trained_on import count_trained
from proxies.evaluation import resolve_device

logger = logging.getLogger(__name__)


def execute(
    s: EvaluationSettings, run: RunFolder[EvaluationSettings, EvaluationResult]
) -> EvaluationResult:
    """Classify every picture, write the answers, and measure them."""
    run.title = f"testing {s.weights} on {s.data}"
    device = resolve_device(s.device)
    known = open_classifier(
        s.weights, device, architecture=s.architecture, image_size=s.image_size
    )
    images = open_test_part(s.data, known.kind.reading).on(known.ground)
    _check_pixels(s, images.kind, known.kind)
    of_class, classes = match_classes(
        images.classes, known.labels, has_names=known.has_names, data=s.data, weights=s.weights
    )
    run.begin(
        images={"source": images.source, "digest": sets_digest(images)},
        weights=_weights(s.weights),
        device=device.type,
    )
    if (earlier := run.earlier_result()) is not None:
        return earlier
    logits, digests, unreadable = _outputs(known, images, s.batch_size, run.tell)
    if not logits:
        raise ValueError(f"none of the pictures can be read: {images.source}")
    places = list(logits)
    outputs = torch.stack(list(logits.values())).double().numpy()
    scored = score(outputs, of_class[images.labels[places]], classes)
    answers = _answers(scored, images, digests, places)
    write_answers(run.folder / ANSWERS, answers)
    shown = shown_channels(images.kind)
    mistakes = predictions_of(classes, answers, lambda at: images.picture(places[at]), shown=shown)
    mistakes.write(run.folder / PREDICTIONS)
    return run.result(
        architecture=known.network.architecture,
        image_size=known.network.image_size,
        classes=classes,
        **measures(scored),
        unreadable=unreadable,
        trained_on=_count_trained(s, subset(images, np.array(places), "read"), run.tell),
        answers=answers,
    )


def _check_pixels(s: EvaluationSettings, own: ImageKind, wanted: ImageKind) -> None:
    """Check that the network takes images of this kind."""
    if own.content == wanted.content:
        return
    name, reading = split_reading(s.data)
    as_rgb = wanted == PICTURES and not reading
    raise ValueError(
        f"{s.data} has images of {own}, {s.weights} is for {wanted}; test others"
        f"{f', or {name}:{RGB}, which takes all as 8-bit RGB' * as_rgb}"
    )


def _weights(text: str) -> Mapping[str, str]:
    """Name and digest of the weights; the digest is empty if they are no file here."""
    file = None if text.startswith(PREFIX) else weights_path(text)
    there = file is not None and file.is_file()
    return {"source": text, "digest": file_digest(file) if there and file else ""}


def _count_trained(s: EvaluationSettings, images: LabelledImages, tell: Tell) -> int:
    """How many of the pictures the network was trained on, with a warning."""
    trained = count_trained(s.weights, images, image_progress(tell))
    if trained:
        logger.warning(
            "the network was trained on %d of these %d pictures: on others it is worse",
            *(trained, len(images)),
        )
    return trained


def _outputs(
    classifier: Classifier, images: LabelledImages, batch: int, tell: Tell
) -> tuple[dict[int, Tensor], dict[int, str], dict[str, str]]:
    """Logits and digests of the pictures by their places, and why others have none."""
    logits, digests, unreadable = dict[int, Tensor](), dict[int, str](), dict[str, str]()
    names = [str(images.path(place) or images.name(place)) for place in range(len(images))]

    def picture(place: int) -> Picture:
        """The picture, and in passing, in the thread that reads it, its digest."""
        image, file = images.picture(place), images.path(place)
        known = images.digest(place)  # which reading has checked
        digests[place] = known or ("" if file is None else file_digest(file))
        return image

    for place, output in enumerate(classifier.logits(names, picture, batch)):
        if isinstance(output, Tensor):
            logits[place] = output
        else:
            logger.warning("%s", output)
            unreadable[images.name(place)] = output.replace(names[place], images.name(place))
        tell(Progress("picture", place + 1, len(images)))
    return logits, {place: digests[place] for place in logits}, unreadable


def _answers(
    scored: Scored, images: LabelledImages, digests: Mapping[int, str], places: Sequence[int]
) -> tuple[Answer, ...]:
    """The answer about each picture, with the digits that the table has."""
    columns = (scored.predicted, scored.confidences, scored.losses)
    return tuple(
        Answer(
            images.name(place),
            images.classes[images.labels[place]],
            scored.classes[predicted],
            round(float(share), 6),
            round(float(loss), 6),
            digests[place],
        )
        for place, predicted, share, loss in zip(places, *columns, strict=True)
    )
