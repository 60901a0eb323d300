"""The test of a design: its networks on the pictures that were set aside."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from asvit.core.answers import Answer, write_answers
from asvit.core.continuing import ELSEWHERE
from asvit.core.estimates import Estimate
from asvit.core.run_files import ANSWERS, PREDICTIONS
from asvit.data.decoding import read_as
from asvit.data.files import TEST
from asvit.data.kinds import ImageKind
from asvit.data.preparation import shown_channels
from asvit.designs.pictures import LEAST_TESTED, PictureList, in_words
from asvit.designs.stages import Choice, FinalTest, PictureFacts
from asvit.runs.predicting import Guess, PicturePrediction, predict
from asvit.statistics.intervals import (
    balanced_accuracy,
    paired_difference,
    proportion,
    stratified_difference,
)
from asvit.training.predictions import MOST_PICTURES, predictions_of


class _TestPicture(NamedTuple):
    """A picture set aside for the test."""

    name: str  # as the list has it
    path: Path
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
        files, guesses, left_out = self._classify()
        self._write_predictions(files, guesses["training"])
        right = {
            name: [guess.label == file.label for guess, file in zip(own, files, strict=True)]
            for name, own in guesses.items()
        }
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
    ) -> tuple[list[_TestPicture], Mapping[str, list[Guess]], Mapping[str, str]]:
        """Test pictures, the guesses of each network, and why other pictures are left out."""
        pictures = self.picture_list.tested
        left_out = dict(self.picture_list.changed(TEST))
        files = [
            _TestPicture(name, pictures.path(at), pictures.classes[label], pictures.digest(at))
            for at, label in enumerate(pictures.labels)
            if (name := pictures.name(at)) not in left_out
        ]
        paths = [file.path for file in files]
        predictions = dict[str, Sequence[PicturePrediction]]()
        for name in ("training", *self.entrants) if files else ():
            predictions[name] = predict(self.folder / name, paths, top=1, device=self.device)
            for file, prediction in zip(files, predictions[name], strict=True):
                if not prediction.guesses:
                    reason = prediction.reason.replace(f"{pictures.root}{os.sep}", "")
                    left_out[file.name] = reason
        places = [place for place, file in enumerate(files) if file.name not in left_out]
        if len(places) < LEAST_TESTED:
            raise ValueError(
                f"{len(left_out)} of {len(pictures)} pictures to test on are not what the design "
                f"in {self.folder} began with: {in_words(left_out)}; put them back, {ELSEWHERE}"
            )
        guesses = {
            name: [own[place].guesses[0] for place in places] for name, own in predictions.items()
        }
        return [files[place] for place in places], guesses, left_out

    def _write_predictions(self, files: Sequence[_TestPicture], guesses: Sequence[Guess]) -> None:
        """Write the answers about the test pictures, with some of the pictures."""
        answers = [
            Answer(file.name, file.label, guess.label, guess.probability, digest=file.digest)
            for file, guess in zip(files, guesses, strict=True)
        ]
        write_answers(self.folder / ANSWERS, answers)
        # Not that of the files as they are now: those that have changed may be of another.
        kind = ImageKind.of(self.facts.pixels, self.facts.channels)
        predictions_of(
            self.facts.classes,
            answers,
            lambda at: read_as(files[at].path, kind),
            right=MOST_PICTURES // 2,
            shown=shown_channels(kind),
        ).write(self.folder / PREDICTIONS)


def _balanced_accuracy(right: Sequence[bool], files: Sequence[_TestPicture]) -> Estimate:
    """The balanced accuracy of answers, from whether each of them is right."""
    by_class: dict[str, list[bool]] = {}
    for is_right, file in zip(right, files, strict=True):
        by_class.setdefault(file.label, []).append(is_right)
    return balanced_accuracy([*by_class.values()]).per_cent
