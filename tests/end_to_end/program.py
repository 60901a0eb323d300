"""Small runs of the installed program, and the fields of their results that stay."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.data import FractalDataset
from experiments.tasks import write_pictures
from tests.campaigns.kill_runs import write_scenes

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "end_to_end.json"

_MEASURED = "--image-size 32 --repeats 1 --images 2 --points 3 --data gaussian --device cpu"
_LEARNED = "--classes 3 --train-images 24 --batch-size 6 --device cpu"
_NETWORK = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
_COST = "architecture params macs"


@dataclass(frozen=True)
class Command:
    """A command, and the fields of its JSON that have golden values; dots lead into objects."""

    line: str
    fields: str
    needs: str = ""  # the command whose folder it reads


#: By the name of the folder that a command writes.
COMMANDS: Mapping[str, Command] = {
    "search": Command(
        f"search --space asvit-tiny --steps 6 --recheck 1 {_MEASURED} --out search",
        "space seed_architecture params macs length_distortion ntk_condition_number steps entropy",
    ),
    "trained": Command(
        "search --space asvit-tiny --trainings 5 --training-steps 2 --width 8 --test-images 12"
        f" --image-size 32 {_LEARNED} --out trained",
        "space seed_architecture steps failures entropy",
    ),
    "scale": Command(
        f"scale --arch 4,8,2|2,4,2|2,2,2|2,1,2|16 --budget 2M {_MEASURED} --out scale",
        f"{_COST} budget reached steps.architecture steps.depths steps.width steps.params"
        " steps.macs steps.length_distortion steps.ntk_condition_number",
    ),
    "correlate": Command(
        "correlate --reference vitbench101-pit --rows 6 --proxy length_distortion,params,macs"
        " --image-size 32 --repeats 1 --points 3 --data gaussian --device cpu --out correlate",
        "reference targets.name correlations.measure correlations.tau correlations.within.tau",
    ),
    "score": Command(
        f"score {_NETWORK} timm:resnet10t --proxy length_distortion,ntk_condition_number,snip"
        f" {_MEASURED}",
        "architectures.architecture architectures.scores.length_distortion.value"
        " architectures.scores.ntk_condition_number.value architectures.scores.snip.value",
    ),
    "train": Command(
        f"train {_NETWORK} --recipe small --validation-images 9 --image-size 32 --epochs 2"
        f" --warmup-epochs 1 --retokenize 1/0/1 --workers 0 {_LEARNED} --out train",
        f"{_COST} history.tokens history.train_loss history.learning_rate",
    ),
    "test": Command(
        "test PICTURES --weights train --device cpu --out test",
        "classes pictures accuracy loss",
        "train",
    ),
    "predict": Command(
        "predict PICTURES --weights train --device cpu",
        "images.image images.guesses.label",
        "train",
    ),
    "export": Command(
        "export --weights train --to onnx --out model.onnx", "format params macs classes", "train"
    ),
    "supernet": Command(
        "supernet train --validation-images 12 --test-images 12 --image-size 16 --width 6"
        f" --epochs 2 {_LEARNED} --out supernet",
        "space num_classes params losses",
    ),
    "evolve": Command(
        "supernet evolve supernet --population 5 --generations 2 --keep 2 --crossovers 2"
        " --mutations 2 --device cpu --out evolve",
        "space architecture path params macs evaluated",
        "supernet",
    ),
    "transfer": Command(
        f"transfer segment {_NETWORK} --data SCENES --image-size 32 --classes 2 --head 8"
        " --epochs 1 --batch-size 6 --warmup 1 --device cpu --out transfer",
        "architecture params classes history.loss",
    ),
}


def write_inputs(folder: Path) -> None:
    """Write the pictures and the scenes that the commands read."""
    images = FractalDataset(3, 12, 40)
    write_pictures(images, range(len(images)), folder / "PICTURES")
    write_scenes(images, len(images) // 2, folder / "SCENES")


def run(line: str, folder: Path) -> Any:
    """The JSON that the installed program prints for a command in ``folder``."""
    done = subprocess.run(
        [Path(sys.executable).with_name("asvit"), *line.split(), "--json"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"asvit {line} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def field(content: Any, path: str) -> Any:
    """The value under a dotted path; of a list, that of each entry."""
    if not path:
        return content
    if isinstance(content, list):
        return [field(each, path) for each in content]
    name, _, rest = path.partition(".")
    return field(content[name], rest)


def outcome(name: str, folder: Path) -> dict[str, Any]:
    """The fields of a command, run in ``folder``, that have golden values."""
    command = COMMANDS[name]
    if command.needs and not (folder / command.needs).exists():
        run(COMMANDS[command.needs].line, folder)
    content = run(command.line, folder)
    return {path: field(content, path) for path in command.fields.split()}
