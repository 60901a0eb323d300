"""Sets of torchvision and of the Hugging Face hub, and tar archives: none leads to the network."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asvit.data import LabelledImages, load_images, open_dataset, open_training_sets
from asvit.data.libraries import hub_parts, shards_of, torchvision_parts
from asvit.data.sources import open_whole
from asvit.data.training_sets import open_test_part
from tests.asvit.data.archives import archive, samples, shards
from tests.asvit.data.image_folders import fill, write_mnist
from tests.hostile import refused_or

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _offline_in_an_empty_cache(
    network_calls: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("ASVIT_DATA", str(tmp_path))
    yield
    assert network_calls == []


# torchvision


@pytest.fixture
def mnist(tmp_path: Path) -> np.ndarray:
    """Twenty MNIST images in the format of its own files, where ASVIT_DATA says."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for part, values in (("train", labels.tobytes()), ("t10k", bytes([7] * 20))):
        write_mnist(tmp_path, part, pixels.tobytes(), values)
    return pixels


def test_torchvision(mnist: np.ndarray) -> None:
    dataset = open_dataset("torchvision:MNIST")
    assert dataset.classes[3] == "3 - three"
    assert dataset.labels.tolist() == [i % 10 for i in range(20)]
    picture, label = dataset[13]
    assert (np.asarray(picture) == mnist[13][..., None]).all()
    assert label == 3
    grey = open_dataset("torchvision:MNIST:grey").picture(13)
    assert (grey == mnist[13][..., None]).all()
    sets = open_training_sets("torchvision:MNIST", image_size=8, seed=0)
    assert sets.validation.labels.tolist() == [7] * 20
    assert sets.validation.source == "torchvision MNIST test, 20 images"
    assert open_test_part("torchvision:MNIST").labels.tolist() == [7] * 20
    assert open_whole("torchvision:MNIST").parts.tolist() == ["train"] * 20 + ["test"] * 20


def test_torchvision_downloads_only_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    with pytest.raises(FileNotFoundError, match=r"not found.*ask for 'torchvision:CIFAR10:down"):
        torchvision_parts("CIFAR10")
    with pytest.raises(FileNotFoundError) as caught:
        torchvision_parts("ImageNet")
    assert "ask for" not in str(caught.value)  # torchvision cannot fetch that one
    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    with pytest.raises(OSError, match=r"cannot open torchvision:CIFAR10 .*unreachable"):
        torchvision_parts("CIFAR10", download=True)


@pytest.mark.parametrize(
    "name", ["CIFAR-10", "ImageFolder", "LSUN", "../../etc", "os", "CIFAR10:x"]
)
def test_wrong_torchvision_names(name: str) -> None:
    with pytest.raises(ValueError, match="has no dataset"):
        open_dataset(f"torchvision:{name}")


def test_classes_of_equal_name_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet has a bird and a machine that are called crane."""
    from torchvision import datasets

    class Named(datasets.FakeData):
        classes = (("crane",), ("crane",), ("crane (2)",), ("maillot", "tank suit"))

        def __init__(self, root: str) -> None:
            super().__init__(size=10, image_size=(3, 8, 8), num_classes=4)

    monkeypatch.setattr(datasets, "SVHN", Named)
    dataset = open_dataset("torchvision:SVHN")
    assert dataset.classes == (
        "crane (class 0)",
        "crane (class 1)",
        "crane (2)",
        "maillot, tank suit",
    )


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (("train", "val", "test"), {"validation": "val", "test": "test"}),
        (("train", "valid", "test"), {"validation": "valid", "test": "test"}),
        (("train", "test"), {"test": "test"}),
        (("trainval", "val", "test"), {"test": "test"}),  # has the images to validate with
        (("train", "val", "unlabelled"), {"validation": "val"}),
        (("10fold", "test"), {}),  # which LFWPeople has: its test is in the default part
    ],
)
def test_parts_of_torchvision(
    there: tuple[str, ...], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for in turn; what torchvision says of others is no error, nor are withheld labels."""
    from torchvision import datasets
    from torchvision.datasets.utils import verify_str_arg

    class Parted(datasets.FakeData):
        def __init__(self, root: str, split: str = there[0], download: bool = False) -> None:
            verify_str_arg("test" if split == "test" else split, "split", (*there, "test"))
            super().__init__(size=10)
            self._samples = [(None, None if split == "test" not in there else 3)] * 10

    monkeypatch.setattr(datasets, "SVHN", Parted)
    parts = torchvision_parts("SVHN")
    assert [*parts] == ["train", *expected]
    for part, split in expected.items():
        assert parts[part].source == f"torchvision SVHN {split}, 10 images"


