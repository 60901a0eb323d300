"""Runs on images of any channels and numbers: every kind of run, its files, and bad input."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import asvit
from asvit.data import open_training_sets
from asvit.data.files import FolderDataset
from asvit.data.statistics import channel_statistics
from asvit.designs.result import DesignResult
from asvit.networks import Network, WeightsFile
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.designing import design
from asvit.runs.exporting import export_network
from asvit.runs.training import TrainRun, run_training
from asvit.search.result import SearchResult
from asvit.spaces import SPACES, stage_table
from asvit.training.checkpoint import Checkpoint
from asvit.training.predictions import read_predictions
from proxies import count
from tests.asvit.data.array_sets import make_set
from tests.asvit.runs.fakes import stop_after
from tests.asvit.runs.without_asvit import run_script
from tests.campaigns import forked
from tests.campaigns.kill_runs import shorten_designs

pytestmark = pytest.mark.usefixtures("forked_modules")

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
#: Traced in less time.
EXPORTED = "shift:1,1,1,1|1|8|1|16"
#: Channels, numbers and format of sets.
SETS = [
    (1, "uint16", "png"),
    (2, "float32", "npy"),
    (5, "uint16", "bands"),
    (13, "int16", "pages"),
]
TINY: dict[str, Any] = {
    "recipe": "small", "image_size": 32, "epochs": 2, "batch_size": 4, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 5 channels of 16 bits."""
    return make_set(tmp_path_factory.mktemp("five") / "set", 5)


@pytest.fixture(scope="module")
def trained(five: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_training(EXPORTED, data=str(five), out=folder, **TINY)
    return folder


def logits(folder: Path, data: str) -> tuple[torch.Tensor, list[str]]:
    """Of the trained network for the images of a set, prepared by hand; and their files."""
    file = WeightsFile.read(folder / "model.safetensors")
    images, facts = FolderDataset(Path(data)), file.facts
    mean, std = (np.array(facts[name])[:, None, None] for name in ("mean", "std"))
    batch = [np.moveaxis(np.float64(images.picture(n)), -1, 0) for n in range(len(images))]
    pixels = torch.from_numpy((np.stack(batch) - mean) / std).float()
    with torch.no_grad():
        return file.load()(pixels), [str(path) for path in images.paths]


@pytest.mark.parametrize(("channels", "dtype", "form"), SETS)
def test_a_training_and_what_it_stores(
    tmp_path: Path, channels: int, dtype: str, form: str
) -> None:
    data = str(make_set(tmp_path / "set", channels, dtype, form=form))
    result = run_training(ARCH, data=data, out=tmp_path / "run", crop_pct=1.0, **TINY)
    assert result.network == Network(ARCH, 32, 2, channels)
    assert result.params == asvit.cost(ARCH, 32, 2, in_chans=channels).params
    file = WeightsFile.read(tmp_path / "run" / "model.safetensors")
    assert (file.network.in_chans, file.facts["pixels"]) == (channels, dtype)
    own = channel_statistics(open_training_sets(data, image_size=32, seed=0).train)
    assert (tuple(file.facts["mean"]), tuple(file.facts["std"])) == (own.mean, own.std)
    expected, paths = logits(tmp_path / "run", data)
    found = asvit.predict(tmp_path / "run", paths, device="cpu")
    for row, one in zip(expected.softmax(1), found, strict=True):
        by_label = {guess.label: guess.probability for guess in one.guesses}
        assert [by_label[name] for name in file.classes] == pytest.approx(row.tolist(), abs=1e-4)
    predictions = read_predictions(tmp_path / "run" / "predictions.json")
    assert predictions.shown.startswith("pictures show channel")


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("onnx", "a.onnx"),
        ("timm", "a"),
        pytest.param("pt2", "a.pt2", marks=pytest.mark.nightly),
        pytest.param("safetensors", "a.safetensors", marks=pytest.mark.nightly),
    ],
)
def test_copies_have_the_channels_and_how_images_are_prepared(
    five: Path, trained: Path, tmp_path: Path, form: str, out: str
) -> None:
    exported = export_network(weights=str(trained), to=form, out=str(tmp_path / out))
    assert exported.cost == count(exported.content.load(), 32, 5)
    card = exported.card
    told = card.read_text()
    assert "[batch, 5, 32, 32], 5 channels of uint16, as files have them, then normalised" in told
    assert "(1, 5, 32, 32)" in exported.loading_code("x")
    if form == "pt2":
        return
    paths = FolderDataset(five).paths
    copy = tmp_path / out if form != "timm" else tmp_path / out / "model.safetensors"
    for one, other in zip(asvit.predict(trained, paths), asvit.predict(copy, paths), strict=True):
        pairs = zip(one.guesses, other.guesses, strict=True)
        assert all(a.probability == pytest.approx(b.probability, abs=1e-4) for a, b in pairs)


