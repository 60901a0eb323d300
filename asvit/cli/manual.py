"""What ``--help`` says behind the options: examples, what is written where, what comes next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

Rows = Sequence[tuple[str, str]]

RUN_FILES = {
    "report.html": "Everything on one page that needs no network.",
    "result.json": "The result, the settings, versions and the command.",
}
EXIT_CODES: Rows = (
    ("0", "Done."),
    ("1", "A bug of ours."),
    ("2", "Wrong usage."),
    ("3", "Expected failure: a missing folder, a size that does not fit, a full disk."),
    ("130", "Interrupted; the same command continues a run."),
)
ENVIRONMENT: Rows = (
    ("ASVIT_CACHE", "Folder of made images; by default asvit in the user's cache."),
    ("ASVIT_DATA", "Folder of torchvision's data sets."),
    ("ASVIT_EXTENSIONS", "Modules of your own to import, separated by commas."),
    ("OMP_NUM_THREADS", "Threads of each process on a CPU."),
)


@dataclass(frozen=True)
class Page:
    """What the help of a command says behind its options."""

    examples: Rows
    files: Rows = ()
    see: Rows = ()


# Of each command its examples, what it writes and what goes with it; words stand behind a #, those
# of RUN_FILES are known.
_MANUAL = r"""
search
    asvit search --preset quick  # Small images, fewer networks: minutes.
    asvit search --preset quick --dry-run  # What it would do and take.
    asvit search --steps 500  # The default search.
    asvit search --controller predictor --trainings 24 --data path/to/images
        # By short trainings on your images: minutes to hours.
    asvit search --space asvit-tiny --controller random --seed 3 --out runs/tiny
        # Another space, controller and folder.
  Writes:
    report.html
    result.json
    trials.csv  # A row for each architecture.
    trainings.csv  # All trainings as a reference table, with --trainings.
    study.journal  # The Optuna study, which a continued run goes on from.
  See also:
    asvit scale  # Grows what the newest search ended in.
    asvit correlate  # How well the measures rank trained networks.

scale
    asvit scale --budget 88M  # From what the newest search ended in.
    asvit scale --budget 30M,50M,88M --arch '8,2,3|4,1,2|4,1,4|4,1,6|32'
        # A series, from an architecture.
    asvit scale --budget 22G --preset quick  # To multiply-adds, on small images.
  Writes:
    report.html
    result.json
    steps.csv  # A row for each model of the series.
    candidates.csv  # A row for each model that was measured on the way.
    measured.jsonl  # All measurements, which a continued run goes on from.
  See also:
    asvit cost  # Where in a model its parameters and multiply-adds are.
    asvit train  # Trains what a scaling ended in, by its folder.

score
    asvit score '8,2,3|4,1,2|4,1,4|4,1,6|32' timm:deit_tiny_patch16_224
        # Every measure of two networks.
    asvit score timm:resnet18 --proxy length_distortion,params --repeats 3 --json
        # Two measures, as JSON.
  Writes:
    stdout  # The scores; with --out also in a file, as JSON.
  See also:
    asvit list proxies  # The measures, with their sources.
    asvit correlate  # How well they rank trained networks.

train
    asvit train timm:deit_tiny_patch16_224 --preset quick --dry-run  # What it would do.
    asvit train runs/scale-... --data imagenet --epochs 300 --out runs/large
        # What a scaling ended in.
    accelerate launch -m asvit train ARCH --data imagenet --precision bf16  # On several devices.
  Writes:
    result.json
    model.safetensors  # Weights after the last epoch.
    best.safetensors  # Weights of the most accurate epoch.
    checkpoint.safetensors  # What a continued run goes on from.
    checkpoint.previous.safetensors  # The one before, should that one be damaged.
  See also:
    asvit export  # Writes the network for timm, ONNX or torch.export.
    asvit list data  # Images to train on.

supernet train
    asvit supernet train --space psvit2d --data digits --image-size 32 --width 24
        # All paths at once, on small images.
  Writes:
    result.json
    losses.csv  # The loss of every step.
    supernet.safetensors  # The weights that paths inherit.
  See also:
    asvit supernet evolve  # Finds the best path of it.

