"""The trainer against an explicit loop, with the training of a classifier, and its errors."""

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.training.classification import Classification
from asvit.training.distillation import Teacher
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings
from asvit.training.trainer import EpochPart, EpochResult, Step, Trainer
from tests.host_reads import HostReads, read_seldom

STEPS, BATCH, CLASSES = 4, 12, 5


class Small(nn.Module):
    """A network with a norm, dropout, and a parameter without weight decay."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.GroupNorm(1, 8)
        self.drop = nn.Dropout(drop)
        self.head = nn.Linear(8, CLASSES)

    def no_weight_decay(self) -> set[str]:
        return {"scale"}

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.conv(images) * self.scale).mean((2, 3))
        return self.head(self.drop(x))


def settings(**given: Any) -> TrainSettings:
    usual = {"recipe": "small", "epochs": 3, "batch_size": BATCH, "warmup_epochs": 1}
    usual |= {"optimizer": "adamw", "learning_rate": 1e-2, "clip": 0.5, "precision": "fp32"}
    return TrainSettings.make(architecture="timm:resnet18", **{**usual, **given})


def network(drop: float = 0.0) -> Small:
    torch.manual_seed(1)
    return Small(drop)


def batches(
    epoch: int, *, soft: bool = False, steps: int = STEPS
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(steps):
        images = torch.randn(BATCH, 3, 8, 8, generator=generator)
        labels = torch.randint(CLASSES, (BATCH,), generator=generator)
        yield images, F.one_hot(labels, CLASSES).float() if soft else labels


class Drawn:
    """The :func:`batches` of each epoch, as a loader has them; or others."""

    def __init__(
        self, make: Callable[..., Iterator[tuple[Tensor, Tensor]]] = batches, steps: int = STEPS
    ) -> None:
        self.make, self.steps = make, steps
        self.set_epoch(0)

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        self.place = epoch, start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch, start = self.place
        return itertools.islice(self.make(epoch), start, None)

    def close(self) -> None: ...


def trainer_of(
    model: nn.Module,
    chosen: TrainSettings,
    make: Callable[..., Iterator[tuple[Tensor, Tensor]]] = batches,
    *,
    processes: ProcessGroup | None = None,
    steps: int = STEPS,
    **other: Any,
) -> Trainer:
    processes = processes or ProcessGroup("cpu")
    images = Drawn(make, steps), Drawn(partial(batches, soft=False))
    task = Classification(model, chosen, processes, *images, classes=CLASSES, **other)
    return Trainer(task, processes, epochs=chosen.epochs)


def top1(trainer: Trainer, result: EpochResult) -> float | None:
    return trainer.task.row(0, result, trainer.task.evaluate(), 1.0).train_top1


def same(ours: nn.Module | None, theirs: nn.Module | None) -> bool:
    state = theirs.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())


def close(ours: nn.Module | None, theirs: nn.Module, **tolerance: float) -> None:
    torch.testing.assert_close([*ours.parameters()], [*theirs.parameters()], **tolerance)


@pytest.mark.parametrize("soft", [False, True])
def test_three_epochs_equal_an_explicit_loop(soft: bool) -> None:
    chosen = settings()
    model, plain = network(), network()
    ours = trainer_of(model, chosen, partial(batches, soft=soft))
    decayed = [plain.conv.weight, plain.head.weight]
    spared = [p for p in plain.parameters() if all(p is not d for d in decayed)]
    optimizer = torch.optim.AdamW(
        [{"params": spared, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.5}],
        lr=1e-2,
    )
    schedule = CosineLRScheduler(
        optimizer, 3 * STEPS, lr_min=1e-5, warmup_t=STEPS, warmup_lr_init=1e-6, t_in_epochs=False
    )
    update = 0
    for epoch in range(3):
        steps: list[Step] = []
        told = ours.train(epoch, progress=steps.append)
        assert [(step.epoch, step.done, step.steps) for step in steps] == [
            (epoch, done, STEPS) for done in range(1, STEPS + 1)
        ]
        total, hits = 0.0, 0
        for images, targets in batches(epoch, soft=soft):
            logits = plain(images)
            hits += int((logits.argmax(1) == (targets.argmax(1) if soft else targets)).sum())
            loss = F.cross_entropy(logits, targets, label_smoothing=0.0 if soft else 0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            update += 1
            schedule.step_update(update)
            total += float(loss.detach())
        assert told.loss == pytest.approx(total / STEPS, rel=1e-5)
        assert sum(step.loss for step in steps) == pytest.approx(total, rel=1e-5)
        assert told.learning_rate == pytest.approx(rate, rel=1e-12)
        share = pytest.approx(100 * hits / (STEPS * BATCH))
        assert top1(ours, told) == (None if soft else share)
    close(model, plain)


def test_a_trained_network_is_gone_without_a_garbage_collection() -> None:
    gc.disable()  # memory of a device is not to wait for it
    try:
        trainer = trainer_of(network(), settings())
        trainer.train(0)
        trainer.close()
        left = weakref.ref(trainer.task.network)
        del trainer
        assert left() is None
    finally:
        gc.enable()


def test_dropout_depends_on_the_seed_and_the_update_alone() -> None:
    models = [network(0.5) for _ in range(3)]
    for number, model in enumerate(models):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        trainer_of(model, settings(seed=number // 2)).train(0)
        assert torch.equal(torch.get_rng_state(), state)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_an_accelerator_is_waited_for_only_where_losses_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_seldom(monkeypatch, every=3)
    processes, reads = ProcessGroup("cpu"), []
    processes.device = torch.device("meta")
    for steps in (3, 9):
        some = partial(batches, steps=steps)
        trainer = trainer_of(network(0.5), settings(), some, processes=processes, steps=steps)
        with HostReads() as host:
            trainer.train(0)
        reads.append(host.reads)
    assert reads[1] - reads[0] == 2


@pytest.mark.parametrize("step", [2, STEPS])
def test_weights_that_are_not_finite_are_not_kept(step: int) -> None:
    model = network()
    trainer = trainer_of(model, settings(clip=0))
    kept = list[EpochPart]()

    def spoil(now: Step) -> None:
        if now.done == step - 1:
            model.head.weight.register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(ValueError, match=f"after epoch 1, step {step} the weights are infinite"):
        trainer.train(0, progress=spoil, due=lambda: step == 2, keep=kept.append)
    assert all(len(part.losses) < step for part in kept)


@pytest.mark.parametrize(
    ("clip", "advice"), [(0.5, "a lower clip than 0.5"), (0, "a clip, such as 1")]
)
def test_a_loss_that_is_not_finite_names_epoch_and_step(clip: float, advice: str) -> None:
    given = list(batches(2))
    given[2][0].fill_(float("nan"))
    message = rf"the loss became nan in epoch 3, step 3; use a lower.* warm-up or {advice}$"
    with pytest.raises(ValueError, match=message):
        trainer_of(network(), settings(clip=clip), lambda _: iter(given)).train(2)


def test_running_out_of_memory_gives_advice() -> None:
    class Large(Small):
        def forward(self, images: Tensor) -> Tensor:
            return torch.empty(2**50) if self.training else super().forward(images)

    message = r"memory ran out in epoch 2, step 1 \(.*allocate.*\); use a smaller"
    with pytest.raises(MemoryError, match=message):
        trainer_of(Large(), settings()).train(1)


def test_a_teacher_has_its_share_of_the_loss() -> None:
    torch.manual_seed(5)
    taught = Small()
    teacher = Teacher(taught, 8)
    chosen = replace(
        settings(epochs=1, warmup_epochs=0, label_smoothing=0.0),
        teacher="timm:resnet18",
        teacher_weights="file",
    )
    images, labels = next(batches(0))
    model = network()
    with torch.no_grad():
        own = F.cross_entropy(model(images), labels)
        from_teacher = F.cross_entropy(model(images), taught(images).argmax(1))
    steps: list[Step] = []
    trainer_of(model, chosen, teacher=teacher).train(0, progress=steps.append)
    assert steps[0].loss == pytest.approx(float((own + from_teacher) / 2), rel=1e-5)
