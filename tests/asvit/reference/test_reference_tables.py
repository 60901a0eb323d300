"""The tables that come with asvit."""

import hashlib
import statistics
import subprocess
import sys

import pytest

from asvit.reference import REFERENCES, load_reference
from asvit.search.trained import noise_ceiling
from asvit.spaces import cost
from asvit.spaces.architectures import build_on_meta, canonical, parse
from asvit.spaces.vitbench import PIT_STAGES
from asvit.statistics.ranks import kendall
from proxies import structure
from proxies.counts import count

OURS = ["vitbench101-pit", "vitbench101-autoformer", "timm-in1k"]
ROWS = {"vitbench101-pit": 100, "vitbench101-autoformer": 100, "timm-in1k": 197}
AUTOFORMER = "autoformer:192|4,4,3,4,3,3,4,4,3,3,3,4|3.5,4,3.5,4,3.5,3.5,4,3.5,4,4,4,3.5"


def block_params(dim, hidden):
    norms, attention = 4 * dim, 4 * dim**2 + 4 * dim
    return norms + attention + 2 * dim * hidden + hidden + dim


def block_macs(tokens, dim, hidden):
    return tokens * (4 * dim**2 + 2 * tokens * dim + 2 * dim * hidden)


def autoformer_by_hand(arch, side, classes):
    """Parameters and multiply-adds from the shapes."""
    patches, dim = (side // 16) ** 2, arch.width
    params = (3 * 16**2 + 1) * dim + (patches + 2) * dim  # patches; positions and class token
    macs = patches * 3 * 16**2 * dim
    for ratio in arch.mlp_ratios:
        params += block_params(dim, int(ratio * dim))
        macs += block_macs(patches + 1, dim, int(ratio * dim))
    return params + 2 * dim + (dim + 1) * classes, macs + dim * classes


def pit_by_hand(arch, side, classes):
    """Parameters and multiply-adds from the shapes."""
    grid = (side - 16) // 8 + 1
    dims = [arch.base_dim * heads for heads in arch.heads]
    params = (3 * 16**2 + 1) * dims[0] + (grid**2 + 1) * dims[0]
    macs = grid**2 * 3 * 16**2 * dims[0]
    for stage in range(PIT_STAGES):
        dim = dims[stage]
        if stage:
            grid = (grid + 1) // 2
            params += 10 * dim + (dims[stage - 1] + 1) * dim  # depthwise 3x3; class token
            macs += grid**2 * 9 * dim + dims[stage - 1] * dim
        hidden = int(arch.mlp_ratio * dim)
        params += arch.depths[stage] * block_params(dim, hidden)
        macs += arch.depths[stage] * block_macs(grid**2 + 1, dim, hidden)
    return params + 2 * dims[-1] + (dims[-1] + 1) * classes, macs + dims[-1] * classes


@pytest.mark.parametrize("name", OURS)
def test_rows_and_provenance(name):
    table = load_reference(name)
    assert (table.name, len(table)) == (name, ROWS[name])
    assert table.path.name == f"{name.replace('-', '_')}.csv"
    assert table.digest == hashlib.sha256(table.path.read_bytes()).hexdigest()
    assert {"title", "source", "licence", "recipe", "accuracies"} <= set(table.provenance)
    assert "commit" in table.provenance["source"]
    columns = [table.image_sizes, table.params, table.macs, *table.accuracies.values()]
    assert {len(column) for column in columns} == {len(table)}
    assert len(set(table.architectures)) == len(table)
    assert str(ROWS[name]) in REFERENCES[name]
    assert table.target().training == "scratch"
    # Loading does not make texts canonical, as they are.
    assert [canonical(text) for text in table.architectures] == [*table.architectures]


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [("vitbench101-pit", pit_by_hand), ("vitbench101-autoformer", autoformer_by_hand)],
)
def test_every_count_of_vitbench_by_hand(name, by_hand):
    table = load_reference(name)
    for text, side, params, macs in zip(
        table.architectures, table.image_sizes, table.params, table.macs, strict=True
    ):
        assert by_hand(parse(text), side, table.num_classes) == (params, macs)


@pytest.mark.parametrize(
    ("name", "step"),
    [*((name, 20) for name in OURS), pytest.param("timm-in1k", 1, marks=pytest.mark.nightly)],
)
def test_networks_have_the_counts_of_their_rows(name, step):
    """Multiply-adds of every twentieth; those of vitbench are all counted by hand above."""
    table = load_reference(name)
    for row, text in list(enumerate(table.architectures))[::step]:
        side, classes = table.image_sizes[row], table.num_classes
        network = build_on_meta(text, image_size=side, num_classes=classes)
        params = sum(parameter.numel() for parameter in network.parameters())
        assert params == table.params[row] == table.counts["params"][row], text
        if row % 20 == 0:
            assert count(network, side).macs == table.macs[row] == table.counts["macs"][row], text
        if row % 20 == 0 and name == "timm-in1k":  # counting which again takes minutes
            found = structure.depth(network), structure.embedding_width(network)
            assert found == (table.counts["depth"][row], table.counts["width"][row])
            assert structure.total_expansion(network) == table.counts["expansions"][row]


def test_tables_are_read_without_torch():
    # asvit list and messages of the command line need their names at once
    code = (
        "import sys, asvit.reference as r; r.load_reference('timm-in1k'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'scipy')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["asvit-fractal", "asvit-sizes"])
def test_our_own_tables_say_what_they_are(name):
    table = load_reference(name)
    assert set(table.image_sizes) == {32}
    assert {"title", "licence", "recipe", "accuracies", "hardware"} <= set(table.provenance)
    sizes = [cost(text, 32, table.num_classes) for text in table.architectures]
    assert table.params == tuple(size.params for size in sizes)
    assert table.macs == tuple(size.macs for size in sizes)
    by_seed = [values for column, values in table.accuracies.items() if "_seed" in column]
    rows = list(zip(*by_seed, strict=True))
    assert table.default_target == "accuracy"
    for row, accuracy in zip(rows, table.accuracies["accuracy"], strict=True):
        assert accuracy == pytest.approx(statistics.fmean(row), abs=6e-4)
        assert all(100 / table.num_classes < value < 100 for value in row)  # chance
    assert table.target().noise_ceiling == pytest.approx(noise_ceiling(rows), abs=5e-5)


@pytest.mark.parametrize(
    ("name", "target", "tau"), [(OURS[0], "c100_base_acc", 0.716), (OURS[2], "top1", 0.681)]
)
def test_parameters_rank_as_published(name, target, tau):
    table = load_reference(name)
    assert table.default_target == target
    assert round(kendall(table.params, table.accuracies[target]), 3) == tau
