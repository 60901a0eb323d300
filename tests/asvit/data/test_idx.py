"""IDX files: the layout of MNIST's family."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from asvit.data.idx import idx_parts
from asvit.data.sources import load_images, open_dataset, open_whole
from asvit.data.tables import open_table
from asvit.data.training_sets import open_test_part, open_training_sets

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.astype(np.uint8).tobytes()


def write_idx(
    folder: Path, parts: dict[str, int], *, dash: str = "-", packed: bool = True, side: int = 12
) -> Path:
    """Images of class 3 are dark, those of class 7 bright."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in parts.items():
        labels = np.where(np.arange(count) % 2, 7, 3)
        pixels = rng.integers(0, 100, (count, side, side)) + 100 * (labels[:, None, None] == 7)
        for name, values in ((IMAGES, pixels), (LABELS, labels)):
            path = folder / f"{part}{dash}{name.replace('-idx', dash + 'idx')}"
            if packed:
                Path(f"{path}.gz").write_bytes(gzip.compress(idx(values)))
            else:
                path.write_bytes(idx(values))
    return folder


@pytest.mark.parametrize(
    ("train", "test", "dash", "packed"),
    [
        ("train", "t10k", "-", True),
        ("train", "t10k", ".", False),  # as mirrors unpack it
        ("emnist-letters-train", "emnist-letters-test", "-", True),
    ],
)
def test_names_of_the_family(
    tmp_path: Path, train: str, test: str, dash: str, packed: bool
) -> None:
    folder = write_idx(tmp_path / "set", {train: 20, test: 6}, dash=dash, packed=packed)
    sets = open_training_sets(str(folder), image_size=12, seed=0)
    assert (len(sets.train), len(sets.validation), sets.classes) == (20, 6, ("3", "7"))
    assert str(sets.kind) == "8-bit grey"
    pixels = np.asarray(sets.train.picture(1))
    assert (pixels.shape, pixels.min() >= 100) == ((12, 12, 1), True)
    assert len(open_dataset(str(folder))) == 20
    assert len(open_test_part(str(folder))) == 6
    assert load_images(str(folder), count=4, image_size=12, seed=0).pixels.shape == (4, 1, 12, 12)
    whole = open_whole(str(folder))
    assert whole.parts is not None
    assert whole.parts.tolist() == ["train"] * 20 + ["test"] * 6
    assert [whole.name(at) for at in (0, 25)] == [f"{train}/00000", f"{test}/00005"]


def test_the_same_as_pictures(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "set", {"train": 8})
    as_pictures, grey = open_dataset(f"{folder}:rgb"), open_dataset(str(folder))
    assert as_pictures.kind.picture
    assert (np.asarray(as_pictures.picture(5)) == grey.picture(5)).all()
    assert open_whole(str(folder)).parts is None  # a part is held out of it
    assert len(open_training_sets(str(folder), image_size=12, seed=0).validation) == 2


def test_a_table_lists_their_images(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "set", {"train": 8, "t10k": 4})
    whole, table = open_whole(str(folder)), tmp_path / "run" / "images.csv"
    table.parent.mkdir()
    rows = [
        f"{whole.name(at)},{whole.classes[whole.labels[at]]},{part},{whole.digest(at)}"
        for part, places in (("train", (5, 0, 2, 1)), ("test", (8, 11)))
        for at in places
    ]
    head = ["# images in ../set", "image,class,part,sha256"]
    table.write_text("\n".join([*head, *rows]))
    listed = open_table(table)
    assert [listed.name(at) for at in range(4)] == [f"train/0000{at}" for at in (5, 0, 2, 1)]
    assert (np.asarray(listed.picture(0)) == whole.picture(5)).all()
    assert listed.labels.tolist() == [1, 0, 0, 1]
    write_idx(folder, {"train": 4, "t10k": 4})
    with pytest.raises(ValueError, match=r"set' has no image 'train/00005' of "):
        open_table(table)
    write_idx(folder, {"train": 8, "t10k": 4}, side=9)
    with pytest.raises(ValueError, match="image 'train/00005' has changed since it was listed"):
        open_table(table).picture(0)


def damaged(folder: Path, case: str) -> None:
    images, labels = folder / f"train-{IMAGES}.gz", folder / f"train-{LABELS}.gz"
    content = gzip.decompress(images.read_bytes())
    if case == "no labels":
        labels.unlink()
    elif case == "no gzip":
        images.write_bytes(content)
    elif case == "cut":
        images.write_bytes(images.read_bytes()[:-20])
    elif case == "short":
        images.write_bytes(gzip.compress(content[:-1]))
    elif case == "long":
        images.write_bytes(gzip.compress(content + b"1"))
    elif case == "kind":
        images.write_bytes(gzip.compress(b"\0\0\x0d" + content[3:]))
    elif case == "labels":
        labels.write_bytes(gzip.compress(idx(np.zeros(3))))
    elif case == "two sets":
        write_idx(folder, {"letters-train": 4})
    elif case == "no part":
        write_idx(folder, {"extra": 4})
    elif case == "no train":
        images.unlink()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no labels", "has no labels beside it; put train-labels-idx1-ubyte.gz there"),
        ("no gzip", "cannot read .*train-images.*Not a gzipped file"),
        ("cut", "cannot read .*train-images"),
        ("short", "it should have 1,152 bytes after its header"),
        ("long", "it should have 1,152 bytes after its header"),
        ("kind", "it does not begin as IDX files of bytes with 3 axes do"),
        ("labels", "has 8 images, but train-labels-idx1-ubyte.gz 3 labels"),
        ("two sets", "has several sets .* keep one in a folder"),
        ("no part", "does not say its part"),
        ("no train", "has no images to train on"),
    ],
)
def test_damaged_files_are_refused_in_a_line(tmp_path: Path, case: str, message: str) -> None:
    folder = write_idx(tmp_path / "set", {"train": 8, "t10k": 4})
    damaged(folder, case)
    with pytest.raises(ValueError, match=message) as refused:
        open_dataset(str(folder))
    assert "\n" not in str(refused.value)


def test_other_folders_have_no_parts(tmp_path: Path) -> None:
    assert idx_parts(tmp_path) == {}
    assert idx_parts(tmp_path / "none") == {}
