"""Which columns are accuracies where the file does not say."""

import pytest

from asvit.reference import load_reference
from asvit.reference.columns import as_number, training_of

NETWORKS = [f"autoformer:{width}|2|2" for width in (4, 8, 12, 16, 20, 24)]


@pytest.fixture
def read(tmp_path):
    def read_columns(above="", **columns):
        path = tmp_path / "own.csv"
        rows = zip(NETWORKS, *columns.values(), strict=False)
        lines = [",".join(["architecture", *columns]), *(",".join(map(str, row)) for row in rows)]
        path.write_text(above + "\n".join(lines), encoding="utf-8")
        return load_reference(path, check=False)

    return read_columns


GOOD = [50, 60, 55, 70, 65, 62]


def test_numbers_from_0_to_100_are_accuracies(read):
    table = read(
        idx=range(6),
        cifar=GOOD,
        latency_us=[x * 1000 for x in GOOD],
        acc_std=GOOD,
        words=["a"] * 6,
        params_M=GOOD,
        gmacs=GOOD,
        epochs=GOOD,
    )
    assert list(table.targets) == ["cifar"]


def test_zero_is_an_accuracy(read):
    assert read(cifar=[0, 0, 0, 0, 0, 1]).accuracies["cifar"][5] == 100


def test_a_few_wrong_cells_are_no_excuse(read):
    with pytest.raises(ValueError, match="line 3: cifar 'x' is no accuracy"):
        read(cifar=[50, "x", 55, 70, 65, 62])
    with pytest.raises(ValueError, match="line 7: cifar '620' is no accuracy"):
        read(cifar=[50, 60, 55, 70, 65, 620])


def test_a_column_called_like_an_accuracy_must_be_one(read):
    with pytest.raises(ValueError, match="line 2: val_acc 'good' is no accuracy"):
        read(val_acc=["good"] * 6, cifar=GOOD)


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (["cifar", "flowers"], "cifar"),
        (["cifar", "accuracy"], "accuracy"),
        (["cifar", "top1", "acc"], "top1"),
        (["c100_kd_acc", "c100_acc"], "c100_acc"),
        (["imagenet_super_acc", "kd_acc"], "imagenet_super_acc"),
        (["Top1_distilled", "Accuracy"], "Accuracy"),
    ],
)
def test_the_default_is_the_likeliest(read, names, default):
    assert read(**dict.fromkeys(names, GOOD)).default_target == default


def test_the_file_may_name_another_default(read):
    assert read("# default_target: b\n", a=GOOD, b=GOOD).default_target == "b"


def test_named_targets_are_the_only_ones(read):
    table = read("# target: b | of what | inherited\n", accuracy=GOOD, b=GOOD)
    assert list(table.targets) == ["b"]
    assert table.target().training == "inherited"


def test_a_column_in_which_most_is_missing(read):
    message = r"own\.csv has 2 row\(s\) with a value of 'late_acc'"
    with pytest.raises(ValueError, match=message):
        read(accuracy=GOOD, late_acc=[50, 60, "", "", "", "-"])


@pytest.mark.parametrize("values", [[0.5, 0.6, 0, 1, 0.25, ""], [0, 0, 0, 0, 0.01, 0]])
def test_fractions(read, values):
    read_back = read(accuracy=values).accuracies["accuracy"]
    assert read_back[:5] == pytest.approx([100 * value for value in values[:5]])


def test_one_value_above_1_makes_them_per_cent(read):
    assert read(accuracy=[0.5, 0.6, 0, 1, 0.25, 1.5]).accuracies["accuracy"][0] == 0.5


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("c100_base_acc", "scratch"),
        ("flower_kd_acc", "distilled"),
        ("imagenet_super_acc", "inherited"),
        ("top1", "unknown"),
        ("superb", "unknown"),
    ],
)
def test_names_tell_how_accuracies_came_about(name, training):
    assert training_of(name) == training


def test_numbers():
    assert [as_number(text) for text in ("1", "1.5", "-2e3", "x", "1_0")] == [
        *(1.0, 1.5, -2000.0, None, None)
    ]
    assert all(as_number(text) != as_number(text) for text in ("", "NaN", "n/a", "-"))
