"""A folder of the user's with packages, or plain folders, of our names does no harm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("experiments", "proxies", "scaling")
NOTEBOOK = """
import sys
sys.path.insert(0, "")
import asvit, scaling
from asvit.core.settings import Settings
print(scaling.Budget.parse("5M"))
"""
LIST = ["list", "presets"]  # which loads proxies and scaling, too
COMMAND = f"import sys; sys.argv = ['asvit', *{LIST}]; from asvit.cli import main; main()"
#: Our packages from a finder that comes after Python's own, as an editable install has them.
EDITABLE = f"""
import sys
from importlib.machinery import PathFinder
root = {str(ROOT)!r}
sys.path[:] = [folder for folder in sys.path if folder != root]
class Finder:
    find_spec = lambda name, path=None, target=None: PathFinder.find_spec(name, [root])
sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Finder)
"""
WAYS = {
    "notebook": ["-c", NOTEBOOK],
    "notebook, editable": ["-c", EDITABLE + NOTEBOOK],
    "console script": ["-P", "-c", COMMAND],
    "python -m": ["-m", "asvit", *LIST],
}


def folder_of(kind: str, folder: Path) -> Path:
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "messages.py").write_text("raise SystemExit('not asvit')")
        if kind == "packages":
            (folder / name / "__init__.py").write_text("")
    return folder


def python(folder: Path, *words: str, first: bool = False) -> subprocess.CompletedProcess[str]:
    """Python in a folder, which ``first`` puts first on its path, as ``PYTHONPATH=.`` does."""
    places = [*[str(folder)] * first, str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    call = [sys.executable, *words]
    return subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("kind", ["packages", "plain folders"])
@pytest.mark.parametrize("way", WAYS)
def test_asvit_works_beside_them(tmp_path: Path, way: str, kind: str) -> None:
    done = python(folder_of(kind, tmp_path), *WAYS[way], first=way == "console script")
    assert done.returncode == 0, done.stderr
    assert done.stdout
    hidden = ["proxies", "scaling"] if kind == "packages" and way != "python -m" else []
    assert done.stderr.splitlines() == [
        f"asvit's package {name!r} hides {tmp_path / name / '__init__.py'} in this process; "
        "rename that one to import both"
        for name in hidden
    ]


@pytest.mark.parametrize("name", ["proxies", "scaling"])
def test_one_imported_before_asvit_is_named(tmp_path: Path, name: str) -> None:
    folder = folder_of("packages", tmp_path)
    done = python(folder, "-c", f"import {name}, asvit", first=True)
    *_, last = done.stderr.splitlines()
    assert last == (
        f"ImportError: asvit needs its package {name!r}, but {folder / name / '__init__.py'} has "
        "been imported under this name; rename that one, or import asvit before it"
    )
