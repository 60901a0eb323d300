"""What people are shown of a training: what it is going to do, and what it came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asvit.console import clock, table

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.runs.training.plan import TrainPlan
    from asvit.runs.training.result import TrainResult


def show_plan(plan: TrainPlan, screen: Console) -> None:
    """Write what is going to be trained, on what and how, on ``screen``."""
    s = plan.settings
    parts = [word for word in (s.attention and "hallucinated attention", s.ffn) if word]
    made = f" with {' and '.join(parts)}" if parts else ""
    screen.print(
        f"training {plan.network.architecture}{made}: {plan.cost.params:,} params, "
        f"{plan.cost.macs:,} multiply-adds at {s.image_size} px, "
        f"{plan.network.num_classes} classes"
    )
    train, validation = plan.images
    screen.print(f"images: {plan.source}; {train:,} to train on, {validation:,} to validate with")
    where = plan.device if plan.processes == 1 else f"{plan.processes} processes, {plan.device}"
    screen.print(
        f"recipe {s.recipe}: {s.epochs} epochs of {plan.steps} updates with {s.batch_size} "
        f"images, {s.optimizer}, learning rate {s.learning_rate:g}, weight decay "
        f"{s.weight_decay:g}, warm-up {s.warmup_epochs} epoch(s); {where}, {s.precision}, "
        f"seed {s.seed}"
    )
    if plan.stages:
        _show_stages(plan, screen)


def _show_stages(plan: TrainPlan, screen: Console) -> None:
    """Write what each stage of tokens costs, and what the coarser ones save."""
    columns = [
        "tokens",
        "epochs",
        "multiply-adds",
        "of full",
        "published",
        "ms an image",
        "of full",
    ]
    rows = [
        [
            f"({stage['stride']},{stage['dilation']})",
            stage["epochs"],
            stage["macs"],
            percent(stage["fraction"]),
            percent(stage["published_fraction"]),
            1000 * stage["seconds"],
            percent(stage["time_fraction"]),
        ]
        for stage in plan.stages
    ]
    title = "Tokens by (stride, dilation): multiply-adds of a forward pass, time of a step"
    screen.print(table(columns, rows, title=title, left=("tokens",)))
    if plan.saved is not None:
        screen.print(
            f"coarser tokens save {percent(plan.saved['macs'])} of the multiply-adds and about "
            f"{percent(plan.saved['time'])} of the time; at the published costs they would save "
            f"{percent(plan.saved['published'])} of the multiply-adds"
        )


def percent(share: float) -> str:
    """A share in per cent, with one decimal."""
    return f"{share:.1%}"


def show_result(result: TrainResult, screen: Console) -> None:
    """Write what a training came to on ``screen``, and what to type next."""
    last = result.last
    columns = ["epoch", "train loss", "loss", "top-1", "top-5", "average's top-1", "images/s"]
    best = [] if result.best is None else [("best", result.history[result.best - 1])]
    rows: list[list[object]] = [
        [
            f"{name} ({row.epoch})",
            row.train_loss,
            row.loss,
            row.top1,
            row.top5,
            row.average_top1,
            row.images_per_second,
        ]
        for name, row in (*best, ("last", last))
    ]
    screen.print()
    screen.print(table(columns, rows, title="On the validation images, per cent", left=("epoch",)))
    for name, times in result.bad_images.items():
        screen.print(f"could not be read and was replaced {times} times: {name}")
    screen.print(f"{len(result.history)} epochs in {clock(result.wall_seconds)}")
    screen.print(
        f"folder: {result.folder} (model.safetensors, best.safetensors, metrics.csv, result.json)"
    )
    screen.print(f"next:   {result.next_command}")
