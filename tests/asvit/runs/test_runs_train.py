"""``asvit.run_training`` as a library call."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from asvit.networks import Network, WeightsFile
from asvit.runs.training import TRAIN, run_training
from asvit.training.metrics import read_predictions
from tests.asvit.runs.fakes import stop_after, write_pictures

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
    from asvit.training.loaders import Batching, validation_loader
    from asvit.training.metrics import evaluate

    folder = tmp_path / "run"
    result = run_training(ARCH, out=folder, **TINY)
    settings = result.settings
    sets = open_training_sets(
        "fractal", classes=3, train_images=24, validation_images=9, image_size=32, seed=0
    )
    for name, row in (("model", result.last), ("best", result.best)):
        file = WeightsFile.read(folder / f"{name}.safetensors")
        assert file.classes == sets.classes
        batching = Batching(image_size=32, batch_size=4, augmentation=settings.augmentation)
        loader = validation_loader(sets.validation, batching)
        found = evaluate(file.load(), loader, ProcessGroup("cpu"))
        assert found.top1 == file.facts["top1"] == row.top1
    kept = read_predictions(folder / "predictions.json")
    right = sum(pair.images for pair in kept.confusion if pair.label == pair.predicted)
    assert 100 * right / 9 == pytest.approx(result.last.top1)
    assert len(kept.mistakes) == 9 - right


def test_fine_tuning_at_another_size_with_a_new_head(tmp_path: Path) -> None:
    host = "timm:deit_tiny_distilled_patch16_224"
    run_training(host, out=tmp_path / "first", **{**TINY, "epochs": 1})
    asked = {**TINY, "epochs": 1, "recipe": "finetune", "classes": 4, "image_size": 48}
    second = run_training(
        host, out=tmp_path / "second", weights=str(tmp_path / "first"), new_head=True, **asked
    )
    assert second.network.num_classes == 4
    assert weights(tmp_path / "second")["pos_embed"].shape[1] == 2 + 9


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
        monkeypatch.setattr("asvit.networks.opening.load_published", lambda _: model)

    options = {
        **TINY, "out": tmp_path / "run", "teacher": teacher,
        "teacher_weights": "timm" if published else str(tmp_path),
    }  # fmt: skip
    draw(0)
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, **options, progress=stop_after(1))
    draw(1)
    words = "was started with teacher .*, digest .* --fresh to start over$"
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


def test_other_images_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_training(ARCH, out=folder, **{**TINY, "data": "digits", "classes": 10})
    path = folder / "run.jsonl"
    head = json.loads(path.read_text())
    head["start"]["images"]["digest"] = "other"
    path.write_text(json.dumps(head) + "\n")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="was started with images "):
        run_training(ARCH, out=folder, **{**TINY, "data": "digits", "classes": 10})


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
    "device": "cpu",
}  # fmt: skip


def test_uneven_classes_are_balanced_and_judged_by_class(uneven: Path, tmp_path: Path) -> None:
    balance = "sampling"
    whole = run_training(ARCH, data=str(uneven), balance=balance, out=tmp_path / "a", **BALANCED)
    assert all(row.balanced is not None for row in whole.history)
    scores = [row.score for row in whole.history]
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
    (table, *_) = TRAIN.summary(whole)
    assert "balanced" in table.columns
    (curves, *_) = TRAIN.pictures(whole)
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