@pytest.mark.parametrize(
    "architecture",
    ["timm:resnet10t", pytest.param("shift:1,1,1,1|1|8|1|16", marks=pytest.mark.nightly)],
)
def test_copies_for_timm_keep_the_first_convolution(tmp_path: Path, architecture: str) -> None:
    """timm would adapt it from three channels, and drop it where it cannot."""
    network = Network(architecture, 32, 3, 5)
    model = network.build()
    facts = {"mean": [100.0] * 5, "std": [10.0] * 5, "pixels": "uint16"}
    WeightsFile(network, model.state_dict(), facts=facts).write(tmp_path / "a.safetensors")
    copy = export_network(
        weights=str(tmp_path / "a.safetensors"), to="timm", out=str(tmp_path / "t")
    )
    assert all(difference.absolute < 1e-5 for difference in copy.differences)


def test_a_stopped_training_goes_on_with_its_own_statistics(
    five: Path, trained: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(five, tmp_path / "set")
    with pytest.raises(KeyboardInterrupt):
        run_training(
            EXPORTED, data=str(data), out=tmp_path / "run", progress=stop_after(1), **TINY
        )
    stored = Checkpoint.read(tmp_path / "run" / "checkpoint.safetensors").origin.normalisation
    assert len(stored.mean) == 5
    run_training(EXPORTED, data=str(data), out=tmp_path / "run", **TINY)
    ours, theirs = (
        WeightsFile.read(folder / "model.safetensors") for folder in (tmp_path / "run", trained)
    )
    assert ours.facts["mean"] == theirs.facts["mean"]
    assert all(torch.equal(ours.weights[n], theirs.weights[n]) for n in theirs.weights)


def test_a_plan_says_what_images_have(five: Path) -> None:
    plan = TrainRun.make(architecture=ARCH, data=str(five), **TINY).plan()
    assert (plan["pixels"], plan["network"].in_chans) == ("5 channels of uint16", 5)
    from asvit.runs.training import plan_lines

    lines = "\n".join(plan_lines(plan))
    assert "for validation, 5 channels of uint16" in lines
    assert "pretrained" not in lines  # there are no weights for such images


def test_random_augmentation_of_colours_is_left_out_with_a_line(
    five: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_training(ARCH, data=str(five), out=tmp_path, **{**TINY, "recipe": "deit", "epochs": 1})
    told = [
        r.message for r in caplog.records if "is for 8-bit colours and is left out" in r.message
    ]
    assert len(told) == 1


def test_weights_of_other_channels_are_refused(trained: Path, tmp_path: Path) -> None:
    data = str(make_set(tmp_path / "set", 2))
    for more in ({"weights": str(trained)}, {"weights": str(trained), "new_head": True}):
        with pytest.raises(
            ValueError, match=r"are for images of 5 channels, these have 2; use weights of such"
        ):
            run_training(EXPORTED, data=data, out=tmp_path / "run", **TINY, **more)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_teacher_of_the_same_images_teaches(five: Path, trained: Path, tmp_path: Path) -> None:
    taught = {"teacher": EXPORTED, "teacher_weights": str(trained)}
    result = run_training(EXPORTED, data=str(five), out=tmp_path / "run", **TINY, **taught)
    assert np.isfinite(result.last.train_loss)
    other = str(make_set(tmp_path / "other", 5, "float32", form="npy"))
    with pytest.raises(
        ValueError, match=r"another kind, 5 channels of uint16, and these have 5 ch"
    ):
        run_training(EXPORTED, data=other, out=tmp_path / "no", **TINY, **taught)


def test_a_test_takes_images_as_they_are(five: Path, trained: Path, tmp_path: Path) -> None:
    result = asvit.test(str(five), weights=str(trained), device="cpu", out=tmp_path / "tested")
    told = asvit.predict(trained, [five], device="cpu")
    assert [answer.predicted for answer in result.answers] == [
        one.guesses[0].label for one in told
    ]
    mistakes = read_predictions(tmp_path / "tested" / "predictions.json")
    assert "channels 1, 2 and 3" in mistakes.shown
    other = str(make_set(tmp_path / "other", 2))
    with pytest.raises(
        ValueError,
        match=r"has images of 2 channels of uint16, \S+ is for 5 channels of uint16; test",
    ):
        asvit.test(other, weights=str(trained), device="cpu")


def test_a_test_reads_as_the_training_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"photos/{label}/{number}.png")
    data = str(tmp_path / "photos")
    run_training(ARCH, data=f"{data}:grey", out=tmp_path / "run", **TINY)
    plain, grey = (
        asvit.test(text, weights=str(tmp_path / "run"), device="cpu")
        for text in (data, f"{data}:grey")
    )
    assert plain.answers == grey.answers
    with pytest.raises(ValueError, match="has images of 8-bit RGB"):
        asvit.test(f"{data}:rgb", weights=str(tmp_path / "run"), device="cpu")


# Measures, searches, scalings.


@pytest.mark.parametrize(("channels", "dtype", "form"), SETS)
def test_measures_of_any_channels(tmp_path: Path, channels: int, dtype: str, form: str) -> None:
    data = str(make_set(tmp_path / "set", channels, dtype, form=form))
    names = ("length_distortion", "ntk_condition_number", "params", "macs", "snip", "synflow")
    (row,) = asvit.score(ARCH, names, data=data, image_size=32, repeats=1, images=4, device="cpu")
    assert row.reason == ""
    size = asvit.cost(ARCH, 32, in_chans=channels)
    assert (row.values["params"], row.values["macs"]) == (size.params, size.macs)


MEASURING: dict[str, Any] = {
    "image_size": 32, "repeats": 1, "images": 2, "points": 3, "device": "cpu",
}  # fmt: skip


def test_a_search_counts_the_channels(five: Path, tmp_path: Path) -> None:
    result = asvit.run_search(
        data=str(five), steps=2, recheck=1, max_params="150K", out=tmp_path / "run", **MEASURING
    )
    size = asvit.cost(result.seed_architecture, 32, 2, in_chans=5)
    assert (result.params, result.macs) == (size.params, size.macs)
    assert size.params <= 150_000


@pytest.mark.nightly  # a search of other images does
def test_workers_measure_the_same(five: Path, tmp_path: Path) -> None:
    from asvit.executors import Workers

    def search(name: str, **more: Any) -> SearchResult:
        given = {**MEASURING, "data": str(five), "steps": 2, "recheck": 1, "out": tmp_path / name}
        result: SearchResult = asvit.run_search(**given, **more)
        return result

    alone, shared = search("a"), search("b", workers=Workers(jobs=2))
    assert [row.values for row in alone.trials] == [row.values for row in shared.trials]
    assert [row.params for row in alone.trials] == [row.params for row in shared.trials]


def test_a_search_by_trainings_and_its_table(five: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"data": str(five), "space": "asvit-tiny", "image_size": 32}
    result = asvit.run_search(
        **given, trainings=5, training_steps=1, batch_size=4, max_params="150K",
        controller="random", out=tmp_path / "run", device="cpu", color_jitter=0.2,
    )  # fmt: skip
    assert result.params == asvit.cost(result.seed_architecture, 32, 2, in_chans=5).params
    assert "# in_chans: 5" in (tmp_path / "run" / "trainings.csv").read_text()
    again = asvit.run_search(
        **given, trainings=2, training_steps=1, batch_size=4, max_params="150K",
        controller="random", out=tmp_path / "more", device="cpu", color_jitter=0.2,
        reference=tmp_path / "run" / "trainings.csv",
    )  # fmt: skip
    assert len(again.trials) == 2


def test_a_scaling_counts_the_channels(five: Path, tmp_path: Path) -> None:
    result = asvit.run_scaling(
        ARCH, budgets="160K", data=str(five), out=tmp_path / "run", stop_within=0.5, **MEASURING
    )
    last = result.series[-1]
    size = asvit.cost(last.architecture, result.settings.count_size, 2, in_chans=5)
    assert (last.params, last.macs) == (size.params, size.macs)


def test_a_correlation_measures_with_the_channels(five: Path, tmp_path: Path) -> None:
    from asvit.core.files import write_text
    from asvit.runs.correlation import run_correlation

    lines = ["# target: top1 | made up | scratch", "architecture,image_size,top1"]
    texts = [f"4,2,2|4,1,2|4,1,2|4,1,2|16,{width}" for width in (4, 5, 6, 7, 8)]
    lines += [f'"{text}",32,{60 + place}' for place, text in enumerate(texts)]
    write_text(tmp_path / "table.csv", "\n".join(lines) + "\n")
    result = run_correlation(
        str(tmp_path / "table.csv"), proxies=["snip"], data=str(five), images=2, points=3,
        repeats=1, device="cpu", out=tmp_path / "run",
    )  # fmt: skip
    finding = result.finding("snip")
    assert (finding.correlation.n, finding.correlation.dropped) == (5, 0)


def test_maps_and_pyramids(five: Path, tmp_path: Path) -> None:
    network = Network("timm:vit_tiny_patch16_224(depth=1)", 32, 2, 5)
    facts = {"mean": [100.0] * 5, "std": [10.0] * 5, "pixels": "uint16"}
    file = tmp_path / "a.safetensors"
    WeightsFile(network, network.build().state_dict(), facts=facts).write(file)
    (picture,) = asvit.attention_maps(str(file), [FolderDataset(five).paths[0]])
    assert "<svg" in picture.svg
    pyramid = asvit.backbone(Network(ARCH, 64, 2, 5), frozen_stages=1)
    assert len(pyramid(torch.zeros(1, 5, 64, 64))) == 4


def test_the_latency_of_a_network_with_channels() -> None:
    assert asvit.latency(ARCH, 32, in_chans=5, num_classes=2).milliseconds > 0
    with pytest.raises(ValueError, match="in_chans must be at least 1, got 0"):
        asvit.latency(ARCH, 32, in_chans=0)


# Networks.


@pytest.mark.parametrize(
    "channels", [5, *(pytest.param(count, marks=pytest.mark.nightly) for count in (1, 2, 13))]
)
@pytest.mark.parametrize("space", SPACES)
def test_costs_of_networks_are_exact(space: str, channels: int) -> None:
    loaded = SPACES[space]
    arch = loaded.sample(np.random.default_rng(channels))
    network = loaded.build(arch, image_size=64, num_classes=3, in_chans=channels).eval()
    assert network(torch.zeros(2, channels, 64, 64)).shape == (2, 3)
    size = asvit.cost(arch, 64, 3, in_chans=channels)
    assert size == count(network, 64, channels)
    rows = stage_table(str(arch), image_size=64, num_classes=3, in_chans=channels)
    assert sum(row.macs for row in rows) == size.macs


@pytest.mark.parametrize(
    "given",
    [
        {"architecture": "timm:vit_tiny_patch16_224", "attention": "hallucinated"},
        {"architecture": ARCH, "ffn": "compact", "branches": 2},
        {"architecture": "pit:16,2|1,1,1|2,4,4"},
        {"architecture": "autoformer:32|2,2|2,2"},
    ],
)
def test_converted_networks_and_families(given: dict[str, Any]) -> None:
    network = Network(image_size=32, num_classes=3, in_chans=5, **given)
    assert Network.from_json(network.to_json()) == network
    model = network.build().eval()
    assert model(torch.zeros(2, 5, 32, 32)).shape == (2, 3)
    merged, small = network.merged(model)
    assert (merged.in_chans, small(torch.zeros(1, 5, 32, 32)).shape) == (5, (1, 3))


def test_networks_that_take_three_channels_alone_are_refused_in_a_line() -> None:
    from asvit.spaces import PlainSpace

    class Small(PlainSpace):
        name, description, paper, prefix = "small", "x", "x", "small:"
        dimensions = {"width": (2, 4)}  # noqa: RUF012

        def network(self, choices: Any, *, image_size: int, num_classes: int, drop_path: float,
                    drop: float) -> torch.nn.Module:  # fmt: skip
            return torch.nn.Identity()

    space = Small()
    assert space.build("small:2")
    with pytest.raises(
        ValueError, match=r"^space 'small' has networks for images of 3 channels alone, not of 5$"
    ):
        space.build("small:2", in_chans=5)
    with pytest.raises(ValueError, match="in_chans must be at least 1, got 0"):
        Network(ARCH, in_chans=0)
    with pytest.raises(ValueError, match="in_chans must be at most 64, got 65"):
        Network(ARCH, in_chans=65)


# Designs.


def test_a_design_counts_channels_and_shows_pictures(five: Path, tmp_path: Path) -> None:
    words = ["design", "--data", str(five), "--out", "run", "--max-params", "40K",
             "--trainings", "5", "--image-size", "32", "--device", "cpu",
             "--space", "resnet"]  # fmt: skip
    assert forked.run(forked.command, words, tmp_path, prepare=shorten_designs) == 0
    out = tmp_path / "run"
    result = DesignResult.read(out / "result.json")
    assert (result.channels, result.pixels) == (5, "uint16")
    size = asvit.cost(result.architecture, 32, 2, in_chans=5)
    assert (result.params, result.macs) == (size.params, size.macs)
    assert result.params <= 40_000
    assert set(result.exports) == {"timm", "model.onnx", "model.safetensors"}
    page = (out / "report.html").read_text()
    assert "pictures show channels 1, 2 and 3 as red, green and blue" in page
    files = [str(path) for path in FolderDataset(five).paths[:3]]
    by_each = [
        [one.guesses[0].label for one in asvit.predict(out / name, files, device="cpu")]
        for name in (".", "model.onnx", "timm/model.safetensors")
    ]
    assert by_each[0] == by_each[1] == by_each[2]
    printed = forked.printed(tmp_path, forked.STDOUT)
    assert "32 px, 5 channels of uint16, 2 classes" in printed


@pytest.mark.nightly  # other tests have copies in int8, and the script for other images
def test_an_int8_copy_prepares_images_of_other_kinds(
    five: Path, trained: Path, tmp_path: Path
) -> None:
    files = FolderDataset(five).paths[:3]
    small = tmp_path / "small"
    small.mkdir()
    exported = export_network(
        str(trained),
        to="onnx",
        int8=True,
        tolerance=100,
        with_preprocessing=True,
        out=str(small / "int8.onnx"),
    )
    found = exported.quantisation
    low, high = found.interval
    assert low <= found.difference <= high
    assert f"[{low:+.1f}, {high:+.1f}] of accuracy on {found.pictures} pictures" in found.in_words
    for place in range(len(files)):
        np.save(small / f"{place}.npy", FolderDataset(five).picture(place))
    arrays = sorted(small.glob("*.npy"))
    ended = run_script(small, "int8.onnx", arrays)
    assert not ended.returncode, ended.stderr
    named = [json.loads(line)["probabilities"] for line in ended.stdout.splitlines()]
    assert [max(row, key=row.__getitem__) for row in named] == [
        one.guesses[0].label for one in asvit.predict(small / "int8.onnx", arrays)
    ]


def test_pictures_of_a_design_are_listed_with_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(_plan: DesignPlan) -> None:
        raise Stopped

    monkeypatch.setattr(DesignPlan, "search", stop)
    folder = make_set(tmp_path / "set", 2, "float32", form="npy", each=8)
    broken = np.load(folder / "class0" / "003.npy")
    broken[0, 0, 0] = np.nan
    np.save(folder / "class0" / "003.npy", broken)
    with pytest.raises(Stopped):
        design(folder, max_params="100K", out=tmp_path / "run")
    journal = (tmp_path / "run" / "design.jsonl").read_text()
    assert '"channels":2' in journal
    assert '"pixels":"float32"' in journal
    assert "class0/003.npy" in journal.partition("unreadable")[2]
    assert "are NaN or infinite" in journal
    with pytest.raises(ValueError, match="started with pictures read otherwise"):
        design(f"{folder}:rgb", max_params="100K", out=tmp_path / "run")


def test_published_weights_are_refused_for_other_channels(five: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="published weights are for images of 3 channels, these h"
    ):
        design(five, max_params="30M", pretrained="hub", image_size=32, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Bad input: one line, before anything is spent, nothing lost.


def mixed(folder: Path) -> str:
    make_set(folder, 2)
    make_set(folder / "class2", 5, each=2, classes=1)
    return r"mixes kinds of images: .*\(2 channels of uint16\) and .*\(5 channels of uint16\)"


def not_a_number(folder: Path) -> str:
    make_set(folder, 2, "float32", form="npy")
    broken = np.load(folder / "class0" / "001.npy")
    broken[3, 4, 1] = np.nan
    np.save(folder / "class0" / "001.npy", broken)
    return r"001\.npy': 1 of its numbers are NaN or infinite, some in channel 2; .*; repair or rem"


def no_channels(folder: Path) -> str:
    make_set(folder, 2, form="npy")
    np.save(folder / "class0" / "001.npy", np.zeros((32, 32, 0), np.uint16))
    return r"001\.npy': it has 0 channels; an image has 1 to 64, so choose some; repair or remove"


def constant(folder: Path) -> str:
    for label in range(2):
        for number in range(4):
            path = folder / f"class{label}" / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.full((32 + label, 33 + number), 7, np.uint16))
    return r"all images have the same value 7 at every pixel, from which nothing is learnt"


def one_bit(folder: Path) -> str:
    make_set(folder, 1)
    Image.fromarray(np.eye(32) > 0).save(folder / "class0" / "001.tif")
    return r"001\.tif': it has 1 bit a pixel; use 8 or 16 bits, or floating-point numbers; repair"


@pytest.mark.parametrize("bad", [mixed, not_a_number, no_channels, constant, one_bit])
def test_bad_images_stop_a_training_in_a_line(tmp_path: Path, bad: Any) -> None:
    words = bad(tmp_path / "set")
    with pytest.raises(ValueError, match=words) as caught:
        run_training(ARCH, data=str(tmp_path / "set"), out=tmp_path / "run", **TINY)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("bad", [not_a_number, no_channels, one_bit])
def test_bad_images_are_replaced_if_asked_for(tmp_path: Path, bad: Any) -> None:
    bad(tmp_path / "set")
    result = run_training(
        ARCH, data=str(tmp_path / "set"), out=tmp_path / "run", bad_images="replace", **TINY
    )
    assert [name.rpartition("/")[0] for name in result.bad_images] == ["class0"]


def test_prediction_names_files_of_another_kind(five: Path, trained: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.zeros((40, 40, 4), np.uint16))
    np.save(tmp_path / "c.npy", np.zeros((40, 40, 5), np.uint16))
    found = asvit.predict(trained, [tmp_path])
    assert [bool(one.guesses) for one in found] == [False, False, True]
    assert found[0].reason.endswith("a.png': it is 8-bit RGB, not 5 channels of uint16")
    assert found[1].reason.endswith("b.npy': it is 4 channels of uint16, not 5 channels of uint16")


def test_a_picture_whose_numbers_overflow_has_a_reason_and_the_others_a_class(
    tmp_path: Path,
) -> None:
    data = make_set(tmp_path / "set", 2, "float32", form="npy")
    run_training(ARCH, data=str(data), out=tmp_path / "run", **TINY)
    files = sorted(data.rglob("*.npy"))[:3]
    alone = [asvit.predict(tmp_path / "run", [file])[0] for file in files]
    np.save(tmp_path / "huge.npy", np.full_like(np.load(files[0]), 3e38))
    (huge, *others) = asvit.predict(tmp_path / "run", [tmp_path / "huge.npy", *files])
    assert "huge.npy' has numbers so large that" in huge.reason
    assert not huge.guesses
    assert [one.guesses[0].label for one in others] == [one.guesses[0].label for one in alone]


def test_supernets_and_detectors_say_that_they_take_pictures(five: Path, trained: Path) -> None:
    from asvit.training.short_settings import SupernetSettings
    from asvit.training.supernet import load_splits
    from asvit.transfer.settings import SegmentationSettings
    from asvit.transfer.task import Start

    settings = SupernetSettings.make("quick", data=str(five), train_images=4, batch_size=2,
                                     validation_images=2, test_images=2)  # fmt: skip
    with pytest.raises(
        ValueError, match=r"supernets are trained on 8-bit RGB pictures, and folder"
    ):
        load_splits(settings)
    asked = SegmentationSettings(data="x", weights=str(trained), image_size=32)
    with pytest.raises(ValueError, match=r"takes images of 5 channels of uint16, and detectors"):
        Start.of(asked)


def test_fractals_are_no_start_for_other_channels(five: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"fractals are pictures of 3 channels, and .* has 5; lea"
    ):
        design(five, max_params="100K", warm_start="fractals", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
