"""Images in tar archives are those of a folder with the same files."""

import io
import struct
import tarfile
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import asvit
from asvit.data import FolderDataset, load_images, open_dataset, open_training_sets
from asvit.data.base import Extent
from asvit.data.copies import equal_files
from asvit.data.headers import unreadable_images
from asvit.data.kinds import ImageKind
from asvit.data.shards import ShardedDataset, shards_of
from asvit.training.images.loaders import Batching, train_loader
from tests.asvit.data.image_folders import fill

Files = Iterable[tuple[str, bytes]]


def archive(path: Path, files: Files, **how: Any) -> Path:
    with tarfile.open(path, "w", **how) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(folder: Path, *, names: bool = False) -> list[tuple[str, bytes]]:
    """A folder of classes as the files of an archive, class by class, by number or by name."""
    files = []
    for place, label in enumerate(sorted(p for p in folder.iterdir())):
        for path in sorted(label.iterdir()):
            key, text = f"{label.name}_{path.stem}", label.name if names else str(place)
            files += [(f"{key}.png", path.read_bytes()), (f"{key}.cls", text.encode())]
            files.append((f"{key}.json", b"{}"))
    return files


def shards(folder: Path, files: list[tuple[str, bytes]], count: int = 2) -> str:
    """Archives with so many parts of the files; the pattern that names them."""
    each = -(-len(files) // 3 // count) * 3
    for number in range(count):
        part = files[number * each : (number + 1) * each]
        archive(folder / f"part-{number:03d}.tar", part)
    return f"{folder}/part-{{000..{count - 1:03d}}}.tar"


def stored(images: ShardedDataset) -> list[Extent]:
    return [images.stored(index) for index in range(len(images))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures", ant=5, bee=6, cat=4)


def test_a_folder_to_validate_on_is_numbered_as_the_archives(tmp_path: Path) -> None:
    classes = tuple(map(str, range(11)))  # of which a folder has "10" before "2"
    folder = fill(tmp_path / "pictures", **dict.fromkeys(classes, 2))
    pattern = shards(tmp_path, samples(folder, names=True))
    sets = open_training_sets(f"wds:{pattern}", image_size=32, seed=0, validation=str(folder))
    other = sets.validation
    assert sets.train.classes == other.classes == classes
    named = [other.name(index).partition("/")[0] for index in range(len(other))]
    assert [classes[label] for label in other.labels] == named


@pytest.mark.parametrize("own", ["", ":grey"])
def test_images_to_validate_on_are_read_as_those_to_train_on(
    tmp_path: Path, folder: Path, own: str
) -> None:
    archives = f"wds:{shards(tmp_path, samples(folder, names=True))}"
    for data, other in ((folder, archives), (archives, folder)):
        sets = open_training_sets(
            f"{data}:grey", image_size=32, seed=0, validation=f"{other}{own}"
        )
        grey = ImageKind(1, "uint8", picture=False, reading="grey")
        assert sets.train.kind == sets.validation.kind == grey


@pytest.mark.parametrize("names", [False, True])
def test_archives_hold_the_images_of_a_folder(tmp_path: Path, folder: Path, names: bool) -> None:
    pattern = shards(tmp_path, samples(folder, names=names))
    ours, theirs = open_dataset(f"wds:{pattern}"), FolderDataset(folder)
    assert ours.classes == (theirs.classes if names else ("0", "1", "2"))
    assert ours.labels.tolist() == theirs.labels.tolist()
    assert ours.kind == theirs.kind
    for index in range(len(theirs)):
        assert np.array_equal(np.asarray(ours.picture(index)), np.asarray(theirs.picture(index)))
    assert ours.name(0) == "part-000.tar/ant_000.png"
    assert ours.name(14) == "part-001.tar/cat_003.png"
    assert ours.source == "shards part-{000..001}.tar, 15 images, 3 classes"


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_folder_also_within_an_epoch(
    tmp_path: Path, folder: Path, workers: int
) -> None:
    archives = ShardedDataset(shards(tmp_path, samples(folder), 3))
    batching = Batching(image_size=8, batch_size=4, workers=workers)
    ours, theirs = train_loader(archives, batching), train_loader(FolderDataset(folder), batching)
    for start in (0, 2):
        for loader in (ours, theirs):
            loader.set_epoch(1, start=start)
        pairs = [*zip(ours, theirs, strict=True)]
        assert len(pairs) == 3 - start
        for (images, targets), (others, expected) in pairs:
            assert torch.equal(images, others)
            assert torch.equal(targets, expected)
    ours.close()
    theirs.close()


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


def test_archives_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save("rgb.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("deep.png")
    for folder, picture in (("p0", "rgb.png"), ("p1", "deep.png")):
        (tmp_path / folder / "in").mkdir(parents=True)
        files = [("0.png", Path(picture).read_bytes()), ("0.cls", b"0")]
        archive(tmp_path / folder / "in" / "0.tar", files)
    for above in (f"{tmp_path}/", ""):
        images = ShardedDataset(f"{above}p{{0..1}}/in/0.tar")
        assert [*map(images.name, range(2))] == ["p0/in/0.tar/0.png", "p1/in/0.tar/0.png"]
        with pytest.raises(ValueError, match=r"mixes kinds of images: 'p0/in/0\.tar/0"):
            _ = images.kind
    assert ShardedDataset("p0/in/0.tar").name(0) == "0.tar/0.png"


@pytest.mark.parametrize("classes", [("2", "9", "10"), ("antelope", "bee", "crow")])
def test_classes_that_are_numbers_are_in_their_order_and_words_in_that_of_folders(
    classes: tuple[str, ...], tmp_path: Path, folder: Path
) -> None:
    png = next(folder.rglob("*.png")).read_bytes()
    files = [
        file
        for label in reversed(classes)
        for file in ((f"{label}.png", png), (f"{label}.cls", f"{label}\n".encode()))
    ]
    images = ShardedDataset(str(archive(tmp_path / "few.tar", files)))
    assert images.classes == classes
    assert images.labels.tolist() == [2, 1, 0]


def test_measures_and_trainings_take_them(tmp_path: Path, folder: Path) -> None:
    pattern = f"wds:{shards(tmp_path, samples(folder))}"
    assert load_images(pattern, count=6, image_size=32, seed=0).pixels.shape == (6, 3, 32, 32)
    sets = open_training_sets(pattern, image_size=32, seed=0, validation=pattern)
    assert (len(sets.train), len(sets.validation)) == (15, 15)
    divided = open_training_sets(pattern, image_size=32, seed=0, held_out=0.3)
    assert (len(divided.train), len(divided.validation)) == (10, 5)
    result = asvit.run_training(
        "4,2,2|4,1,2|4,1,2|4,1,2|16,8", data=pattern, validation=pattern, image_size=32,
        recipe="small", epochs=1, batch_size=5, device="cpu", out=tmp_path / "run",
    )  # fmt: skip
    assert result.network.num_classes == 3


def test_copies_are_kept_together_as_in_a_folder(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ant/000.png", "bee/001.png"):
        path = folder / name
        (path.parent / f"copy_{path.name}").write_bytes(path.read_bytes())
    (folder / "cat" / "wrong.png").write_bytes((folder / "bee" / "002.png").read_bytes())
    pattern = shards(tmp_path, samples(folder))
    archives, files = ShardedDataset(pattern), FolderDataset(folder)
    assert equal_files(stored(archives)).tolist() == equal_files(files.paths).tolist()
    calls = list[tuple[int, int]]()
    how: dict[str, Any] = {
        "image_size": 32,
        "held_out": 0.4,
        "progress": lambda *at: calls.append(at),
    }
    for seed in range(3):
        ours = open_training_sets(f"wds:{pattern}", seed=seed, **how)
        theirs = open_training_sets(str(folder), seed=seed, **how)
        for part, other in ((ours.train, theirs.train), (ours.validation, theirs.validation)):
            assert [part.name(index).rpartition("/")[2] for index in range(len(part))] == [
                other.name(index).replace("/", "_") for index in range(len(other))
            ]
    assert calls[0] == (18, 18)
    words = "2 picture(s) have copies: part-000.tar/ant_000.png = part-000.tar/ant_copy_000.png; "
    assert words in caplog.text
    assert (
        "in several classes: part-000.tar/bee_002.png = part-001.tar/cat_wrong.png" in caplog.text
    )


def test_empty_images_are_no_copies(tmp_path: Path) -> None:
    files = [(f"{key}.{end}", text) for key in "ab" for end, text in (("png", b""), ("cls", b"0"))]
    empty = ShardedDataset(str(archive(tmp_path / "empty.tar", files)))
    assert equal_files(stored(empty)).tolist() == [0, 1]


def test_images_of_other_kinds_are_read_as_from_a_folder(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(tmp_path / "a.png")
    files = [("a.png", (tmp_path / "a.png").read_bytes()), ("a.cls", b"0")]
    deep = archive(tmp_path / "deep.tar", files)
    assert str(open_dataset(f"wds:{deep}").kind) == "1 channel of uint16"
    assert open_dataset(f"wds:{deep}:rgb").kind.picture


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    files = [("x/1.jpg", b"no image"), ("x/1.cls", b"0")]
    images = ShardedDataset(str(archive(tmp_path / "bad.tar", files)))
    assert [name for name, _ in unreadable_images(images)] == ["bad.tar/x/1.jpg"]
    with pytest.raises(ValueError, match=r"cannot read image 'bad\.tar/x/1\.jpg': it is not a"):
        images.picture(0)


def test_what_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "none.tar", [("1.jpg", b"")])
    archive(tmp_path / "unlabelled.tar", [("1.jpg", b"x"), ("1.cls", b" \n")])
    archive(tmp_path / "latin.tar", [("1.jpg", b"x"), ("1.cls", "mör".encode("latin-1"))])
    archive(
        tmp_path / "heic.tar", [("1.jpg", b"x"), ("1.cls", b"0"), ("2.heic", b""), ("2.cls", b"1")]
    )
    archive(tmp_path / "empty.tar", [("readme.txt", b"")])
    for number in (0, 7, 10, 300, 2**40):
        for order in ("<q", ">q", "<i"):
            content = struct.pack(order, number % 2**31 if order == "<i" else number)
            path = archive(tmp_path / "binary.tar", [("1.jpg", b"x"), ("1.cls", content)])
            with pytest.raises(
                ValueError, match=r"has a class in '1\.cls' that is no(t UTF| text)"
            ):
                ShardedDataset(str(path))
    two = [("1.jpg", b"x"), ("1.cls", b"Ant"), ("2.jpg", b"x"), ("2.cls", b"ant")]
    archive(tmp_path / "two.tar", two)
    with tarfile.open(tmp_path / "packed.tar", "w:gz"):
        pass
    sample, other = [("a/1.jpg", b"x"), ("a/1.cls", b"0")], [("1.jpg", b"y"), ("1.cls", b"1")]
    archive(tmp_path / "twice.tar", [*sample, *other, sample[0]])  # as by tar -A or tar -r
    archive(tmp_path / "labels.tar", [*sample, *other, other[1]])
    whole = archive(tmp_path / "cut.tar", [("1.jpg", b"x" * 9000), ("1.cls", b"0")])
    whole.write_bytes(whole.read_bytes()[:4000])
    for name, message in (
        ("none.tar", r"none\.tar has '1\.jpg' without a \.cls file beside it"),
        ("unlabelled.tar", r"unlabelled\.tar has no class in '1\.cls'; write one into it"),
        ("latin.tar", r"latin\.tar has a class in '1\.cls' that is not UTF-8; write it so"),
        ("heic.tar", r"heic\.tar has '2\.cls' without an image beside it, which has the name up"),
        ("two.tar", r"two\.tar has the classes 'Ant' and 'ant', which differ in capitals"),
        ("empty.tar", r"no images in .*empty\.tar'; use samples of KEY\.jpg and KEY\.cls"),
        ("twice.tar", r"twice\.tar has key 'a/1' twice: 'a/1\.jpg' and 'a/1\.jpg'; a key needs"),
        ("labels.tar", r"labels\.tar has key '1' twice: '1\.cls' and '1\.cls'; a key needs one"),
        ("packed.tar", "is no plain tar archive, or not a whole one .*; unpack compressed ones"),
        ("cut.tar", "is no plain tar archive, or not a whole one"),
    ):
        with pytest.raises(ValueError, match=message):
            ShardedDataset(str(tmp_path / name))


def test_no_image_is_lost_without_a_word(tmp_path: Path, folder: Path) -> None:
    """tarfile takes a damaged header, or what follows the end, for the end."""
    files = samples(folder)
    content = archive(tmp_path / "whole.tar", files).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        starts = [member.offset for member in tar]
    for place in starts[1::5]:
        damaged = bytearray(content)
        damaged[place + 100] ^= 1
        for part in (damaged, content[:place], content[: place + 100]):
            (tmp_path / "part.tar").write_bytes(part)
            with pytest.raises(ValueError, match=rf"no end of the archive at byte {place}\)"):
                ShardedDataset(str(tmp_path / "part.tar"))
    joined = tmp_path / "joined.tar"
    joined.write_bytes(content + archive(tmp_path / "other.tar", [("z.png", b"")]).read_bytes())
    with pytest.raises(ValueError, match=r"\(more follows its end, as of joined archives\)"):
        ShardedDataset(str(joined))


def test_dots_within_keys_are_refused_unless_they_are_of_further_files(tmp_path: Path) -> None:
    one = [("a/1.png", b"x"), ("a/1.cls", b"0")]
    further = archive(tmp_path / "further.tar", [*one, ("a/1.mask.png", b"y"), ("a/2.5.txt", b"")])
    assert len(ShardedDataset(str(further))) == 1
    lost = archive(tmp_path / "lost.tar", [*one, ("a/b.5.PNG", b"y"), ("a/b.5.cls", b"1")])
    with pytest.raises(ValueError, match=r"has 'a/b\.5\.PNG', whose key ends at the first dot"):
        ShardedDataset(str(lost))


def test_what_systems_add_to_archives_is_passed_over(tmp_path: Path) -> None:
    one = [("./a/1.png", b"x"), ("./a/1.cls", b"0")]
    more = [
        (f"{place}{name}", b"\0\5\26\7")
        for place in ("./a/._", "__MACOSX/a/", "a/@eaDir/", ".Trash/")
        for name in ("1.png", "1.cls")
    ]
    images = ShardedDataset(str(archive(tmp_path / "mac.tar", [*more, *one, *more])))
    assert [images.name(place) for place in range(len(images))] == ["mac.tar/./a/1.png"]
    with pytest.raises(ValueError, match="no images in"):
        ShardedDataset(str(archive(tmp_path / "only.tar", more)))


def test_hard_links_are_the_files_that_they_lead_to(tmp_path: Path) -> None:
    path = archive(tmp_path / "linked.tar", [("a.png", b"picture"), ("a.cls", b"0")])
    with tarfile.open(path, "a") as tar:
        for ending in ("png", "cls"):
            link = tarfile.TarInfo(f"b.{ending}")
            link.type, link.linkname = tarfile.LNKTYPE, f"a.{ending}"
            tar.addfile(link)
    images = ShardedDataset(str(path))
    first, second = stored(images)
    assert first == second
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("c.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        tar.addfile(link)
    with pytest.raises(ValueError, match=r"has 'c\.png' as a link or a sparse file; store its"):
        ShardedDataset(str(path))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_archives_are_refused_or_read(changes: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        files = [("1.jpg", b"x"), ("1.cls", b"0")]
        path = archive(Path(name) / "some.tar", files, format=tarfile.PAX_FORMAT)
        content = bytearray(path.read_bytes())
        for place, value in changes:
            content[place] = value
        path.write_bytes(content)
        with suppress(ValueError):
            assert len(ShardedDataset(str(path))) == 1
