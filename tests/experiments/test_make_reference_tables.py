"""The script that makes the tables that come with asvit."""

import pytest

import asvit
from asvit.reference import load_reference
from asvit.spaces.architectures import build_on_meta
from experiments.make_reference_tables import SOURCES, make
from proxies.counts import count

PIT = SOURCES[0]


def extract(folder, *, change=0.0):
    """Five small networks in the columns of the published extract."""
    accuracies = [target.name for target in PIT.targets]
    lines = [
        "# Facts from somewhere",
        ",".join(["idx,base_dim,mlp_ratio,depth,num_heads,params_M,gmacs", *accuracies]),
    ]
    for number in range(5):
        network = build_on_meta(f"pit:4,{number + 1}|1,1,1|1,2,2", image_size=224, num_classes=100)
        cost = count(network, 224)
        params = f"{cost.params / 1e6 + change * (number == 2):.4f}"
        values = [f"{50 + number / 7 + 1e-9:.14f}"] * len(accuracies)
        row = [f"{number},4,{number + 1},1 1 1,1 2 2,{params},{cost.macs / 1e9:.4f}", *values]
        lines.append(",".join(row))
    (folder / PIT.extract).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_table_is_made_of_an_extract(tmp_path, capsys):
    extract(tmp_path)
    text = make(PIT, tmp_path)
    assert "5 rows" in capsys.readouterr().out
    assert text == make(PIT, tmp_path)
    (tmp_path / "made.csv").write_text(text, encoding="utf-8")
    made = load_reference(tmp_path / "made.csv")
    assert made.architectures[2] == "pit:4,3|1,1,1|1,2,2"
    assert made.params[2] == count(asvit.build(made.architectures[2], 224, 100)).params
    assert made.accuracies["c100_kd_acc"][1] == 50.1429  # rounded
    assert list(made.targets.values()) == list(PIT.targets)
    assert made.provenance["licence"].startswith("Apache-2.0")


def test_counts_that_differ_from_the_extract_s_are_refused(tmp_path):
    extract(tmp_path, change=2e-4)
    with pytest.raises(ValueError, match=r"line 5: \d+ parameters, the extract has 0\.\d+ M"):
        make(PIT, tmp_path)


def test_the_tables_that_come_with_asvit_say_what_the_script_says():
    for source in SOURCES:
        name = source.table.removesuffix(".csv").replace("_", "-")
        table = load_reference(name)
        assert table.provenance == source.provenance
        assert tuple(table.targets.values()) == source.targets
