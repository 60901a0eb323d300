"""``asvit.run_training`` as a library call."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from asvit.core.progress import Progress
from asvit.networks import Network, WeightsFile
from asvit.runs.algorithms import shared
from asvit.runs.training import TrainRun, plan_lines, run_training
from asvit.training.checkpoint import Checkpoint
from asvit.training.metrics import EpochRow
from asvit.training.predictions import read_predictions
from asvit.training.settings import TrainSettings
from tests.asvit.runs.fakes import stop_after, write_pictures
from tests.hostile import flipped

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
TINY: dict[str, Any] = {
    "recipe": "small", "data": "fractal", "classes": 3, "train_images": 24,
    "validation_images": 9, "image_size": 32, "epochs": 2, "batch_size": 8, "device": "cpu",
}  # fmt: skip


def weights(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return dict(WeightsFile.read(folder / f"{name}.safetensors").weights)


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in theirs)


@pytest.mark.nightly  # the steps are those of a loop by hand: tests/asvit/training
def test_digits_are_learned(tmp_path: Path) -> None:
    result = run_training(
        "4,2,2|4,1,2|4,1,2|4,1,2|16,16", out=tmp_path / "run", data="digits", image_size=32,
        recipe="small", epochs=6, flip=0.0, crop_scale=0.6, learning_rate=2e-3, device="cpu",
    )  # fmt: skip
    assert result.last.top1 > 90
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_the_written_network_has_the_accuracy_that_is_told(tmp_path: Path) -> None:
    from asvit.data import open_training_sets
    from asvit.training.distributed import ProcessGroup
    from asvit.training.images.loaders import Batching, validation_loader
    from asvit.training.metrics import evaluate

    folder = tmp_path / "run"
    result = run_training(ARCH, out=folder, **TINY, ema=0.5)
    settings = result.settings
    sets = open_training_sets(
        "fractal", classes=3, train_images=24, validation_images=9, image_size=32, seed=0
    )
    for name, row in (("model", result.last), ("best", result.best)):
        file = WeightsFile.read(folder / f"{name}.safetensors")
        assert file.classes == sets.classes
        batching = Batching(image_size=32, batch_size=4, augmentation=settings.augmentation)
        loader = validation_loader(sets.validation, batching)
        (found,) = evaluate([file.load()], loader, ProcessGroup("cpu"))
        assert found.top1 == file.facts["top1"] == row.best_top1
    kept = read_predictions(folder / "predictions.json")
    right = sum(pair.images for pair in kept.confusion if pair.label == pair.predicted)
    assert 100 * right / 9 == pytest.approx(result.last.best_top1)
    assert len(kept.mistakes) == 9 - right


def test_the_seed_is_of_everything_that_is_drawn(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_training(ARCH, out=tmp_path / name, seed=seed, **TINY)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_fine_tuning_at_another_size_with_a_new_head(tmp_path: Path) -> None:
    host = "timm:deit_tiny_distilled_patch16_224"
    run_training(host, out=tmp_path / "first", **{**TINY, "epochs": 1})
    asked = {**TINY, "epochs": 1, "recipe": "finetune", "classes": 4, "image_size": 48}
    second = run_training(
        host, out=tmp_path / "second", weights=str(tmp_path / "first"), new_head=True, **asked
    )
    assert second.network.num_classes == 4
    assert weights(tmp_path / "second")["pos_embed"].shape[1] == 2 + 9


def test_fine_tuning_starts_from_the_weights(tmp_path: Path) -> None:
    run_training(ARCH, out=tmp_path / "first", **TINY)
    frozen = {**TINY, "epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    run_training(ARCH, out=tmp_path / "second", weights=str(tmp_path / "first"), **frozen)
    ours, theirs = weights(tmp_path / "second"), weights(tmp_path / "first")
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("host", [ARCH, "timm:vit_tiny_patch16_224(embed_dim=24,depth=1)"])
def test_fine_tuning_normalises_pictures_as_the_weights_have_it(tmp_path: Path, host: str) -> None:
    network, first = Network(host, 32, 3), tmp_path / "first.safetensors"
    if host == ARCH:  # a file of ours says it; one of timm's weights is as its network has it
        facts = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.5, 0.5]}
        WeightsFile(network, network.build().state_dict(), facts=facts).write(first)
    else:
        facts = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
        save_file(network.build().state_dict(), first)
    options = {**TINY, "epochs": 1, "weights": str(first), "new_head": True}
    run_training(host, out=tmp_path / "second", **options)
    written = WeightsFile.read(tmp_path / "second" / "model.safetensors").facts
    assert {name: written[name] for name in facts} == facts
    stored = Checkpoint.read(tmp_path / "second" / "checkpoint.safetensors")
    assert list(stored.origin.normalisation.mean) == facts["mean"]


def test_images_for_validation_that_the_weights_were_trained_on_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, first = write_pictures(tmp_path / "pictures"), tmp_path / "first"
    options: dict[str, Any] = {
        **{"recipe": "small", "data": str(folder), "held_out": 0.4, "image_size": 32},
        **{"epochs": 1, "batch_size": 4, "bad_images": "replace", "device": "cpu"},
    }
    held_out = []
    for seed in (0, 1):
        images = TrainRun.make(architecture=ARCH, seed=seed, **options).sets.validation
        held_out.append({images.name(index) for index in range(len(images))})
    run_training(ARCH, out=first, **options)
    options["weights"] = str(first)
    for seed, both in ((0, False), (1, True), (1, False)):
        assert "were trained on" not in caplog.text
        out = tmp_path / f"second-{seed}-{both}"
        run_training(ARCH, out=out, seed=seed, train_on_validation=both, **options)
    known, of_all = len(held_out[1] - held_out[0]), len(held_out[1])
    words = f"in {first} were trained on {known} of the {of_all} images for validation, so the"
    assert f"the weights {words} accuracy is too high" in caplog.text
    del options["weights"]
    taught = {"teacher": ARCH, "teacher_weights": str(first), "out": tmp_path / "taught"}
    run_training(ARCH, seed=1, **options, **taught)
    assert f"the teacher's weights {words} accuracy may be too high" in caplog.text


def test_a_classifier_of_other_classes_than_the_images_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network(ARCH, 32, 3)
    options: dict[str, Any] = {"architecture": ARCH, **TINY, "weights": str(tmp_path)}
    own = TrainRun.make(**options).sets.classes

    def warnings(classes: tuple[str, ...], **more: Any) -> list[str]:
        file = WeightsFile(network, network.build().state_dict(), classes)
        file.write(tmp_path / "model.safetensors")
        caplog.clear()
        TrainRun.make(**options, **more, out=tmp_path / "run").load()
        return [record.message for record in caplog.records if "classifier" in record.message]

    for classes in ((), own):
        assert not warnings(classes)
    assert not warnings(own[::-1], new_head=True)
    words = f"the classifier in {tmp_path / 'model.safetensors'} "
    advice = "; --new-head starts with a fresh one"
    order = "has the classes of the images in another order"
    assert warnings(own[::-1]) == [f"{words}{order}{advice}"]
    others = "is for other classes than the images: a, b, c"
    assert warnings(("a", "b", "c")) == [f"{words}{others}{advice}"]


def test_distillation_into_two_heads(tmp_path: Path) -> None:
    run_training(ARCH, out=tmp_path / "teacher", **TINY)
    host = "timm:deit_tiny_distilled_patch16_224"
    asked = {**TINY, "epochs": 1, "teacher": ARCH, "teacher_weights": str(tmp_path / "teacher")}
    for kind in ("hard", "soft"):
        result = run_training(host, out=tmp_path / kind, distillation=kind, **asked)
        assert result.settings.distillation_weight == {"hard": 0.5, "soft": 0.1}[kind]
    assert not same(weights(tmp_path / "hard"), weights(tmp_path / "soft"))


@pytest.mark.parametrize("published", [False, True])
def test_a_training_goes_on_with_the_same_weights_of_its_teacher_only(
    published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = "timm:deit_tiny_patch16_224" if published else ARCH
    network = Network(teacher, 32, 3)

    def draw(seed: int) -> None:
        torch.manual_seed(seed)
        model = network.build()
        WeightsFile(network, model.state_dict()).write(tmp_path / "model.safetensors")
        model.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}
        monkeypatch.setattr("asvit.training.distillation.load_published", lambda _: model)

    options = {
        **TINY, "out": tmp_path / "run", "teacher": teacher,
        "teacher_weights": "timm" if published else str(tmp_path),
    }  # fmt: skip
    draw(0)
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, **options, progress=stop_after(1))
    draw(1)
    words = "was started with other weights of the teacher: .*, digest .* --fresh to start over$"
    with pytest.raises(ValueError, match=words):
        run_training(ARCH, **options)
    draw(0)
    assert len(run_training(ARCH, **options).history) == 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that no test may change."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_training(ARCH, out=folder, **{**TINY, "epochs": 1})
    return folder


@pytest.mark.parametrize(
    "options", [{"teacher": ARCH, "teacher_weights": "none"}, {"weights": "none"}]
)
def test_weights_that_are_missing_are_noticed_before_anything_is_made_or_removed(
    options: dict[str, str], finished: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        run_training(ARCH, out="new", **TINY, **options)
    assert not Path("new").exists()
    before = {path: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(FileNotFoundError, match="none"):
        run_training(ARCH, out=finished, fresh=True, **TINY, **options)
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"weights": "run"}, "run/model.safetensors, what it starts from"),
        ({"weights": "run/best.safetensors"}, "run/best.safetensors, what it starts from"),
        ({"teacher": ARCH, "teacher_weights": "link"}, "link/model.safetensors, the teacher"),
    ],
)
def test_weights_that_starting_over_would_remove_are_refused(
    options: dict[str, str], what: str, finished: Path
) -> None:
    shutil.copytree(finished, "run")
    Path("link").symlink_to("run")
    before = {path: path.read_bytes() for path in Path("run").iterdir()}
    advice = "is in the folder that --fresh empties; give --out another"
    with pytest.raises(ValueError, match=f"^{what}, {advice}$"):
        run_training(ARCH, out="run", fresh=True, **TINY, **options)
    assert {path: path.read_bytes() for path in Path("run").iterdir()} == before


def test_a_training_that_began_does_without_the_weights_that_it_started_from(
    tmp_path: Path,
) -> None:
    run_training(ARCH, out=tmp_path / "first", **{**TINY, "epochs": 1})
    given = {**TINY, "weights": str(tmp_path / "first")}
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, out=tmp_path / "run", progress=stop_after(1), **given)
    (tmp_path / "first" / "model.safetensors").unlink()
    assert len(run_training(ARCH, out=tmp_path / "run", **given).history) == 2


def test_damaged_weights_of_a_finished_training_are_written_again(finished: Path) -> None:
    path = Path(shutil.copytree(finished, "run")) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, -8))
    run_training(ARCH, out="run", **{**TINY, "epochs": 1})
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "batches of 4 and a learning rate for them (--"), ({"learning_rate": 1e-3}, "of 4 (--")],
)
def test_a_learning_rate_that_is_given_is_not_said_to_follow_the_batch(
    options: dict[str, float], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    defaults = {name: value for name, value in TINY.items() if name != "batch_size"}
    run = TrainRun.make(architecture=ARCH, out=tmp_path / "run", **defaults, **options).resolved()
    assert run.settings.batch_size == 4
    assert ("learning_rate" in options) == (run.settings.learning_rate == 1e-3)
    (line,) = (record.message for record in caplog.records if "usual batch" in record.message)
    assert words in line


@pytest.mark.parametrize(
    ("recipe", "typed", "drop_path"),
    [
        ("swin", {}, 0.0),
        ("deit", {"batch_size": 8}, 0.0),
        ("small", {}, 0.0),
        ("swin", {"drop_path": 0.2}, 0.2),
        ("small", {"drop_path": 0.1}, 0.1),
    ],
)
@pytest.mark.parametrize("host", ["timm:vgg11", "timm:densenet121"])
def test_a_drop_path_that_is_not_typed_is_left_out_where_the_network_has_none(
    host: str, recipe: str, typed: dict[str, Any], drop_path: float, tmp_path: Path
) -> None:
    options: dict[str, Any] = {**TINY, "recipe": recipe, "out": tmp_path}
    del options["batch_size"]
    run = TrainRun.make(architecture=host, **options, **typed).resolved()
    assert run.settings.drop_path == drop_path
    if drop_path:
        with pytest.raises(ValueError, match="has no drop-path; use 0"):
            run.network.build(drop_path=drop_path)
    usual = TrainSettings.make(architecture=ARCH, recipe=recipe, **typed).drop_path
    other = TrainRun.make(architecture=ARCH, **options, **typed).resolved()
    assert other.settings.drop_path == usual


def test_few_pictures_of_ones_own_are_a_word_on_fine_tuning(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures", each=9)  # one of them cannot be read
    asked: dict[str, Any] = {"architecture": ARCH, "image_size": 32, "recipe": "small"}
    given = {**asked, "data": str(data), "bad_images": "replace", "device": "cpu"}
    made = TrainRun.make(**given).resolved().plan()
    words = "16 pictures are few to train on from scratch; fine-tuning pretrained weights"
    assert any(line.startswith(words) for line in plan_lines(made))
    for more in ({"data": "fractal"}, {"weights": "theirs"}, {"teacher": ARCH}):
        taught = {**more, "teacher_weights": "theirs"} if "teacher" in more else more
        plan = {**made, "settings": TrainSettings.make(**{**asked, "data": str(data), **taught})}
        assert not any("few to train on" in line for line in plan_lines(plan))


def test_a_bad_picture_to_train_on_leaves_out_no_prediction_for_one_of_its_name(
    tmp_path: Path,
) -> None:
    data = tmp_path / "pictures"
    write_pictures(data / "train", each=8)  # of each part the last picture cannot be read
    write_pictures(data / "val", each=10)
    result = run_training(
        ARCH, data=str(data), bad_images="replace", out=tmp_path / "run", image_size=32,
        recipe="small", epochs=1, batch_size=4, device="cpu",
    )  # fmt: skip
    assert result.bad_images.keys() == {"class1/015.jpg", "class1/019.jpg"}
    names = {str(path.relative_to(data / "val")) for path in data.glob("val/*/*.jpg")}
    assert "class1/015.jpg" in names
    assert {answer.image for answer in result.answers} == names - {"class1/019.jpg"}


@pytest.mark.parametrize("joined", [False, True])
def test_broken_pictures_of_one_name_in_both_parts_are_told_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, joined: bool
) -> None:
    for part in ("train", "val"):
        write_pictures(tmp_path / part, each=4)
        (tmp_path / part / "class1" / "007.jpg").write_text("no picture")
    with pytest.raises(
        ValueError, match=r"^2 of \d+ images cannot be read; .*: class1/007\.jpg, class1/007\.jpg$"
    ):
        run_training(
            ARCH, data=str(tmp_path), out=tmp_path / "run", image_size=32, recipe="small",
            epochs=1, batch_size=4, device="cpu", train_on_validation=joined,
        )  # fmt: skip
    assert all(f"{part}/class1/007.jpg" in caplog.text for part in ("train", "val"))


def test_hallucinated_and_compact_parts_are_trained_in_their_training_form(
    tmp_path: Path,
) -> None:
    host = "timm:deit_tiny_patch16_224(depth=1,embed_dim=24)"
    result = run_training(
        host, out=tmp_path / "run", attention="hallucinated", ffn="compact", **TINY
    )
    file = WeightsFile.read(tmp_path / "run" / "model.safetensors")
    assert (file.network.attention, file.network.ffn) == ("hallucinated", "compact")
    assert file.network.branches == 2
    network, merged = file.network.merged(file.load())
    assert network.branches == 0
    assert sum(p.numel() for p in merged.parameters()) < result.params


def test_events(tmp_path: Path) -> None:
    told: list[Progress] = []
    run_training(ARCH, out=tmp_path / "run", progress=told.append, **TINY)
    events = [event for event in told if event.unit == "epoch"]
    rows = [event.record for event in events if event.record is not None]
    assert all(isinstance(row, EpochRow) for row in rows)
    assert [event.done for event in events] == [0, 0, 1, 1, 1, 2]
    assert events[1].state.startswith("step 2/3 of epoch 1  loss ")
    assert " images/s  epoch 1: top-1 " in events[3].state
    shares = [event.part for event in events]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(events) == 2 * 3  # three steps an epoch, the last of them with the accuracy


def test_coarse_epochs_weigh_less_in_the_time_left(tmp_path: Path) -> None:
    run = TrainRun.make(architecture=ARCH, out=tmp_path / "run", **TINY, retokenize="1/0/1")
    plan = run.plan()
    assert [stage["stride"] for stage in plan["stages"]] == [16, 8, 4]
    coarse = plan["stages"][0]["time_fraction"]
    assert plan["saved"]["time"] == pytest.approx((1 - coarse) / 2)
    assert not (tmp_path / "run").exists()


def test_other_images_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_training(ARCH, out=folder, **{**TINY, "data": "digits", "classes": 10})
    path = folder / "checkpoint.safetensors"
    stored = Checkpoint.read(path)
    stored.origin.images["digest"] = "other"
    stored.write(path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="was started with other images"):
        run_training(ARCH, out=folder, **{**TINY, "data": "digits", "classes": 10})


def test_without_accelerate_several_processes_make_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ImportError, match=r"needs accelerate: .*pip install '\.\[train\]'"):
        run_training(ARCH, out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Twelve pictures of the first class and three of either other one."""
    folder = write_pictures(tmp_path / "uneven", classes=3, each=12)
    for label in ("class1", "class2"):
        for path in sorted((folder / label).iterdir())[3:]:
            path.unlink()
    return folder


