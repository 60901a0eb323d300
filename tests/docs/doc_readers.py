"""What the reader of a page already has: pictures, weights and runs that the page speaks of."""

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from click.testing import CliRunner, Result
from doc_examples import ROOT
from PIL import Image

import asvit
from asvit.cli.app import app
from asvit.export.formats import FORMATS
from asvit.export.writers import write_copy
from asvit.networks import Network, WeightsFile
from asvit.runs.folder import newest_run
from tests.asvit.transfer.tiny_scenes import make_coco

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
PETS = Network("shift:1,1,1,1|1|8|1|16", image_size=224, num_classes=3)

_SMALL = "--image-size 32 --device cpu"
_MEASURED = f"{_SMALL} --repeats 1 --images 2 --points 3"

# Command -> what makes it small; of equal options the last one counts.
TINY = {
    "search": f"{_MEASURED} --steps 2 --recheck 1 --fresh",
    "scale": f"{_MEASURED} --stop-within 10% --fresh",
    "score": _MEASURED,
    "correlate": f"{_MEASURED} --rows 5 --fresh",
    "train": f"{_SMALL} --epochs 1 --train-images 20 --validation-images 5 --batch-size 10 "
    "--precision fp32 --workers 0 --fresh",
    "supernet train": f"{_SMALL} --train-images 60 --validation-images 40 --test-images 40 "
    "--width 24 --epochs 1 --batch-size 30 --fresh",
    "supernet evolve": "--device cpu --population 4 --generations 2 --keep 2 --crossovers 1 "
    "--mutations 1 --max-macs 1G --fresh",
}


_TRAINED = (
    f"{_SMALL} --trainings 6 --training-steps 1 --batch-size 4 --train-images 20 --test-images 10 "
    "--width 8 --jobs 1 --fresh"
)


def tiny(words: list[str]) -> list[str]:
    """A command line with options behind it that make it small."""
    if "--trainings" in words:
        table = ["--trainings", "12"] if "--seeds" in words else []  # which others rank
        return [*words, *_TRAINED.split(), *table]
    for command, options in TINY.items():
        if words[: len(command.split())] == command.split():
            return [*words, *options.split(), *_fitting(command, words)]
    return words


def _fitting(command: str, words: list[str]) -> list[str]:
    """What has to fit the rest of the line."""
    given = dict(itertools.pairwise(words))
    more: list[str] = []
    if command == "scale":
        typed = given.get("--arch") or next((word for word in words if "|" in word), None)
        arch = typed or json.loads((newest_run() / "result.json").read_text())
        start = arch if isinstance(arch, str) else arch["seed_architecture"]
        more += ["--budget", f"{asvit.cost(start).params / 1e6 * 1.1:.3f}M"]
    if command in ("correlate", "score") and "--proxy" not in given:
        more += ["--proxy", "naswot"]  # of all measures
    if "--retokenize" in given:
        more += ["--retokenize", "1/1/1", "--epochs", "3"]
    if given.get("--preset") in ("cifar100-384", "dogs-448"):
        more += ["--classes", "2"]  # as many as there are in our pictures
    if command == "train" and not {"--data", "--preset"} & set(words):
        more += ["--classes", "2"]  # of the fractals
    return more


def run(words: list[str]) -> Result:
    """Run ``asvit`` on ``words`` in this process, where torch is loaded already."""
    return CliRunner().invoke(app, words)


def pictures(folder: Path) -> None:
    """Two classes of thirty pictures."""
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def pet_pictures(folder: Path, *, seed: int = 1) -> None:
    """Twenty pictures of each kind of pet."""
    generator = np.random.default_rng(seed)
    for name in ("cat", "dog", "ox"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def shapes(folder: Path) -> None:
    """A folder in COCO's format."""
    for split in ("train2017", "val2017"):
        make_coco(folder, split, images=4)


def picture(path: Path) -> None:
    """A picture."""
    Image.new("RGB", (40, 50), "red").save(path)


def pets(folder: Path) -> None:
    """The folder of a training, as far as an export looks at it."""
    folder.mkdir(parents=True)
    stored = WeightsFile(PETS, PETS.build().state_dict(), ("cat", "dog", "ox"))
    stored.write(folder / "model.safetensors")
    stored.write(folder / "best.safetensors")


def seed_weights(path: Path) -> None:
    """Weights as PyTorch saves them."""
    torch.save(asvit.build(SEED).state_dict(), path)


def released(path: Path) -> None:
    """Weights of Shift-T in the released code's form, with fresh numbers."""
    torch.save({"model": timm.create_model("shiftvit_r2_tiny").state_dict()}, path)


def table(path: Path, rows: int = 12) -> None:
    """The first rows of a reference table, in a file of the reader's own."""
    source = Path(asvit.__file__).parent / "reference" / "vitbench101_pit.csv"
    lines = source.read_text().splitlines(keepends=True)
    heading = next(place for place, line in enumerate(lines) if not line.startswith("#"))
    path.write_text("".join(lines[: heading + 1 + rows]))


def finished(command: str) -> Callable[[Path], None]:
    """A run folder, by the command that makes one."""

    def make(folder: Path) -> None:
        result = run([*tiny(command.split()), "--out", str(folder), "--quiet"])
        assert result.exit_code == 0, result.stderr

    return make


def evolution(folder: Path) -> None:
    """The run folder of an evolution, beside that of its supernet."""
    supernet = folder.with_name("supernet")
    finished("supernet train")(supernet)
    finished(f"supernet evolve {supernet}")(folder)


def trained(folder: Path) -> None:
    """A training of the network that the scaling ended in."""
    finished(f"train {folder.with_name('scale-...')}")(folder)


def copies(path: Path) -> None:
    """A copy of the network that tells pets apart."""
    stored = WeightsFile.read(path.with_name("runs") / "train-pets" / "model.safetensors")
    (form,) = (form for form in FORMATS.values() if form.suffix == path.suffix)
    write_copy(form, path, model=stored.load(), content=stored)


SCALED = "runs/scale-..."
# What a page says; what makes that.
HAD: dict[str, Callable[[Path], None]] = {
    "path/to/images": pictures,
    "~/pictures": pictures,
    "~/imagenet": pictures,
    "~/cifar100": pictures,
    "~/dogs": pictures,
    "--data imagenet": pictures,
    "--data PATH": pictures,
    "seed.pth": seed_weights,
    "released.pth": released,
    "my.csv": table,
    "runs/train-pets": pets,
    "path/to/pets": pet_pictures,
    "more/pets": partial(pet_pictures, seed=2),
    "pets-copy.onnx": copies,
    "pets.pt2": copies,
    "pets.safetensors": copies,
    "holiday.jpg": picture,
    "photos": pictures,
    "shapes": shapes,
    SCALED: finished(f"scale --arch {SEED}"),
    "runs/large": trained,
    "runs/search-asvit-reinforce-224px-seed0": finished("search"),
    "runs/supernet-psvit2d-64px-seed0": finished("supernet train"),
    "runs/evolution-...": evolution,
}
# The same for pages that do not name the folder.
WITHOUT_A_NAME = {"docs/scaling.md": "runs/search-asvit-reinforce-224px-seed0"}


def give(page: str, folder: Path) -> None:
    """Put into ``folder`` what a page takes for granted."""
    text = (ROOT / page).read_text(encoding="utf-8") + WITHOUT_A_NAME.get(page, "")
    for name, make in HAD.items():
        path = folder / name.removeprefix("--data ").removeprefix("~/")
        if name in text and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
