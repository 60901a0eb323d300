"""What every task of the trainer keeps to. A new one is a new entry here."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchvision.models.detection import MaskRCNN

from asvit.training.classification import Classification
from asvit.training.distributed import ProcessGroup
from asvit.training.supernet import SinglePath
from asvit.training.trainer import LOSS, EpochPart, Task, Trainer
from asvit.transfer import detector
from asvit.transfer.detector import Detection
from asvit.transfer.segmenter import Segmentation
from asvit.transfer.settings import DetectionSettings, SegmentationSettings
from tests.asvit.training import test_supernets
from tests.asvit.training.test_trainer import CLASSES, Drawn, Small, settings
from tests.asvit.transfer.tiny_scenes import DETECTION, SEGMENTATION, make_data

EPOCHS = 2


def classification() -> Classification:
    torch.manual_seed(1)
    images, processes = (Drawn(), Drawn()), ProcessGroup("cpu")
    return Classification(Small(0.5), settings(), processes, *images, classes=CLASSES)


def single_path() -> SinglePath:
    return test_supernets.make()[1]


def opened(kind: Callable[[Any], Any], made: Any) -> Any:
    """A detector or a segmenter with its batches."""
    torch.manual_seed(1)
    task = kind(made)
    task.open(ProcessGroup("cpu"), 0, "drawn scenes")
    return task


def detection() -> Detection:
    made = DetectionSettings(**{**DETECTION, "detector": "mask", "drop_path": 0.5})
    task: Detection = opened(Detection, made)
    return task


def segmentation() -> Segmentation:
    task: Segmentation = opened(Segmentation, SegmentationSettings(**SEGMENTATION))
    return task


#: Each makes the task anew, with the same initial weights.
TASKS: dict[str, Callable[[], Task[Any]]] = {
    "classification": classification,
    "single path": single_path,
    "segmentation": segmentation,
    "detection": detection,
}
each_task = pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)


@pytest.fixture(autouse=True)
def _scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight pictures to train on; few objects, as masks take the time."""
    make_data(8, 1)
    monkeypatch.setattr(detector, "MaskRCNN", partial(MaskRCNN, box_detections_per_img=5))


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def equal(ours: Any, theirs: Any) -> bool:
    pairs = zip(tensors(ours), tensors(theirs), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


class Kept:
    """Keeps the part of an epoch after so many updates, and the state then."""

    def __init__(self, trainer: Trainer, updates: int) -> None:
        self.trainer, self.left = trainer, updates
        self.part, self.state = EpochPart(), trainer.state()

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def keep(self, part: EpochPart) -> None:
        self.part, self.state = copy.deepcopy(part), copy.deepcopy(self.trainer.state())


@each_task
def test_batches_are_addressed_by_epoch_and_position(make: Callable[[], Task[Any]]) -> None:
    task, other = make(), make()
    whole = [copy.deepcopy(batch) for batch in task.batches(1, 0)]
    assert len(whole) == task.steps
    assert not equal(whole, [*task.batches(0, 0)])
    for start in (1, task.steps - 1):
        assert equal(whole[start:], [*other.batches(1, start)])


@each_task
def test_a_training_resumes_within_an_epoch_to_the_same_bits(
    make: Callable[[], Task[Any]],
) -> None:
    never, before, after = (Trainer(make(), ProcessGroup("cpu"), epochs=EPOCHS) for _ in range(3))
    expected = [never.train(epoch) for epoch in range(EPOCHS)]
    state = torch.get_rng_state()
    kept = Kept(before, 1)
    before.train(0, due=kept.due, keep=kept.keep)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(kept.part.losses) == 1
    after.load_state(kept.state)
    found = [after.train(0, start=kept.part), after.train(1)]
    assert [(one.loss, one.sums) for one in found] == [(one.loss, one.sums) for one in expected]
    assert equal(after.state().weights, never.state().weights)
    assert equal(after.state().optimizer, never.state().optimizer)


@each_task
def test_a_row_has_the_loss_and_words_for_it(make: Callable[[], Task[Any]]) -> None:
    task = make()
    trainer = Trainer(task, ProcessGroup("cpu"), epochs=1)
    result = trainer.train(0)
    row = task.row(0, result, task.evaluate(), 1.5)
    assert row.epoch == 1
    loss = getattr(row, "train_loss", getattr(row, "loss", None))
    assert loss == pytest.approx(result.sums[LOSS] / task.steps, rel=1e-5)
    assert "\n" not in task.state(row)
    rates = [task.schedule(3)(update) for update in range(3 * task.steps)]
    assert max(rates) <= task.learning_rate * (1 + 1e-9)
    assert min(rates) >= 0
    task.close()