BALANCED: dict[str, Any] = {
    "recipe": "small", "image_size": 32, "epochs": 3, "batch_size": 4, "held_out": 0.3,
    "device": "cpu", "ema": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_uneven_classes_are_balanced_and_judged_by_class(
    balance: str, uneven: Path, tmp_path: Path
) -> None:
    whole = run_training(ARCH, data=str(uneven), balance=balance, out=tmp_path / "a", **BALANCED)
    assert all(row.balanced is not None for row in whole.history)
    scores = [row.best_score for row in whole.history]
    assert whole.best == whole.history[scores.index(max(scores))]
    file = WeightsFile.read(tmp_path / "a/best.safetensors")
    assert file.facts["balanced_accuracy"] == max(scores)
    assert whole.derived()["balanced_accuracy"] == scores[-1]
    shares: dict[str, list[bool]] = {}
    for answer in whole.answers:
        shares.setdefault(answer.label, []).append(answer.right)
    by_class = [sum(right) / len(right) for right in shares.values()]
    assert len(by_class) == 3
    assert scores[-1] == pytest.approx(100 * sum(by_class) / 3)
    (table, *_) = TrainRun.summary(whole)
    assert {"balanced", "balanced (EMA)"} <= {*table.columns}
    (curves, *_) = TrainRun.pictures(whole)
    assert "balanced accuracy (%)" in [axes.get_title() for axes in curves.draw().axes]

    given = {"data": str(uneven), "balance": balance, "out": tmp_path / "b", **BALANCED}
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, progress=stop_after(2), **given)
    again = run_training(ARCH, workers=0, **given)
    assert [row.balanced for row in again.history] == [row.balanced for row in whole.history]
    for name in ("model", "best"):
        assert same(weights(tmp_path / "a", name), weights(tmp_path / "b", name))
    even = run_training(ARCH, data=str(uneven), out=tmp_path / "c", **{**BALANCED, "epochs": 1})
    assert even.last.balanced is None
    assert even.last.train_loss != whole.history[0].train_loss


