"""The test of a design: its networks on the pictures that were set aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from asvit.core.answers import Answer, write_answers
from asvit.core.continuing import ELSEWHERE
from asvit.core.estimates import Estimate
from asvit.core.run_files import ANSWERS, PREDICTIONS
from asvit.core.shared_settings import BLACK
from asvit.data.base import TEST, LabelledImages
from asvit.data.decoding import read_as
from asvit.data.kinds import ImageKind, Picture
from asvit.data.preparation import shown_channels
from asvit.designs.pictures import LEAST_TESTED, PictureList, in_words
from asvit.designs.stages import Choice, FinalTest, PictureFacts
from asvit.statistics.intervals import (
    balanced_accuracy,
    paired_difference,
    proportion,
    stratified_difference,
)
from asvit.training.metrics import MOST_PICTURES, predictions_of
from asvit.use.predicting import open_classifier
from proxies.evaluation import resolve_device

_BATCH = 32  # pictures that pass a network together


class _TestPicture(NamedTuple):
    """A picture set aside for the test."""

    name: str  # as the list has it
    place: int  # in the set
    path: Path | None  # where it is a file
    label: str  # name of its class
    digest: str  # SHA-256 of its file


@dataclass(frozen=True)
class DesignTest:
    """Tests the networks of a design, each in a folder of the run's."""

    folder: Path
    picture_list: PictureList
    facts: PictureFacts
    entrants: Sequence[str]  # of the last round
    device: str
    balanced: bool  # whether networks are compared by balanced accuracy

    def run(self, choice: Choice) -> FinalTest:
        """Test the networks on these pictures, but for those that have changed."""
        files, answers, left_out = self._classify()
        self._write_predictions(files, answers["training"])
        right = {name: [answer.right for answer in own] for name, own in answers.items()}
        result = FinalTest(
            pictures=len(files),
            left_out=left_out,
            accuracies={
                name: proportion(sum(own), len(own)).per_cent for name, own in right.items()
            },
            balanced={name: _balanced_accuracy(own, files) for name, own in right.items()},
        )
        if choice.by_hand in (None, choice.winner):
            return result
        ours, theirs = right[choice.winner], right[choice.by_hand]
        if self.balanced:
            balanced = stratified_difference(ours, theirs, [file.label for file in files])
            return replace(result, difference=balanced.per_cent)
        return replace(result, difference=paired_difference(ours, theirs).per_cent)

    def _classify(
        self,
    ) -> tuple[list[_TestPicture], Mapping[str, list[Answer]], Mapping[str, str]]:
        """Test pictures, the answers of each network, and why other pictures are left out."""
        pictures = self.picture_list.tested
        left_out = dict(self.picture_list.changed(TEST))
        files = [
            _TestPicture(
                *(name, at, pictures.path(at), pictures.classes[label], pictures.digest(at))
            )
            for at, label in enumerate(pictures.labels)
            if (name := pictures.name(at)) not in left_out
        ]
        answers = dict[str, Sequence[Answer | str]]()
        for name in ("training", *self.entrants) if files else ():
            answers[name] = self._answers(name, files)
            for file, answer in zip(files, answers[name], strict=True):
                if isinstance(answer, str):
                    left_out[file.name] = answer.replace(str(file.path), file.name)
        files = [file for file in files if file.name not in left_out]
        if len(files) < LEAST_TESTED:
            raise ValueError(
                f"{len(left_out)} of {len(pictures)} pictures to test on are not what the design "
                f"in {self.folder} began with: {in_words(left_out)}; put them back, {ELSEWHERE}"
            )
        all_read = {
            name: [one for one in own if isinstance(one, Answer) and one.image not in left_out]
            for name, own in answers.items()
        }
        return files, all_read, left_out

    def _answers(self, network: str, files: Sequence[_TestPicture]) -> list[Answer | str]:
        """What a network takes each picture for, or why it cannot be read."""
        classifier = open_classifier(str(self.folder / network), resolve_device(self.device))
        rows = classifier.logits(
            [str(file.path or file.name) for file in files],
            lambda at: self._read(files[at], classifier.kind),
            _BATCH,
        )
        return [
            row if isinstance(row, str) else _answer(file, row, classifier.labels)
            for file, row in zip(files, rows, strict=True)
        ]

    @cached_property
    def _tested(self) -> LabelledImages:
        return self.picture_list.tested.on(self._ground)

    @property
    def _ground(self) -> str:
        return self.facts.ground or BLACK

    def _read(self, file: _TestPicture, kind: ImageKind) -> Picture:
        """A picture, which need not be as it was listed."""
        if file.path is None:
            return self._tested.picture(file.place)
        return read_as(file.path, kind, self._ground)

    def _write_predictions(self, files: Sequence[_TestPicture], answers: Sequence[Answer]) -> None:
        """Write the answers about the test pictures, with some of the pictures."""
        write_answers(self.folder / ANSWERS, answers)
        # Not that of the files as they are now: those that have changed may be of another.
        kind = ImageKind.of(self.facts.pixels, self.facts.channels)
        predictions_of(
            self.facts.classes,
            answers,
            lambda at: self._read(files[at], kind),
            right=MOST_PICTURES // 2,
            shown=shown_channels(kind),
        ).write(self.folder / PREDICTIONS)


def _answer(file: _TestPicture, logits: Tensor, labels: Sequence[str]) -> Answer:
    """What logits ``[classes]`` say of a picture."""
    shares = logits.double().log_softmax(0)
    best = int(logits.argsort(descending=True, stable=True)[0])  # of equal ones the first
    probability, loss = float(shares[best].exp()), -float(shares[labels.index(file.label)])
    return Answer(file.name, file.label, labels[best], probability, loss, file.digest)


def _balanced_accuracy(right: Sequence[bool], files: Sequence[_TestPicture]) -> Estimate:
    """The balanced accuracy of answers, from whether each of them is right."""
    by_class: dict[str, list[bool]] = {}
    for is_right, file in zip(right, files, strict=True):
        by_class.setdefault(file.label, []).append(is_right)
    return balanced_accuracy([*by_class.values()]).per_cent
