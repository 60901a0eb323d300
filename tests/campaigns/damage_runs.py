"""Damages the files that runs go on from, in place, and checks that none is used unnoticed.

Usage::

    python -m tests.campaigns.damage_runs [--tries 320] [--seed 0] [--only train]

Every run is half done or finished but for its result. One of its files then gets flipped bits,
zeroed or stale sectors, a tail that is cut off or zeroed, or its lines are lost or out of order.
The same command must refuse the file in a line that names it, or end as a run that nothing has
befallen.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from asvit.core.run_files import previous
from tests.campaigns import forked
from tests.campaigns.campaign import ANYWHERE, IN_LINES, begin, outcomes_table
from tests.campaigns.kill_runs import RUN, Campaign, words

REFUSED, SAME = "refused, file named", "same result"

#: Command and a file that it goes on from, or begins with.
FILES: Sequence[tuple[str, str]] = (
    ("search", f"{RUN}/study.journal"),
    ("scale", f"{RUN}/measured.jsonl"),
    ("correlate", f"{RUN}/scores.jsonl"),
    ("reference build", f"{RUN}/trainings.jsonl"),
    ("train", f"{RUN}/checkpoint.safetensors"),
    ("supernet train", f"{RUN}/supernet.safetensors"),
    ("supernet evolve", f"{RUN}/accuracies.jsonl"),
    ("supernet evolve", "supernet/supernet.safetensors"),
)


def half_done(path: Path, draw: random.Random) -> None:
    """Make the run of a state that is finished one that was stopped, at random."""
    run = path.parent
    for name in ("result.json", "report.html"):
        (run / name).unlink(missing_ok=True)
    if path.suffix == ".safetensors":
        before = run / previous(path.name)
        shape = draw.choice(("whole", "without the one before", "one earlier"))
        if shape == "one earlier":
            before.replace(path)
        elif shape != "whole":
            before.unlink()
        return
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: draw.randint(1, len(lines))]))


def damage(campaign: Campaign, name: str, file: str, tries: int, seed: int) -> Counter[str]:
    """Damage ``file`` of the command ``name``; how often it was refused, and how often mended.

    Raises:
        RuntimeError: If a damage was used unnoticed. The folder is kept.
    """
    draw, counts = random.Random(f"{seed} {name} {file}"), Counter[str]()
    whole = campaign.reference_folder(name)
    while counts.total() < tries:
        folder = campaign.new(name, f"damaged-{Path(file).stem}-{counts.total()}")
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        path = folder / file
        if path.parent.name == RUN:
            half_done(path, draw)
        else:
            shutil.rmtree(folder / RUN)
        content = path.read_bytes()
        how = draw.choice(ANYWHERE if path.suffix == ".safetensors" else IN_LINES)
        damaged = how(content, draw)
        if damaged != content:
            path.write_bytes(damaged)
            counts[_outcome(campaign, name, folder, path, how.__name__)] += 1
        shutil.rmtree(folder)
    return counts


def _outcome(campaign: Campaign, name: str, folder: Path, path: Path, how: str) -> str:
    damaged, what = path.read_bytes(), f"after {how} of {path.name}"
    (folder / forked.STDERR).unlink(missing_ok=True)
    code = forked.run(forked.command, words(name), folder)
    last = forked.printed(folder).strip().rpartition("\n")[2]
    if code == 0:
        campaign.check_same(name, folder, what=what)
        return SAME
    if code != 3 or path.name not in last or path.read_bytes() != damaged:
        raise RuntimeError(f"asvit {name} ended with {code} {what}: {last} (see {folder})")
    return REFUSED


def table(counts: Mapping[tuple[str, str], Counter[str]]) -> str:
    """The results as a Markdown table."""
    named = {
        (name, f"`{file.removeprefix(f'{RUN}/')}`"): own for (name, file), own in counts.items()
    }
    return outcomes_table(("command", "file"), (REFUSED, SAME), named)


def main(arguments: Sequence[str] | None = None) -> None:
    """Damage files of every command, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=320, help="over all files")
    parser.add_argument("--seed", type=int, default=0)
    names = sorted({name for name, _ in FILES})
    parser.add_argument("--only", choices=names, action="append", help="only this command")
    asked = parser.parse_args(arguments)
    files = [one for one in FILES if one[0] in (asked.only or names)]
    campaign = Campaign(begin("damage-runs"), seed=asked.seed)
    counts = {}
    for name, file in files:
        counts[name, file] = damage(
            campaign, name, file, -(-asked.tries // len(files)), asked.seed
        )
        print(f"{name}, {file}: {dict(counts[name, file])}", file=sys.stderr)
    print(table(counts))


if __name__ == "__main__":
    main()
