"""The wheel holds three packages, their data and one command; imports are declared."""

import ast
import configparser
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ("asvit", "proxies", "scaling")  # experiments is run from a checkout

#: Module -> distribution, where the names differ.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}

#: Installed with a declared distribution and used with it.
COMES_WITH = {"huggingface_hub": "datasets"}

FOR_TYPES = {"_typeshed"}


def imports(package: str) -> Iterator[tuple[str, bool]]:
    """Every module that a package imports, and whether at import time of the package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{one.name}" for one in node.names]
            else:
                continue
            yield from ((name, node in tree.body) for name in names)


def foreign(package: str) -> set[str]:
    """Distributions, in lower case, that a package imports from."""
    tops = {name.partition(".")[0] for name, _ in imports(package)}
    others = tops - {*INSTALLED, *FOR_TYPES} - sys.stdlib_module_names
    return {COMES_WITH.get(name, DISTRIBUTIONS.get(name, name)).lower() for name in others}


def declared() -> dict[str, set[str]]:
    """Distributions in setup.cfg by extra; required ones under the empty name."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    return {
        name: {
            re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower()
            for line in text.strip().splitlines()
            if not line.startswith("asvit[")
        }
        for name, text in lists.items()
    }


@pytest.mark.parametrize("package", INSTALLED)
def test_what_is_imported_is_declared(package: str) -> None:
    everything = set().union(*declared().values())
    assert foreign(package) - everything == set()


def test_what_is_always_installed_is_imported() -> None:
    used = set().union(*(foreign(package) for package in INSTALLED))
    assert declared()[""] - used == set()


def test_what_is_optional_is_imported_late() -> None:
    optional = set().union(*declared().values()) - declared()[""]
    early = {
        (package, name)
        for package in INSTALLED
        for name, at_once in imports(package)
        if at_once
        and DISTRIBUTIONS.get(name.partition(".")[0], name.partition(".")[0]) in optional
    }
    assert early == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the checkout, so that no old build folder is included."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, text=True)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*build, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecat" not in (done.stdout + done.stderr).lower()
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_three_packages_and_no_more(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(INSTALLED)


def test_every_source_file_and_its_data_are_in(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in INSTALLED:
        sources = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.suffix in (".py", ".html") or path.name == "py.typed"
        }
        assert sources <= names


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "asvit = asvit.cli:main" in wheel.read(name).decode()
    metadata = wheel.read(name.replace("entry_points.txt", "METADATA")).decode()
    for extra in ("test", "ray", "train", "export", "notebooks", "docs"):
        assert f"Provides-Extra: {extra}" in metadata