def test_uneven_classes_are_a_word_on_balance(uneven: Path) -> None:
    def lines(**more: Any) -> str:
        run: Any = TrainRun.make(architecture=ARCH, data=str(uneven), **{**BALANCED, **more})
        return "\n".join(plan_lines(run.plan()))

    assert (
        "the largest class has 4.0 times the images of the smallest; --balance weights" in lines()
    )
    told = lines(balance="sampling")
    assert "balance sampling: every epoch has equally many images of each class; the best" in told
    assert "--balance" not in told


@pytest.mark.parametrize(
    ("device", "cores", "images", "epochs", "workers"),
    [
        *[("cpu", 64, 2000, 1, 8), ("cpu", 64, 1999, 300, 0)],
        *[("cuda", 64, 2000, 1, 32), ("cuda", 12, 2000, 1, 12), ("cuda", 64, 1999, 10, 0)],
        *[("cuda", 64, 400, 50, 12), ("cuda", 8, 400, 50, 8), ("cuda", 64, 400, 49, 0)],
    ],
)
def test_workers_are_as_many_as_cores_up_to_a_limit_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    cores: int,
    images: int,
    epochs: int,
    workers: int,
) -> None:
    monkeypatch.setattr(shared, "cores", lambda: cores)
    run: Any = TrainRun.make(architecture="timm:resnet18")
    run.processes = SimpleNamespace(device=torch.device(device), world=1)
    assert run.workers_for(images, epochs) == workers
