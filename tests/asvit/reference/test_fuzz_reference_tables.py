"""Reference tables that somebody else made: read, or refused in one line that can be shown."""

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.reference.loading import load_reference, read_reference
from asvit.reference.schema import read_sheet
from asvit.reference.table import ReferenceTable
from tests.hostile import FIXED, changed_bytes, refused_or, texts

MANY = settings(
    FIXED, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEEDS = [f"4,2,2|2,1,2|2,1,{i % 4 + 2}|2,1,{i % 3 + 2}|16" for i in range(6)]
#: Nothing that belongs into a table: it obeys a terminal, or is longer than anybody wants to see.
ESCAPES = "\x1b]0;x\x07\x9b2J\u202e"
UNWANTED = {*map(chr, (*range(32), *range(127, 160), *range(0x2028, 0x202F)))}
NASTY = (ESCAPES, "\x00", "x" * 5_000, "\r", "\u2028", '"', "nan", "1e999", "-1", "9" * 5_000, "٣")


def right() -> str:
    """A table with everything that one may hold."""
    above = [
        "# title: six networks",
        "# num_classes: 10",
        "# image_size: 32",
        "# default_target: top1",
        "# target: top1 | of the last step | scratch",
        "# target: kd | with a teacher | distilled",
        "# noise_ceiling: top1 | 0.9",
    ]
    rows = [f'"{text}",32,{50 + i},{60 - i}' for i, text in enumerate(SEEDS)]
    return "\n".join([*above, "architecture,image_size,top1,kd", *rows, ""])


PIT = "base_dim,mlp_ratio,depth,num_heads,acc\n" + "".join(
    f'{16 * i},4,"[2, 6, 4]","[2, 4, 8]",{70 + i}\n' for i in range(1, 7)
)
FORMER = "hidden_dim,mlp_ratio,depth,num_heads,acc\n" + "".join(
    f'{192 + 12 * i},"3.5 4",2,"3 4",{70 + i}\n' for i in range(6)
)
TIMM = "arch,model,primary,top1,params_M\n" + "".join(
    f"{name},{name}.a,True,{80 + i},1.5\n"
    for i, name in enumerate(("resnet18", "resnet34", "resnet50", "vit_tiny_patch16_224", "pit_b"))
)
ALL = (right(), PIT, FORMER, TIMM)


def read(path: Path, content: str | bytes, *, check: bool = False) -> ReferenceTable:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    return read_reference(path, name="mine", shipped=False, check=check)


def checked(table: ReferenceTable | None) -> None:
    """What is taken in can be shown and computed with."""
    if table is None:
        return
    said = [
        *(table.architectures, table.targets, table.provenance.values()),
        (one.description for one in table.targets.values()),
    ]
    for words in said:
        assert not any(map(UNWANTED.intersection, words))
    assert table.default_target in table.targets
    for column in table.accuracies.values():
        assert len(column) == len(table) >= 5
        assert all(value != value or 0 <= value <= 100 for value in column)
    assert all(side > 0 for side in table.image_sizes)


def test_the_right_ones_are_read(tmp_path: Path) -> None:
    table = read(tmp_path / "a.csv", right(), check=True)
    checked(table)
    assert table.default_target == "top1"
    assert len(read(tmp_path / "a.csv", PIT)) == len(read(tmp_path / "a.csv", FORMER)) == 6


@MANY
@given(texts(*ALL))
def test_any_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    checked(refused_or(lambda: read(path, text)))


@MANY
@given(st.sampled_from(ALL).flatmap(lambda text: changed_bytes(text.encode())))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.csv"
    checked(refused_or(lambda: read(path, data)))


@pytest.mark.parametrize("odd", NASTY, ids=lambda text: ascii(text)[:12])
@pytest.mark.parametrize(
    "text",
    [
        "{}\n1\n",
        "a,{}\n1,2\n",
        "architecture,{0},{0}\n1,2,3\n",
        "architecture,acc\n{},1\n",
        "architecture,acc\n" + "".join(f'"{seed}",{{}}\n' for seed in SEEDS),
        "architecture,other\n" + "".join(f'"{seed}",{{}}\n' for seed in SEEDS),
        "# target: {}\n" + right(),
        "# target: {0} | a | scratch\n# target: {0} | a | scratch\n" + right(),
        "# target: {} | a | scratch\n" + right(),
        "# target: a | {} | scratch\n" + right(),
        "# noise_ceiling: {}\n" + right(),
        "# noise_ceiling: {} | 0.5\n" + right(),
        "# default_target: {}\n" + PIT,
        "# num_classes: {}\n" + PIT,
        "# image_size: {}\n" + PIT,
        "# notes: {}\n" + PIT,
        "# {}: a\n" + PIT,
        TIMM.replace("primary", "{}"),
        PIT + '{},4,"2 6 4","2 4 8",1\n',
        PIT + '16,4,"{}","2 4 8",1\n',
        FORMER + '192,4,{},"3 4",1\n',
        TIMM + "resnet101,a,{},1,1\n",
        TIMM + "{},a,True,1,1\n",
        right().replace(",32,", ",{},"),
        right().replace(",top1", ",params").replace(",50,", ",{},"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_odd_words_everywhere(tmp_path: Path, text: str, odd: str) -> None:
    checked(
        refused_or(lambda: read(tmp_path / "a.csv", text.replace("{}", odd).replace("{0}", odd)))
    )


def test_what_a_warning_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = (
        right()
        .replace(",kd", ",params_M")
        .replace("# target: kd | with a teacher | distilled\n", "")
    )
    with caplog.at_level(logging.WARNING):
        read(tmp_path / "a.csv", table, check=True)
    assert "params_M is 60" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


@pytest.mark.parametrize("size", ["9" * 400, "1e308", "1" + "0" * 19])
def test_images_of_absurd_sides_are_refused(tmp_path: Path, size: str) -> None:
    text = right().replace(",32,", f",{size},").replace("# image_size: 32\n", "")
    assert refused_or(lambda: read(tmp_path / "a.csv", text, check=True)) is None


def test_names_of_tables_can_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\n<b>.csv"
    path.write_text(right())
    assert load_reference(path).name.isprintable()


def test_a_huge_table_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(2**33)  # takes no room on the disk
    assert refused_or(lambda: read_sheet(path)) is None


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/proc/self/mem"])
def test_what_is_no_file_is_no_table(name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"needs {name}")
    assert refused_or(lambda: load_reference(name)) is None
