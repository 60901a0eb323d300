"""The algorithm of tests."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from asvit.core.answers import Answer, write_answers
from asvit.core.files import split_reading
from asvit.core.progress import Progress, image_progress
from asvit.core.run_files import ANSWERS, PREDICTIONS
from asvit.data.base import file_digest, sets_digest, subset
from asvit.data.kinds import PICTURES, RGB, Picture
from asvit.data.preparation import shown_channels
from asvit.data.training_sets import open_test_part
from asvit.networks.opening import weights_path
from asvit.runs.run_folder import RunFolder
from asvit.spaces.timm_models import PREFIX
from asvit.training.metrics import predictions_of
from asvit.use.measures import match_classes, measures, score
from asvit.use.predicting import open_classifier
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
    classifier = open_classifier(
        s.weights, device, architecture=s.architecture, image_size=s.image_size
    )
    images = open_test_part(s.data, classifier.kind.reading).on(classifier.ground)
    if images.kind.content != classifier.kind.content:
        name, reading = split_reading(s.data)
        as_rgb = classifier.kind == PICTURES and not reading
        raise ValueError(
            f"{s.data} has images of {images.kind}, {s.weights} is for {classifier.kind}; test "
            f"others{f', or {name}:{RGB}, which takes all as 8-bit RGB' * as_rgb}"
        )
    of_class, classes = match_classes(
        images.classes,
        classifier.labels,
        has_names=classifier.has_names,
        data=s.data,
        weights=s.weights,
    )
    file = None if s.weights.startswith(PREFIX) else weights_path(s.weights)
    digest = "" if file is None or not file.is_file() else file_digest(file)
    run.begin(
        images={"source": images.source, "digest": sets_digest(images)},
        weights={"source": s.weights, "digest": digest},
        device=device.type,
    )
    if (earlier := run.earlier_result()) is not None:
        return earlier

    names = [str(images.path(place) or images.name(place)) for place in range(len(images))]
    logits, digests, unreadable = dict[int, Tensor](), dict[int, str](), dict[str, str]()

    def picture(place: int) -> Picture:
        """The picture, and in passing, in the thread that reads it, its digest."""
        image, path = images.picture(place), images.path(place)
        known = images.digest(place)  # which reading has checked
        digests[place] = known or ("" if path is None else file_digest(path))
        return image

    for place, output in enumerate(classifier.logits(names, picture, s.batch_size)):
        if isinstance(output, Tensor):
            logits[place] = output
        else:
            logger.warning("%s", output)
            unreadable[images.name(place)] = output.replace(names[place], images.name(place))
        run.tell(Progress("picture", place + 1, len(images)))
    if not logits:
        raise ValueError(f"none of the pictures can be read: {images.source}")

    places = list(logits)
    outputs = torch.stack(list(logits.values())).double().numpy()
    scored = score(outputs, of_class[images.labels[places]], classes)
    columns = (scored.predicted, scored.confidences, scored.losses)
    answers = tuple(
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
    write_answers(run.folder / ANSWERS, answers)
    shown = shown_channels(images.kind)
    mistakes = predictions_of(classes, answers, lambda at: images.picture(places[at]), shown=shown)
    mistakes.write(run.folder / PREDICTIONS)
    read = subset(images, np.array(places), "read")
    trained_on = count_trained(s.weights, read, image_progress(run.tell))
    if trained_on:
        logger.warning(
            "the network was trained on %d of these %d pictures: on others it is worse",
            *(trained_on, len(read)),
        )
    return run.result(
        architecture=classifier.network.architecture,
        image_size=classifier.network.image_size,
        classes=classes,
        **measures(scored),
        unreadable=unreadable,
        trained_on=trained_on,
        answers=answers,
    )
