"""What the columns of a table mean: architectures as published, and accuracies."""

import pytest

from asvit.reference import load_reference
from asvit.reference.loading import as_number, training_of

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


PIT = """\
# Facts from somewhere (LICENSE: any), commit 0
idx,base_dim,mlp_ratio,depth,num_heads,params_M,gmacs,c100_base_acc,c100_kd_acc
0,16,6,2 8 4,2 4 4,0.8938,0.2676,68.33,72.5
1,4,4,1 1 1,2 4 4,0.1,0.1,74.4,77.84
2,4,2,1 1 2,2 2 2,0.1,0.1,62.71,64.78999999999999
3,4,4,2 1 1,2 4 4,0.1,0.1,67.31,68.32
4,4,8,1 2 1,2 4 4,0.1,0.1,68.03999999999999,70.47
"""
AUTOFORMER = """\
idx,hidden_dim,depth,num_heads,mlp_ratio,params_M,flower_kd_acc,flower_base_acc,imagenet_super_acc
0,48,2,4 3,3.5 4.0,0.1,66.6,53.68,74.6
1,48,1,3,3.5,0.1,66.6,53.70,74.6
2,48,3,"[3, 3, 4]","[4, 4, 3.5]",0.1,66.6,53.69,74.6
3,60,2,4 3,3.5 4.0,0.1,66.6,,74.6
4,60,2,4 3,4.0 4.0,0.1,66.6,53.68,74.6
5,60,2,4 3,3.5 3.5,0.1,66.6,53.68,74.6
"""
TIMM = """\
model,arch,tag,module,kind,img_size,top1,top5,params_M,gmacs,note,eval224_256,primary
test_vit.r160_in1k,test_vit,r160_in1k,vit,isotropic,160,40.9,67.3,0.37,0.04,,False,True
test_vit2.r160_in1k,test_vit2,r160_in1k,vit,isotropic,160,42.2,68.9,0.46,0.05,,False,True
test_vit3.r160_in1k,test_vit3,r160_in1k,vit,isotropic,160,56.9,80.7,0.93,0.09,,False,True
test_vit3.other,test_vit3,other,vit,isotropic,192,57.9,81.7,0.93,0.09,,False,False
test_efficientnet.r160_in1k,test_efficientnet,r160_in1k,eff,conv,160,47.0,71.0,0.36,0.06,note,False,True
test_resnet.r160_in1k,test_resnet,r160_in1k,resnet,conv,160,41.1,67.0,0.47,0.1,,False,True
"""


@pytest.fixture
def loaded(tmp_path):
    def read_text(text, **settings):
        path = tmp_path / "raw.csv"
        path.write_text(text, encoding="utf-8")
        return load_reference(path, **settings)

    return read_text


def test_pit(loaded):
    table = loaded(PIT)
    assert table.architectures[0] == "pit:16,6|2,8,4|2,4,4"
    assert (table.num_classes, set(table.image_sizes)) == (100, {224})
    assert table.params[0] == 893_828
    assert table.accuracies["c100_kd_acc"] == (72.5, 77.84, 64.78999999999999, 68.32, 70.47)
    assert table.default_target == "c100_base_acc"
    trained = {name: target.training for name, target in table.targets.items()}
    assert trained == {"c100_base_acc": "scratch", "c100_kd_acc": "distilled"}
    assert table.provenance["notes"].startswith("Facts from somewhere")


def test_pit_with_other_classes(loaded):
    assert loaded("# num_classes: 10\n" + PIT).params[0] == 893_828 - 90 * 65


def test_autoformer(loaded):
    table = loaded(AUTOFORMER)
    assert table.architectures[2] == "autoformer:48|3,3,4|4,4,3.5"
    assert table.num_classes == 100
    assert table.default_target == "flower_base_acc"  # distilled ones stand first
    assert {target.training for target in table.targets.values()} == {
        *("distilled", "scratch", "inherited")
    }
    deeper = AUTOFORMER.replace("3,60,2,", "3,60,3,")
    with pytest.raises(ValueError, match="line 5: depth '3' with num_heads for 2 blocks; give"):
        loaded(deeper)


def test_timm_with_the_rows_that_are_primary(loaded):
    table = loaded(TIMM)
    names = ["test_vit", "test_vit2", "test_vit3", "test_efficientnet", "test_resnet"]
    assert table.architectures == tuple(f"timm:{name}" for name in names)
    assert set(table.image_sizes) == {160}
    assert list(table.targets) == ["top1", "top5"]
    assert (table.default_target, table.num_classes) == ("top1", 1000)
    with pytest.raises(ValueError, match="line 3: primary 'perhaps' is neither True nor False"):
        loaded(TIMM.replace("0.05,,False,True", "0.05,,False,perhaps"))


def test_timm_with_weights_of_several_recipes(loaded):
    # all rows count, and one network has two accuracies
    whole = "\n".join(line.rpartition(",")[0] for line in TIMM.splitlines())
    whole = whole.replace("test_vit3.other,test_vit3,other", "test_vit3,test_vit3,other")
    table = loaded(whole, check=False)
    assert len(table) == 6
    assert table.architectures[2:4] == ("timm:test_vit3.r160_in1k", "timm:test_vit3")


def test_timm_with_only_the_model(loaded):
    rows = [line.split(",") for line in TIMM.splitlines() if not line.endswith("False")]
    text = "\n".join(f"{row[0].partition('.')[0]},{row[5]},{row[6]}" for row in rows)
    assert loaded(text, check=False).architectures[1] == "timm:test_vit2"


def test_an_architecture_column_goes_first(loaded):
    rows = PIT.splitlines()
    text = "\n".join(
        [
            "architecture," + rows[1],
            *(f"resnet{n},{row}" for n, row in zip((18, 34, 50, 101, 152), rows[2:], strict=True)),
        ]
    )
    table = loaded(text, check=False)
    assert table.architectures[0] == "timm:resnet18"
    assert table.num_classes == 1000
