"""Tables of one's own: what is taken, and what is refused in one line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asvit
from asvit.reference import Target, load_reference
from asvit.reference.table import format_table, read_sheet
from proxies.counts import count

PITS = [f"pit:{dim},2|1,1,1|1,2,4" for dim in (4, 8, 12, 16, 20)]
TARGET = "# target: accuracy | of what | scratch"
WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12).map(
    lambda text: " ".join(text.split())
)
TARGETS = st.builds(
    Target,
    st.from_regex("[a-z][a-z0-9_]{0,9}", fullmatch=True),
    WORDS.filter(lambda text: "|" not in text),
    st.sampled_from(["scratch", "distilled", "inherited", "unknown"]),
    st.one_of(st.none(), st.integers(-100, 100).map(lambda n: n / 100)),
)
ACCURACIES = [50.5, 61.25, 60, 63, 71.0]


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(tmp_path, header="architecture,accuracy", change=None, above=()):
    """A file of five small networks; ``change`` is line of the file -> what stands there."""
    rows = [f'"{text}",{value}' for text, value in zip(PITS, ACCURACIES, strict=True)]
    lines = [*above, header, *rows]
    for line, text in (change or {}).items():
        lines[line - 1 : line] = [text]
    return write(tmp_path / "own.csv", lines)


def refusal(path):
    with pytest.raises(ValueError, match=path.name) as error:
        load_reference(path)
    message = str(error.value)
    assert "\n" not in message
    return message


@given(
    st.lists(TARGETS, max_size=3, unique_by=lambda target: target.name),
    st.lists(st.tuples(WORDS, st.integers(), WORDS), min_size=1, max_size=4),
)
def test_what_is_written_is_read_back(tmp_path_factory, declared, rows):
    path = tmp_path_factory.mktemp("schema") / "table.csv"
    texts, numbers, words = zip(*rows, strict=True)
    columns = {
        **{target.name: numbers for target in declared},
        "architecture": [f"a{text}" for text in texts],
        "number": numbers,
        'a "b", c': words,
    }
    path.write_text(format_table({"title": "any"}, declared, columns), encoding="utf-8")
    sheet = read_sheet(path)
    assert ([*sheet.targets.values()], sheet.provenance) == (declared, {"title": "any"})
    assert sheet.columns == {name: [*map(str, cells)] for name, cells in columns.items()}
    above = 2 + len(declared) + sum(t.noise_ceiling is not None for t in declared)
    assert list(sheet.lines) == [above + 1 + place for place in range(len(rows))]


def test_a_table_of_one_s_own(tmp_path):
    path = table(tmp_path)
    own = load_reference(path)
    assert (own.name, own.path, len(own)) == ("own", path, 5)
    assert own.architectures == tuple(PITS)
    assert own.accuracies == {"accuracy": tuple(ACCURACIES)}
    assert own.target().training == "unknown"
    assert (own.num_classes, set(own.image_sizes)) == (1000, {224})
    assert own.params == tuple(asvit.cost(text).params for text in PITS)
    assert own.macs is None
    assert load_reference(str(path)) == own


def test_what_stands_above_the_header(tmp_path):
    above = [
        "# title: five of them",
        "# num_classes: 10",
        "# image_size: 32",
        "# recipe: short",
        "# recipe: and plain",
        "# a remark: of any kind",
        "",
        "# target: accuracy | digits, no teacher | scratch",
        "# noise_ceiling: accuracy | 0.875",
    ]
    own = load_reference(table(tmp_path, above=above))
    assert own.provenance["title"] == "five of them"
    assert own.provenance["recipe"] == "short and plain"
    assert own.provenance["notes"] == "a remark: of any kind"
    assert own.num_classes == 10
    assert set(own.image_sizes) == {32}
    assert own.target().description == "digits, no teacher"
    assert own.target().training == "scratch"
    assert own.target().noise_ceiling == 0.875
    assert own.params[0] == count(own.build(0), 32).params


def test_every_way_to_name_a_network(tmp_path):
    lines = [
        "architecture,note,image_size,top1",
        'test_vit,"no prefix, and a comma",64,40',
        "timm:resnet18,,64,70",
        "pit: 8 ,2.0|1,x,32,",  # replaced below
        '"8,2,3,1|4,1,2,1|4,1,4,1|4,1,6,1|32,32",,64,50.0',
        '" autoformer:48|3,4|3.50,4",,32,60',
        "timm:vit_tiny_patch16_224.augreg_in21k,,32,",
        "test_vit2,,64,NaN",
        "test_vit3,,64,41",
    ]
    lines[3] = '"pit: 8 ,2.0|1,1,1|1,2,4",,32,30'
    own = load_reference(write(tmp_path / "mixed.csv", lines))
    assert own.architectures == (
        "timm:test_vit",
        "timm:resnet18",
        "pit:8,2|1,1,1|1,2,4",
        "8,2,3|4,1,2|4,1,4|4,1,6|32",
        "autoformer:48|3,4|3.5,4",
        "timm:vit_tiny_patch16_224.augreg_in21k",
        "timm:test_vit2",
        "timm:test_vit3",
    )
    assert own.image_sizes == (64, 64, 32, 64, 32, 32, 64, 64)
    assert [math.isnan(value) for value in own.accuracies["top1"]].count(True) == 2
    assert own.params[0] == count(asvit.build("timm:test_vit", 64), 64).params


def test_counts_are_checked_where_exact_and_used_where_not_given(tmp_path):
    exact = [asvit.cost(text).params for text in PITS]

    def with_params(column, values):
        rows = [f'"{t}",{v},{n}' for t, v, n in zip(PITS, ACCURACIES, values, strict=True)]
        header = f"architecture,accuracy,{column}"
        return write(tmp_path / "own.csv", [header, *rows])

    assert load_reference(with_params("params", exact)).params == tuple(exact)
    message = refusal(with_params("params", [*exact[:3], exact[3] + 1, exact[4]]))
    assert (
        f"params of {PITS[3]} is {exact[3] + 1}, but the network with 1000 classes has" in message
    )
    assert "'# num_classes: N'" in message
    assert "line 2: params '0.1' is no whole number" in refusal(with_params("params", [0.1] * 5))
    sides = refusal(with_params("image_size", [32, 32, "x", 32, 32]))
    assert "line 4: image_size 'x' is no whole number above 0; write pixels, as 224" in sides
    assert load_reference(with_params("params_M", [9, *exact[1:]])).params == tuple(exact)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (3, '"pit:8,2|1,1|1,2,4",61', "line 3: number of values of depth=2 is not allowed"),
        (3, "resnet81,61", "line 3: timm has no model 'resnet81'; did you mean 'timm:resn"),
        (3, ",61", "line 3: no architecture; write a text that asvit.build takes"),
        (3, '"4,8,2|2,4,2|2,2,2|2,1,2|48",61', "line 3: stage 4 heads=48 is not allowed"),
        (6, '"pit:4,2|1,1,1|1,2,4",61', "line 6: architecture pit:4,2|1,1,1|1,2,4 is that of"),
        (4, '"pit:5,2|1,1,1|1,2,4",good', "line 4: accuracy 'good' is no accuracy; write a numb"),
        *(
            (4, f'"pit:5,2|1,1,1|1,2,4",{wrong}', f"line 4: accuracy '{wrong}' is no accuracy")
            for wrong in ("61%", "101", "-1", "inf", "6_1")
        ),
        (4, "pit:5,2|1,1,1|1,2,4,61", "line 4: 7 cells under a header of 2; quote cells that h"),
        (4, '"pit:5,2|1,1,1|1,2,4,61', "no CSV: "),
        (1, "name,accuracy", "has no column 'architecture', only name, accuracy; docs/reference"),
        (1, "architecture,architecture", "line 1: column 'architecture' is there twice; rename"),
        (1, "architecture,notes", "has no column of accuracies, only architecture, notes; call"),
        (0, "# target: accuracy | no kind", "line 1: target 'accuracy | no kind' is wrong; write"),
        (
            0,
            "# target: accuracy | what | guessed",
            "line 1: target 'accuracy | what | guessed' is",
        ),
        (0, "# target: accurac | what | scratch", "no column 'accurac', which it names as a"),
        (0, "# default_target: accurac", "as its default target; did you mean 'accuracy'"),
        (0, "# num_classes: many", "num_classes 'many' is no whole number; write '# num_classes"),
        (0, "# image_size: 8", "pit:4,2|1,1,1|1,2,4 cannot be built for 8 px: pit:4,2"),
        (
            0,
            "# noise_ceiling: accuracy | 0.9",
            "line 1: noise_ceiling 'accuracy | 0.9' is wrong; below the target",
        ),
        *(
            (
                0,
                f"{TARGET}\n# noise_ceiling: accuracy | {tau}",
                "line 2: noise_ceiling 'accuracy | ",
            )
            for tau in ("high", "90")
        ),
    ],
)
def test_what_is_refused(tmp_path, line, text, message):
    own = table(tmp_path, change={line: text}) if line else table(tmp_path, above=[text])
    assert message in refusal(own)


def read(tmp_path, above="", **columns):
    rows = zip(PITS, *columns.values(), strict=True)
    lines = [",".join(["architecture", *columns])]
    lines += [",".join([f'"{text}"', *map(str, values)]) for text, *values in rows]
    return load_reference(
        write(tmp_path / "own.csv", [*[above] * bool(above), *lines]), check=False
    )


GOOD = [50, 60, 55, 70, 65]


def test_columns_named_as_accuracies_are_targets_the_first_by_default(tmp_path):
    names = ["idx", "cifar", "acc_std", "Top1", "c100_kd_acc", "acc_seed0", "epochs"]
    others = ["top1_err", "error_top_5", "acc_loss", "acc_Rank", "top1_drop", "best_acc_epoch"]
    table = read(tmp_path, **dict.fromkeys([*others, *names, "epoch_acc"], GOOD))
    assert list(table.targets) == ["Top1", "c100_kd_acc", "epoch_acc"]
    assert (table.default_target, table.target().training) == ("Top1", "unknown")
    with pytest.raises(ValueError, match="has no column of accuracies, only architecture, cifar"):
        read(tmp_path, cifar=GOOD)


def test_fractions_are_refused_unless_the_file_says_that_they_are_per_cent(tmp_path):
    values = [0.5, 0, 1, 0.25, 0]
    with pytest.raises(ValueError, match="all of 'accuracy' are at most 1; write per cent"):
        read(tmp_path, accuracy=values)
    above = "# accuracies: top-1, per cent"
    assert read(tmp_path, above, accuracy=values).accuracies["accuracy"] == tuple(values)