supernet evolve
    asvit supernet evolve  # The best path of the newest supernet in runs.
    asvit supernet evolve runs/fractal32 --max-macs 20M --retrain
        # The best cheap path, then trained alone.
  Writes:
    report.html
    result.json
    accuracies.jsonl  # What a continued run goes on from.
  See also:
    asvit train  # Trains the winner by a recipe of your choice.

reference build
    asvit reference build --preset quick  # A minute or two, to see what it does.
    asvit reference build --space asvit --n 60 --data fractal  # The default.
  Writes:
    result.json
    table.csv  # The table: architectures and their accuracies.
  See also:
    asvit correlate  # How well measures rank the table.

correlate
    asvit correlate --reference vitbench101-pit  # Every measure.
    asvit correlate --reference timm-in1k --max-params 30M --rows 20 --proxy snip  # A quick look.
  Writes:
    report.html
    result.json
    correlations.csv  # A row for each measure and target.
    values.csv  # The values of every architecture.
  See also:
    asvit list references  # The tables that come along.
    asvit reference build  # Makes a table from your images.

export
    asvit export runs/train-pets --to onnx  # What a training ended in.
    asvit export --weights runs/train-pets/best.safetensors --to timm --out pets
        # Its most accurate epoch, as a folder for timm.
  Writes:
    OUT  # The copy, only after it has proved equal.
    OUT.md  # A model card, named after the copy; README.md in a folder.
  See also:
    asvit train  # Makes such weights.

cost
    asvit cost '8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180' timm:resnet18
        # As-ViT Large, stage by stage, and a ResNet.
  See also:
    asvit score  # Measures the same networks.

list
    asvit list proxies  # The measures.
    asvit list models '*vit_tiny*' --json  # Names that match, as JSON.

report
    asvit report runs/search-asvit-reinforce-224px-seed0  # The page of one run.
  Writes:
    report.html  # In the run folder, in the place of the old one.
    *.svg, *.csv  # Its figures, and the rows that they show.

completion
    eval "$(asvit completion bash)"  # For bash, in ~/.bashrc.
    eval "$(asvit completion zsh)"  # For zsh, in ~/.zshrc, behind compinit.
    asvit completion fish > ~/.config/fish/completions/asvit.fish  # For fish, once.
"""


def _rows(text: str) -> Rows:
    found = re.findall(r"^ +(\S.*?)(?:\s+# (.*))?$", text, re.MULTILINE)
    return tuple((line, words or RUN_FILES[line]) for line, words in found)


def _pages(manual: str) -> Iterator[tuple[str, Page]]:
    """Each command of a manual with its page."""
    for block in manual.strip().split("\n\n"):
        name, _, text = block.partition("\n")
        examples, *rest = re.split(r"^  (Writes|See also):$", text, flags=re.MULTILINE)
        parts = {title: _rows(part) for title, part in zip(rest[::2], rest[1::2], strict=True)}
        yield name, Page(_rows(examples), parts.get("Writes", ()), parts.get("See also", ()))


PAGES = dict(_pages(_MANUAL))
_NO_PAGE = Page(examples=())
FIRST_STEPS: Rows = (
    ("asvit search --preset quick", "Finds a small architecture in about two minutes."),
    ("asvit scale --preset quick --budget 88M", "Grows it to 88 million parameters."),
    ("asvit train ARCH --preset quick --dry-run", "Shows what a training would do."),
)


class Documented(click.Command):
    """A command whose help ends with its page of the manual."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of a group under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", ""), []).append(record)
        for name, rows in groups.items():
            write_section(formatter, name or "Options", rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, files and what else to read."""
        page = PAGES.get(ctx.command_path.partition(" ")[2], _NO_PAGE)  # of an extension
        write_section(formatter, "Examples", page.examples)
        write_section(formatter, "Writes", page.files)
        write_section(formatter, "See also", page.see)
        formatter.write_paragraph()
        formatter.write_text("Exit codes and environment: asvit --help.")


def write_section(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    """Write rows of two columns under a title; nothing where there are none."""
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
