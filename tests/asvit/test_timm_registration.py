"""Our networks are in timm's registry whichever of the two packages is imported first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import asvit

CREATE = "assert timm.create_model('asvit_seed', num_classes=2).num_classes == 2"
ORDERS = [
    "import asvit, timm",
    "import timm, asvit",
    # As libraries do that work with and without timm.
    "import asvit, importlib.util; importlib.util.find_spec('timm'); import timm",
]
#: Runs its arguments in forks of a process that has what takes longest to import.
FORKS = """
import os, sys, torch, torchvision
for program in sys.argv[1:]:
    if not (child := os.fork()):
        exec(program)
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(program)
"""


def run(program: str, *arguments: str) -> str:
    """What ``program`` prints in a process of its own."""
    root = str(Path(asvit.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


KINDS = "type(timm.__loader__), type(timm.__spec__.loader)"
SHOWN = f"print({KINDS}, timm.__spec__.origin, timm.__path__)"


def created(orders: list[str]) -> list[str]:
    """Programs that import in these orders."""
    return [f"{imports}\n{CREATE}" for imports in orders]


@pytest.mark.nightly
def test_any_order() -> None:
    run(FORKS, *created(ORDERS))


def test_in_either_order_timm_looks_as_if_we_were_not_there() -> None:
    ours = [f"{imports}; {SHOWN}; {CREATE}" for imports in ("import asvit, timm",)]
    both = run(FORKS, *ours, f"import timm; {SHOWN}").splitlines()
    assert both[0] == both[1]


def test_our_import_brings_nothing_and_slows_nothing_down() -> None:
    heavy = "[n for n in ('timm', 'torch', 'numpy', 'asvit.models') if n in sys.modules]"
    assert run(f"import sys, asvit; print({heavy})") == "[]"
