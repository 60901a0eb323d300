"""The journal of a table keeps the outcome of every training."""

import math
from pathlib import Path

from asvit.reference.build import Outcome, Training, TrainingJournal
from asvit.reference.build_settings import BuildSettings


def test_outcomes_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "trainings.jsonl"
    failed = Outcome(math.nan, math.nan, 1.5, "the loss became nan in step 3")
    journal = TrainingJournal(path)
    images = {"source": "some", "digest": "0" * 64}
    journal.start(BuildSettings.make("quick"), images=images, num_classes=10, device="cpu")
    journal.add(Training("a", 0), Outcome(50.125, 1.25, 2.0))
    journal.add(Training("a", 1), failed)
    again = TrainingJournal(path)
    assert (again.images, again.num_classes, again.device) == (images, 10, "cpu")
    assert again.outcomes[Training("a", 0)] == Outcome(50.125, 1.25, 2.0)
    assert repr(again.outcomes[Training("a", 1)]) == repr(failed)
