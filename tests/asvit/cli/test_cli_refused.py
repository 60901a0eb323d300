"""What commands refuse: one line that says why, the exit code of its kind, and nothing left."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asvit.networks import Network, WeightsFile
from tests.asvit.cli.commands import (
    NETS,
    QUICK,
    RUNS,
    SEED,
    TRAINED,
    check_refused,
    run,
    write_table,
)

SHIFT = "shift:1,1,1,1|1|8|1|16"
ANOTHER = shlex.quote("8,2,3|4,1,2|4,1,4|4,1,6|32")
RANDOM = f"export '{SHIFT}' --random --image-size 32 --classes 3"
WEIGHTS = "export --to pt2 --quiet --weights"
SCALE = f"scale --arch '{SEED}'"
CORRELATE = "correlate --reference vitbench101-pit"
TRAIN = shlex.join(["train", TRAINED, *QUICK, "--quiet", "--out", "trained"])
SHORT = (
    "search --quiet --controller random --trainings 5 --image-size 32 --classes 3"
    " --train-images 40 --test-images 32 --training-steps 2 --batch-size 8 --device cpu --jobs 1"
    " --out run"
)
LEFT = ("trained", "trained/.kind", "trained/.lock")
SUPERNET = shlex.join([*RUNS["supernet train"], "--out", "run"])

#: Start of a command -> how it goes on, its exit code, and words of the line. ``{train}`` and
#: ``{supernet}`` stand for the folders of finished runs.
REFUSED: dict[str, Sequence[tuple[str, int, str]]] = {
    f"score '{SEED}' --quiet": [
        ("--proxy my_measure", 2, "modules named in ASVIT_EXTENSIONS register"),
        ("--preset quik", 2, "unknown preset 'quik'; did you mean 'quick'?"),
    ],
    "correlate --reference vitbench101": [("", 3, "did you mean 'vitbench101-pit'?")],
    f"scale '{SEED}' --arch": [(ANOTHER, 2, "two architectures")],
    "scale": [
        ("", 3, "no finished search in runs; run asvit search first"),
        ("--budget 88Q", 2, "88Q"),
        ("runs/none --budget 88Q", 2, "88Q"),
    ],
    "train runs/none": [
        ("", 3, "no run folder 'runs/none'"),
        ("--epochs 5 --warmup-epochs 5", 2, "leaves nothing of"),
        ("--new-head", 2, "weights to start from"),
    ],
    "transfer detect runs/none --data coco": [("--epochs 0", 2, "--epochs")],
    "search --steps 2": [
        ("--proxy lenght_distortion", 2, "did you mean 'length_distortion'"),
        ("--controller reinforc", 2, "did you mean 'reinforce'"),
        ("--space asvt", 2, "did you mean 'asvit'"),
        ("--space resnet,resnet", 3, "'resnet' cannot be part of resnet,resnet; name each space"),
        ("--batch 4 --controller tpe", 2, "batch=4 does not suit"),
        ("--radius -1", 2, "radius"),
        ("--data no/such/folder", 3, "no/such/folder"),
        ("--image-size 50", 3, "50 px"),
        ("--device warp", 3, "'warp'"),
        ("--proxy gauss_map_length", 3, "gauss_map_length"),
    ],
    SCALE: [
        ("--budget 88", 2, "did you mean 88M"),
        ("--budget 30M,22G", 2, "two units"),
        ("--arch '8,2,3|4,1,2'", 2, "is not K,S,E"),
        ("--arch timm:resnet18", 2, "belongs to no search space"),
        ("--budget 100K", 3, "below the start, which has 1,200,360"),
        ("--budget 1e14", 3, "more than 1,000 times"),
        ("--proxy gauss_map_length", 3, "nothing to grow by"),
        ("--image-size 50", 3, "50 px"),
    ],
    "correlate": [
        ("", 2, "--reference"),
        ("--reference bad.csv", 3, "bad.csv, line 6"),
        ("--reference vitbench101-pti", 3, "did you mean 'vitbench101-pit'"),
    ],
    CORRELATE: [
        ("--target c100", 2, "unknown target 'c100'"),
        ("--rows 3", 2, "3 of 100 rows"),
        ("--max-params 1G", 2, "must count parameters"),
        ("--max-params 1", 2, "did you mean 1M"),
    ],
    "search --quiet": [
        ("--jobs 0", 2, "0 is not in the range x>=1"),
        ("--timeout nan", 2, "timeout=nan; use a number of seconds above 0"),
    ],
    SHORT: [
        ("--image-size 48", 3, "image 48 px"),
        ("--data gaussian", 3, "two classes or more; standard normal noise, seed 0 has one"),
        ("--data ./none", 3, "no folder './none', and no images of that name"),
        ("--controller tpe --seeds 2", 2, "seeds=2 is for controller random"),
    ],
    SUPERNET: [
        ("--space psvit3d", 2, "unknown space 'psvit3d'; did you mean 'psvit"),
        ("--space asvit", 3, "space 'asvit' has no supernet; use one of psvit1d, psvit2d"),
        ("--device nowhere", 3, "device 'nowhere' is not available"),
    ],
    "supernet": [("", 2, "missing command; use train or evolve (see asvit supernet --help)")],
    "supernet evolve": [
        ("--max-macs 20X", 2, "'20X' is not a number from 1, such as 600M"),
        ("--population 10", 2, "25 crossovers and 25 mutations do not fit"),
        ("", 3, "no finished supernet in runs"),
        ("none", 3, "no checkpoint 'none/supernet.safetensors'"),
        ("{supernet} --max-macs 1K", 3, "no path takes at most 1,000 multiply-adds; those"),
        ("{supernet} --out {supernet}", 3, "holds a supernet; give --out another"),
    ],
    TRAIN: [
        ("--preset quik", 2, "unknown preset 'quik'; did you mean 'quick'?"),
        ("--recipe swim", 2, "unknown recipe 'swim'; did you mean 'swin'?"),
        ("--learning-rate 0", 2, "--learning-rate must be a number above 0, got 0.0"),
        ("--retokenize 1/1", 2, "'1/1' is not a plan of 3 stages of tokens"),
        ("--teacher timm:resnet18", 2, "knows nothing without weights"),
        ("--batch-size 64", 3, "; use --batch-size 24 or less"),
        ("--data nowhere/at/all", 3, "no folder 'nowhere/at/all'"),
        ("--optimizer adamv", 2, "--optimizer must be adamw or sgd or muon"),
        ("--weights no.safetensors", 3, "no file of weights 'no.safetensors'"),
        ("--device cuda:77", 3, "device 'cuda:77' is not available"),
        ("--weights there.safetensors", 3, "do not fit the network"),
        ("--weights {train} --data fractal:4", 3, "are for 3 classes, the images have 4; give -"),
    ],
    "train": [
        ("", 2, "Missing argument 'ARCH' (see asvit train --help)"),
        ("8,2,3", 2, "8,2,3"),
        ("timm:no_such_model", 2, "no_such_model"),
        (".", 3, "has no result.json"),
        ("runs/typo", 3, "no run folder 'runs/typo'; name one that is there, or an architecture"),
    ],
    RANDOM: [
        ("--to onx --out a.onnx", 2, "unknown format 'onx'; did you mean 'onnx'"),
        ("--to onnx", 2, "needs a name; give --out"),
        ("--out a.onnx", 2, "Missing option '--to'"),
    ],
    "export --to pt2": [
        (f"'{SHIFT}'", 2, f"no weights of {SHIFT} are named; give --weights"),
        ("", 2, "nothing to export"),
        ("runs/typo", 3, "no run folder 'runs/typo'"),
        ("8,2,3", 2, "in '8,2,3|4,1,2|4,1,4|4,1,6|32' (see asvit export --help)"),
    ],
    WEIGHTS: [
        ("none.safetensors", 3, "no file of weights 'none.safetensors'"),
        ("cut.safetensors", 3, "is damaged, or no safetensors file"),
        ("there.safetensors --out no/a.pt2", 3, "no folder 'no' for 'a.pt2'"),
        ("there.safetensors --out a.onnx", 3, "files for pt2 end in .pt2"),
        ("there.safetensors --out a-file.pt2", 3, "exists; name another one"),
        (f"there.safetensors {ANOTHER}", 3, f"has architecture '{SHIFT}', not '8,2,3"),
    ],
    "score": [(f"{ANOTHER} --image-size 50", 3, "50 px")],
    "cost": [
        ("", 2, "Missing argument 'ARCH...' (see asvit "),
        ("'8,2,3|4,1,2'", 2, "is not K,S,E"),
        ("'shiftvit:2,2,6,2|4|12|1|96'", 2, "unknown prefix 'shiftvit:'; did you mean 'shift:'?"),
        ("timm:resnet19", 2, "did you mean 'timm:resnet1"),
        ("resnet18", 2, "timm:resnet18"),
        (f"{ANOTHER} --image-size 50", 3, "50 px"),
    ],
    "list": [("model", 2, "unknown kind 'model'; did you mean 'models'?")],
    "report": [
        ("", 3, "run asvit search first"),
        ("nowhere", 3, "nowhere"),
        (".", 3, ". is no run folder"),
    ],
}


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for the lock that a refused training leaves."""
    found = {path.relative_to(folder): path for path in folder.rglob("*")}
    return {
        str(name): path.read_bytes() if path.is_file() else b""
        for name, path in found.items()
        if str(name) not in LEFT
    }


@pytest.fixture
def before(tmp_path: Path) -> dict[str, bytes]:
    """Some files of the user's own, which are all that is there in the end, too."""
    text = write_table(tmp_path / "bad.csv").read_text()
    (tmp_path / "bad.csv").write_text(text.replace(NETS[1], NETS[1].rpartition("|")[0]))
    network, weights = Network(SHIFT, 32, 3), tmp_path / "there.safetensors"
    WeightsFile(network, network.build().state_dict()).write(weights)
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-100])
    for name in ("a-file", "a-file.pt2"):
        (tmp_path / name).touch()
    return files(tmp_path)


@pytest.mark.parametrize(
    ("command", "more", "code", "told"),
    [(command, *row) for command, rows in REFUSED.items() for row in rows],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    command: str,
    more: str,
    code: int,
    told: str,
    finished: Any,
    tmp_path: Path,
    before: dict[str, bytes],
) -> None:
    for name, kind in (("{train}", "train"), ("{supernet}", "supernet train")):
        if name in more:
            more = more.replace(name, str(finished(kind)[0]))
    check_refused(run(*shlex.split(command), *shlex.split(more)), code, told)
    assert files(tmp_path) == before
