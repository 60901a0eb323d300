"""The algorithm of tests."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asvit.core.answers import Answer, write_answers
from asvit.core.continuing import check_same_digest
from asvit.core.files import split_reading
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.run_files import ANSWERS, PREDICTIONS
from asvit.data.base import LabelledImages, file_digest, sets_digest
from asvit.data.kinds import PICTURES, RGB, Picture
from asvit.data.preparation import shown_channels
from asvit.data.training_sets import open_test_part
from asvit.evaluation.metrics import Scored, match_classes
from asvit.evaluation.result import EvaluationJournal, EvaluationResult, Measures, Tested
from asvit.runs.evaluating import EvaluationRun
from asvit.runs.predicting import Classifier, open_classifier
from asvit.runs.trained_on import TrainedPictures
from asvit.spaces.timm_models import PREFIX
from asvit.training.metrics import predictions_of
from asvit.training.pretrained import weights_path
from proxies.evaluation import resolve_device

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class EvaluationAlgorithm(EvaluationRun):
    """Executes a test."""

    @cached_property
    def images(self) -> LabelledImages:
        """The pictures."""
        known = self.classifier
        return open_test_part(self.settings.data, known.kind.reading).on(known.ground)

    @cached_property
    def classifier(self) -> Classifier:
        """The network."""
        s = self.settings
        return open_classifier(
            s.weights,
            resolve_device(s.device),
            architecture=s.architecture,
            image_size=s.image_size,
        )

    @cached_property
    def matched(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The place of each class of the pictures among those of the network, and their names."""
        s, known = self.settings, self.classifier
        return match_classes(
            self.images.classes,
            known.labels,
            has_names=known.has_names,
            data=s.data,
            weights=s.weights,
        )

    @cached_property
    def weights(self) -> Mapping[str, str]:
        """Name and digest of the weights; the digest is empty if they are no file here."""
        text = self.settings.weights
        file = None if text.startswith(PREFIX) else weights_path(text)
        there = file is not None and file.is_file()
        return {"source": text, "digest": file_digest(file) if there and file else ""}

    def check(self) -> None:
        """Find the device."""
        resolve_device(self.settings.device)

    def load(self) -> Mapping[str, Any]:
        """The pictures, whose classes the network has to know, its weights and its device."""
        own, wanted = self.images.kind, self.classifier.kind
        if own.content != wanted.content:
            data, weights = self.settings.data, self.settings.weights
            name, reading = split_reading(data)
            as_rgb = wanted == PICTURES and not reading
            raise ValueError(
                f"{data} has images of {own}, {weights} is for {wanted}; test others"
                f"{f', or {name}:{RGB}, which takes all as 8-bit RGB' * as_rgb}"
            )
        _ = self.matched
        images = {"source": self.images.source, "digest": sets_digest(self.images)}
        device = resolve_device(self.settings.device).type
        return {"images": images, "device": device, "weights": self.weights}

    def check_store(self, store: EvaluationJournal) -> None:
        """Check that the weights are the same."""
        before = store.start_values.get("weights")
        check_same_digest(self.folder, "with other weights", "source", before, self.weights)

    def settled(self, store: EvaluationJournal, result: EvaluationResult) -> bool:
        """Whether it is the test of these weights, or they are not there any more."""
        digest = self.weights["digest"]
        same = not digest or digest == dict(result.provenance["weights"]).get("digest")
        return super().settled(store, result) and same

    def execute(self, store: EvaluationJournal, tell: Tell) -> EvaluationResult:
        """Classify every picture, write the answers, and measure them."""
        if not store.records:
            store.add_record(self._tested(tell))
        provenance = {
            "weights": store.start_values["weights"],
            "images": store.images,
            "device": store.device,
        }
        tested: Tested = store.records[-1]
        write_answers(self.folder / ANSWERS, tested.answers)
        return self.result(store, provenance, **vars(tested.measures), answers=tested.answers)

    def conclude(self, store: EvaluationJournal, result: EvaluationResult) -> EvaluationResult:
        """Write the worst mistakes with their pictures."""
        if not (self.folder / PREDICTIONS).exists():
            with suppress(OSError, ValueError):  # they may be gone since
                self._write_mistakes(result)
        return result

    def _write_mistakes(self, result: EvaluationResult) -> None:
        images = self.images
        places = {images.name(place): place for place in range(len(images))}

        def picture(at: int) -> Picture:
            name = result.answers[at].image
            if name not in places:
                raise ValueError(f"{name} is not among the pictures any more")
            return images.picture(places[name])

        shown = shown_channels(images.kind)
        predictions_of(result.classes, result.answers, picture, shown=shown).write(
            self.folder / PREDICTIONS
        )

    def _tested(self, tell: Tell) -> Tested:
        """The measures, and the answer about each picture."""
        images, network = self.images, self.classifier.network
        logits, digests, unreadable = self._outputs(tell)
        if not logits:
            raise ValueError(f"none of the pictures can be read: {images.source}")
        places, (of_class, classes) = list(logits), self.matched
        outputs = torch.stack(list(logits.values())).double().numpy()
        scored = Scored(outputs, of_class[images.labels[places]], classes)
        files = [(digests[place], images.path(place)) for place in places]
        seen = [(digest, path) for digest, path in files if path is not None]
        progress = image_progress(tell)
        trained = TrainedPictures.of(self.settings.weights, progress).count(seen, progress)
        if trained:
            logger.warning(
                "the network was trained on %d of these %d pictures: on others it is worse",
                *(trained, len(places)),
            )
        measures = Measures(
            architecture=network.architecture,
            image_size=network.image_size,
            classes=classes,
            **scored.values(),
            unreadable=unreadable,
            trained_on=trained,
        )
        return Tested(measures, self._answers(scored, digests, places))

    def _outputs(self, tell: Tell) -> tuple[dict[int, Tensor], dict[int, str], dict[str, str]]:
        """Logits and digests of the pictures by their places, and why others have none."""
        images, logits = self.images, dict[int, Tensor]()
        digests, unreadable = dict[int, str](), dict[str, str]()
        names = [str(images.path(place) or images.name(place)) for place in range(len(images))]

        def picture(place: int) -> Picture:
            """The picture, and in passing, in the thread that reads it, its digest."""
            image, file = images.picture(place), images.path(place)
            known = images.digest(place)  # which reading has checked
            digests[place] = known or ("" if file is None else file_digest(file))
            return image

        outputs = self.classifier.logits(names, picture, self.settings.batch_size)
        for place, output in enumerate(outputs):
            if isinstance(output, Tensor):
                logits[place] = output
            else:
                logger.warning("%s", output)
                unreadable[images.name(place)] = output.replace(names[place], images.name(place))
            tell(Progress("picture", place + 1, len(images)))
        return logits, digests, unreadable

    def _answers(
        self, scored: Scored, digests: Mapping[int, str], places: Sequence[int]
    ) -> tuple[Answer, ...]:
        """The answer about each picture, with the digits that the table has."""
        images, columns = self.images, (scored.predicted, scored.confidences(), scored.losses())
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
