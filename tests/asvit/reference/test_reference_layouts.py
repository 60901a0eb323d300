"""Tables in the columns in which benchmarks publish them."""

import pytest

from asvit.reference import load_reference

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
def read(tmp_path):
    def read_text(text, **settings):
        path = tmp_path / "raw.csv"
        path.write_text(text, encoding="utf-8")
        return load_reference(path, **settings)

    return read_text


def test_pit(read):
    table = read(PIT)
    assert table.architectures[0] == "pit:16,6|2,8,4|2,4,4"
    assert (table.num_classes, set(table.image_sizes)) == (100, {224})
    assert table.params[0] == 893_828
    assert table.accuracies["c100_kd_acc"] == (72.5, 77.84, 64.78999999999999, 68.32, 70.47)
    assert table.default_target == "c100_base_acc"
    trained = {name: target.training for name, target in table.targets.items()}
    assert trained == {"c100_base_acc": "scratch", "c100_kd_acc": "distilled"}
    assert table.provenance["notes"].startswith("Facts from somewhere")


def test_pit_with_other_classes(read):
    assert read("# num_classes: 10\n" + PIT).params[0] == 893_828 - 90 * 65


def test_autoformer(read):
    table = read(AUTOFORMER)
    assert table.architectures[2] == "autoformer:48|3,3,4|4,4,3.5"
    assert table.num_classes == 100
    assert table.default_target == "flower_base_acc"  # distilled ones stand first
    assert {target.training for target in table.targets.values()} == {
        *("distilled", "scratch", "inherited")
    }
    deeper = AUTOFORMER.replace("3,60,2,", "3,60,3,")
    with pytest.raises(ValueError, match="line 5: depth '3' with num_heads for 2 blocks; give"):
        read(deeper)


def test_timm_with_the_rows_that_are_primary(read):
    table = read(TIMM)
    names = ["test_vit", "test_vit2", "test_vit3", "test_efficientnet", "test_resnet"]
    assert table.architectures == tuple(f"timm:{name}" for name in names)
    assert set(table.image_sizes) == {160}
    assert list(table.targets) == ["top1", "top5"]
    assert (table.default_target, table.num_classes) == ("top1", 1000)
    with pytest.raises(ValueError, match="line 3: primary 'perhaps' is neither True nor False"):
        read(TIMM.replace("0.05,,False,True", "0.05,,False,perhaps"))


def test_timm_with_weights_of_several_recipes(read):
    # all rows count, and one network has two accuracies
    whole = "\n".join(line.rpartition(",")[0] for line in TIMM.splitlines())
    whole = whole.replace("test_vit3.other,test_vit3,other", "test_vit3,test_vit3,other")
    table = read(whole, check=False)
    assert len(table) == 6
    assert table.architectures[2:4] == ("timm:test_vit3.r160_in1k", "timm:test_vit3")


def test_timm_with_only_the_model(read):
    rows = [line.split(",") for line in TIMM.splitlines() if not line.endswith("False")]
    text = "\n".join(f"{row[0].partition('.')[0]},{row[5]},{row[6]}" for row in rows)
    assert read(text, check=False).architectures[1] == "timm:test_vit2"


def test_an_architecture_column_goes_first(read):
    rows = PIT.splitlines()
    text = "\n".join(
        [
            "architecture," + rows[1],
            *(f"resnet{n},{row}" for n, row in zip((18, 34, 50, 101, 152), rows[2:], strict=True)),
        ]
    )
    table = read(text, check=False)
    assert table.architectures[0] == "timm:resnet18"
    assert table.num_classes == 1000
