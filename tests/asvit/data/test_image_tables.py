"""Tables of images, also hostile ones."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from image_folders import fill, write_image

from asvit.data import open_dataset, open_training_sets
from asvit.data.base import file_digest
from asvit.data.tables import open_table
from asvit.data.training_sets import open_test_part
from tests.hostile import FIXED, refused_or, texts


def table_of(table: Path, root: str, *names: str) -> Path:
    """A table of files below a folder, with their digests; the class is that of the folder."""
    folder = (table.parent / root).resolve()
    rows = [f"{name},{name.split('/')[0]},train,{file_digest(folder / name)}" for name in names]
    first = f"# images in {root.replace(' ', '%20')}"
    table.parent.mkdir(exist_ok=True)
    table.write_text("\n".join([first, "image,class,part,sha256", *rows, ""]))
    return table


def test_a_list_names_its_images_and_holds_them_to_their_content(tmp_path: Path) -> None:
    images = fill(tmp_path / "my images", a=2, b=2)
    table = table_of(tmp_path / "run" / "list.csv", "../my images", "a/000.png", "b/000.png")
    dataset = open_table(table)
    assert [dataset.name(0), dataset.files[1]] == [
        "a/000.png",
        table.parent / "../my images/b/000.png",
    ]
    assert dataset.source == "run/list.csv, 2 images, 2 classes, part train"
    assert dataset.picture(0).size == (8, 8)
    before = open_training_sets(str(table), validation=str(images), image_size=8, seed=0)
    dataset.files[0].write_bytes(dataset.files[0].read_bytes() + b"xy")
    with pytest.raises(ValueError, match=r"000\.png' has changed since it was listed"):
        dataset.picture(0)
    table_of(table, "../my images", "a/000.png", "b/000.png")
    after = open_training_sets(str(table), validation=str(images), image_size=8, seed=0)
    assert before.provenance["digest"] != after.provenance["digest"]


@pytest.mark.parametrize("end", ["\n", "\r\n", ",,\r\n"])
def test_a_list_that_an_editor_or_a_spreadsheet_saved_names_its_folder(
    tmp_path: Path, end: str
) -> None:
    images, table = tmp_path / "my, images", tmp_path / "run" / "list.csv"
    write_image(images / "x" / "1.png")
    table.parent.mkdir()
    first = "# images in ../my%2C%20images"
    table.write_bytes(f"{first}{end}image,class,part\nx/1.png,x,train\n".encode())
    assert open_table(table).picture(0).size == (12, 9)


@pytest.mark.parametrize("columns", ["", "bytes", "bytes,sha256"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])  # which Excel begins files with
def test_a_list_needs_no_digests(tmp_path: Path, columns: str, mark: str) -> None:
    """Its columns are in any order; its ending and digests may have capitals, it may be a link."""
    path, table = write_image(tmp_path / "x" / "1.png"), tmp_path / "t.CSV"
    facts = {"bytes": path.stat().st_size, "sha256": file_digest(path).upper()}
    more = [name for name in columns.split(",") if name]
    header = ",".join(["part", *more, "image", "class"])
    row = ",".join(["train", *(str(facts[name]) for name in more), "x/1.png", "x"])
    (tmp_path / "stored").write_text(f"{mark}{header}\n{row}\n\n", encoding="utf-8")
    table.symlink_to(tmp_path / "stored")
    listed = open_dataset(str(table))
    assert (listed.name(0), listed.classes, listed.picture(0).size) == ("x/1.png", ("x",), (12, 9))
    write_image(path, (200, 0, 0)).write_bytes(path.read_bytes() + bytes(99))
    if "sha256" in columns:
        with pytest.raises(ValueError, match="has changed since it was listed"):
            listed.picture(0)


def test_the_test_part_of_a_table_is_not_validated_on(tmp_path: Path) -> None:
    fill(tmp_path, x=10, y=10)
    rows = [
        f"{label}/{number:03d}.png,{label},{'test' if number > 7 else 'train'}"
        for label in "xy"
        for number in range(10)
    ]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["image,class,part", *rows]))
    sets = open_training_sets(str(table), image_size=8, seed=0)
    tested = open_test_part(str(table))
    names = [{part.name(at) for at in range(len(part))} for part in (sets.train, sets.validation)]
    assert [len(part) for part in (*names, tested)] == [14, 2, 4]
    assert not (names[0] | names[1]) & {tested.name(at) for at in range(4)}


def test_a_table_of_other_columns_is_told_which_it_needs(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    for header in ("image,class", "image,class,part,part", ""):
        table.write_text(f"{header}\n")
        with pytest.raises(ValueError, match="; use image, class, part, and optionally sha256"):
            open_table(table)


def test_rows_of_no_class_or_of_another_part_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    for row, message in (
        ("a.png,,train", r"t\.csv is not a table of images: 'a\.png' has no class; name it, or"),
        ("a.png,a,val", r"'a\.png' has part 'val'; use train, validation, test$"),
        ("a.png,a,", "has part ''; use train, validation, test$"),
    ):
        table.write_text(f"image,class,part\nb.png,b,train\n{row}\n")
        with pytest.raises(ValueError, match=message):
            open_table(table)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        *(("Ant", "ant", True), ("ant", "ant ", True), ("hot dog", "hot  dog", True)),
        *(("0", "0.0", True), ("00", "0", True), ("7", "7.0", True), ("007", "7", True)),
        *(("STRASSE", "straße", True), ("a", "A", False), ("1.1", "1.10", False)),
        *(("1", "10", False), ("0", "o", False), ("-1", "1", False), ("ant", "aunt", False)),
    ],
)
@pytest.mark.parametrize("part", ["train", "validation"])
def test_classes_that_differ_in_form_alone_are_refused(
    tmp_path: Path, one: str, other: str, alike: bool, part: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"image,class,part\na.png,{one},train\nb.png,{other},{part}\n", "utf-8")
    expected = pytest.raises(
        ValueError, match=r"t\.csv is not .*: it has the classes .* alone; wr"
    )
    with expected if alike else nullcontext():
        assert set(open_table(table).classes) == {one, other}


_LIST = "image,class,part,sha256\n"


@settings(FIXED, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts(f"{_LIST}a.png,a,train,ff\nb.png,b,train,ff\n", "a.png,a,train,ff\n"))
def test_any_list(text: str, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    for above in ("", "# images in a%00\n", _LIST):
        table.write_bytes((above + text).encode("utf-8", "surrogatepass"))
        refused_or(lambda: open_table(table))
