"""Training of one architecture alone: what it takes up, and what it makes of a failure."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from asvit.training.supernets.retraining import train_alone
from asvit.training.supernets.settings import SupernetSettings
from asvit.training.supernets.single_path import SupernetTraining
from asvit.training.supernets.splits import Splits, load_splits

ARCHITECTURE = "psvit2d:b-----|s-----|------|6"
SETTINGS = SupernetSettings.make(
    classes=3, train_images=24, validation_images=12, test_images=12, image_size=16, width=6,
    epochs=3, batch_size=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> Splits:
    return load_splits(SETTINGS)


def stopped_after(
    steps: int, monkeypatch: pytest.MonkeyPatch, train: Callable[[], object]
) -> None:
    """Have ``train`` end with an error after so many steps."""
    one = SupernetTraining.step

    def step(self: SupernetTraining[None]) -> float:
        if len(self.losses) == steps:
            raise RuntimeError("stopped")
        return one(self)

    with monkeypatch.context() as patch:
        patch.setattr(SupernetTraining, "step", step)
        with pytest.raises(RuntimeError, match="stopped"):
            train()


def test_what_was_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Splits
) -> None:
    whole = train_alone(ARCHITECTURE, SETTINGS, parts)
    assert len(whole.losses) == SETTINGS.recipe.steps == 12

    again = partial(train_alone, ARCHITECTURE, SETTINGS, parts, state=tmp_path / "state")
    stopped_after(9, monkeypatch, again)
    went_on = again()
    assert went_on.losses == whole.losses
    assert went_on.accuracy == whole.accuracy
    mine, theirs = went_on.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_state_of_another_training_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Splits, damaged: bool
) -> None:
    state = tmp_path / "state"
    train = partial(train_alone, ARCHITECTURE, SETTINGS, parts, state=state)
    stopped_after(7, monkeypatch, partial(train, seed=1))
    if damaged:
        state.write_bytes(b"nothing that can be read")
    assert train().losses == train_alone(ARCHITECTURE, SETTINGS, parts).losses


def test_a_loss_that_is_not_finite_is_a_reason(parts: Splits) -> None:
    settings = SupernetSettings(**{**SETTINGS.to_json(), "learning_rate": 1e30, "warmup": 0.0})
    trained = train_alone(ARCHITECTURE, settings, parts)
    assert math.isnan(trained.accuracy)
    assert "the loss became" in trained.reason
    assert len(trained.losses) < settings.recipe.steps