def test_a_pickle_in_the_place_of_a_set_is_not_read(tmp_path: Path) -> None:
    """CIFAR is pickled: torchvision reads it where it has the digest of the published one."""
    import os
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "run"),)

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("batches.meta", "test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (folder / name).write_bytes(pickle.dumps(Payload()))
    assert refused_or(lambda: torchvision_parts("CIFAR10")) is None
    assert not (tmp_path / "run").exists()


# The hub


def table_of(
    labels: Sequence[Any], feature: Any = None, images: Sequence[Any] = (), column: str = "label"
) -> Any:
    """A table of pictures whose red is their number, with a column of labels."""
    feature = feature or datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"image": datasets.Image(), column: feature})
    pictures = [*images] or [Image.new("RGB", (4, 4), (n, 0, 0)) for n in range(len(labels))]
    return datasets.Dataset.from_dict({"image": pictures, column: labels}, features=features)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The tables of any dataset of the hub, by their parts."""
    tables = dict[str, Any]()
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: tables)
    return tables


@pytest.mark.parametrize("missing", [None, -1])
def test_parts_of_a_hub_set(
    hub: dict[str, Any], missing: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Images without a label are left out, and so are parts without any."""
    hub["train"] = table_of([0, missing, 1, missing, 1])
    hub["validation"], hub["dev"] = table_of([missing, missing]), table_of([1, 1])
    hub["test"] = table_of([missing, 1])
    sets = open_training_sets("hf:me/set", image_size=8, seed=0)
    assert sets.train.labels.tolist() == [0, 1, 1]
    assert [np.asarray(sets.train.picture(at))[0, 0, 0] for at in range(3)] == [0, 2, 4]
    assert sets.validation.labels.tolist() == [1, 1]
    assert caplog.messages[0] == "2 of 5 images of hf:me/set have no label and are left out"
    assert open_test_part("hf:me/set").labels.tolist() == [1]
    hub["train"] = table_of([missing])
    with pytest.raises(ValueError, match="hf:me/set has no image with a label in 'train'; save"):
        hub_parts("me/set")
    del hub["train"]
    with pytest.raises(ValueError, match="has no part 'train'; its parts: validation, dev, test"):
        hub_parts("me/set")


@pytest.mark.parametrize(
    ("kind", "values", "classes", "labels"),
    [
        ("string", ["dog", "cat", None, "dog", ""], ("cat", "dog"), [1, 0, 1]),
        ("large_string", ["e\u0301", "a"], ("a", "\u00e9"), [1, 0]),
        ("int64", [10, 2, 10, -1, None], ("2", "10"), [1, 0, 1]),
        ("int8", [-1, 1, 1], ("-1", "1"), [0, 1, 1]),
        ("bool", [True, False, None], ("False", "True"), [1, 0]),
        ("float32", [0.5, 1.5], ("images",), [0, 0]),
    ],
)
@pytest.mark.parametrize("column", ["label", "Class"])
def test_labels_may_be_plain_values(
    hub: dict[str, Any],
    kind: str,
    values: list[Any],
    classes: tuple[str, ...],
    labels: list[int],
    column: str,
) -> None:
    hub["train"] = table_of(values, datasets.Value(kind), column=column)
    images = open_dataset("hf:me/set")
    assert (images.classes, images.labels.tolist()) == (classes, labels)


def test_labels_of_plain_values_are_those_of_the_training_part(hub: dict[str, Any]) -> None:
    text = datasets.Value("string")
    hub["train"], hub["test"] = table_of(["pug", "cur"] * 2, text), table_of(["pug"], text)
    sets = open_training_sets("hf:me/set", image_size=8, seed=0)
    assert (sets.classes, sets.validation.labels.tolist()) == (("cur", "pug"), [1])
    hub["train"] = table_of(["a", "b"], text, column="caption")
    assert open_dataset("hf:me/set").classes == ("images",)
    hub["train"] = table_of(["Pug", "pug"], text)
    with pytest.raises(ValueError, match="hf:me/set has the classes 'Pug' and 'pug', which"):
        open_dataset("hf:me/set")


def test_a_set_that_is_not_here() -> None:
    with pytest.raises(FileNotFoundError, match="ask for 'hf:nobody/nothing:download'"):
        hub_parts("nobody/nothing")


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc", "a/../b", "a/b/c", "owner/", "a\nb", "a\0b", "tests", "."),
        *("http://a.b/c", "hf://datasets/a/b", "file:///etc", "parquet", "webdataset", "ö/ä"),
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_what_is_no_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither are folders, which the library would open, with what they refer to."""
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    for download in (False, True):
        assert refused_or(lambda download=download: hub_parts(name, download=download)) is None


@pytest.mark.parametrize(
    "stored",
    [
        *(
            {"bytes": None, "path": path}
            for path in ("http://a.b/x.png", "/dev/zero", "zip://x::http://a.b/c.zip", "none.png")
        ),
        *({"bytes": data, "path": None} for data in (b"", b"\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n")),
    ],
)
def test_images_that_are_elsewhere_or_none(hub: dict[str, Any], stored: dict[str, Any]) -> None:
    hub["train"] = table_of([0], images=[stored])
    images = open_dataset("hf:me/set")
    assert refused_or(lambda: images.picture(0)) is None


# Archives


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures", **{"0": 5, "1": 6, "2": 4})


@pytest.mark.parametrize("names", [False, True])
def test_archives_hold_the_images_of_a_folder(tmp_path: Path, folder: Path, names: bool) -> None:
    pattern = f"wds:{shards(tmp_path, samples(folder, names=names))}"
    ours, theirs = open_dataset(pattern), open_dataset(str(folder))
    assert (ours.classes, ours.kind) == (theirs.classes, theirs.kind)
    assert ours.labels.tolist() == theirs.labels.tolist()
    for index in range(len(theirs)):
        assert np.array_equal(np.asarray(ours.picture(index)), np.asarray(theirs.picture(index)))
    assert [ours.name(at) for at in (0, 14)] == ["part-000.tar/0_000", "part-001.tar/2_003"]
    assert ours.source == "shards part-{000..001}.tar, 15 images, 3 classes"
    assert load_images(pattern, count=6, image_size=32, seed=0).pixels.shape == (6, 3, 32, 32)
    sets = open_training_sets(f"{folder}:grey", image_size=32, seed=0, validation=pattern)
    assert sets.train.kind == sets.validation.kind
    assert str(sets.validation.kind) == "8-bit grey"


def test_copies_in_archives_are_kept_together_as_in_a_folder(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("0/000.png", "1/001.png"):
        path = folder / name
        (path.parent / f"copy_{path.name}").write_bytes(path.read_bytes())
    (folder / "2" / "wrong.png").write_bytes((folder / "1" / "002.png").read_bytes())
    pattern = f"wds:{shards(tmp_path, samples(folder))}"

    def names(images: LabelledImages) -> list[str]:
        own = [images.name(index).rpartition(".tar/")[2] for index in range(len(images))]
        return [name.replace("/", "_").removesuffix(".png") for name in own]

    for seed in range(3):
        ours, theirs = (
            open_training_sets(str(data), seed=seed, image_size=32, held_out=0.4)
            for data in (pattern, folder)
        )
        assert names(ours.train) == names(theirs.train)
        assert names(ours.validation) == names(theirs.validation)
    assert "2 picture(s) have copies: part-000.tar/0_000 = part-000.tar/0_copy_000; " in (
        caplog.text
    )
    caplog.clear()
    open_training_sets(pattern, image_size=32, seed=0, validation=pattern)
    assert "18 of 18 images for validation are also among those to train on" in caplog.text


def test_patterns_name_archives_in_order(tmp_path: Path) -> None:
    for name in ("b-2.tar", "b-0.tar", "a-1.tar", "other.txt"):
        (tmp_path / name).touch()

    def named(pattern: str) -> list[str]:
        return [path.name for path in shards_of(f"{tmp_path}/{pattern}")]

    assert named("*.tar") == ["a-1.tar", "b-0.tar", "b-2.tar"]
    assert named("b-[02].tar") == ["b-0.tar", "b-2.tar"]
    assert named("a-{1..1}.tar") == ["a-1.tar"]
    with pytest.raises(FileNotFoundError, match=r"no archive .*b-1\.tar'; give e\.g\. wds:train-"):
        named("b-{0..2}.tar")


def test_images_of_other_kinds_and_unreadable_ones_in_archives(tmp_path: Path) -> None:
    deep = tmp_path / "a.png"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(deep)
    files = [("x/1.png", deep.read_bytes()), ("x/1.cls", b"0")]
    bad = [("x/2.png", b"no image"), ("x/2.cls", b"10")]
    path = archive(tmp_path / "some.tar", [*files, *bad])
    images = open_dataset(f"wds:{path}")
    assert (str(images.kind), images.classes) == ("1 channel of uint16", ("0", "10"))
    assert open_dataset(f"wds:{path}:rgb").kind.picture
    with pytest.raises(ValueError, match=r"cannot read 'some\.tar/x/2' of .*: it is not a"):
        images.picture(1)


@pytest.mark.parametrize(
    "files",
    [
        [("1.jpg", b"x")],
        [("1.jpg", b"x"), ("1.cls", b"ant")],
        [("1.jpg", b"x"), ("1.cls", b"1"), ("2.jpg", b"x")],
        [("1.jpg", b"x"), ("1.cls", b"1"), ("2.cls", b"1")],
        [("1.jpg", b"x"), ("1.cls", b"1"), ("1.jpg", b"y")],
        [("readme.txt", b"")],
        [],
        None,
    ],
)
def test_other_archives_are_refused(tmp_path: Path, files: list[tuple[str, bytes]] | None) -> None:
    path = tmp_path / "some.tar"
    if files is None:
        path.write_bytes(b"no archive" * 100)
    else:
        archive(path, files)
    with pytest.raises(ValueError, match=r"use samples of KEY\.jpg and KEY\.cls, a number"):
        open_dataset(f"wds:{path}")
