"""Our networks are in timm's registry whichever of the two packages is imported first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import asvit

CREATE = "assert timm.create_model('asvit_seed', num_classes=2).num_classes == 2"


def run(program: str) -> str:
    """What ``program`` prints in a process of its own."""
    root = str(Path(asvit.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "imports",
    [
        "import asvit, timm",
        "import timm, asvit",
        "import asvit, timm.models, timm",
        "import asvit.models, timm",
        # As libraries do that work with and without timm.
        "import asvit, importlib.util; importlib.util.find_spec('timm'); import timm",
    ],
)
def test_either_order(imports: str) -> None:
    run(f"{imports}\n{CREATE}")


def test_our_import_brings_nothing_and_slows_nothing_down() -> None:
    heavy = "[n for n in ('timm', 'torch', 'numpy', 'asvit.models') if n in sys.modules]"
    assert run(f"import sys, asvit; print({heavy})") == "[]"


def test_timm_looks_as_if_we_were_not_there() -> None:
    kinds = "type(timm.__loader__), type(timm.__spec__.loader)"
    shown = f"print({kinds}, timm.__spec__.origin, timm.__path__)"
    assert run(f"import asvit, timm; {shown}") == run(f"import timm; {shown}")


def test_without_timm_its_import_fails_as_ever() -> None:
    blocked = "import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]"
    program = f"import asvit; {blocked}\ntry:\n    import timm\nexcept ImportError as e: print(e)"
    assert run(program) == "No module named 'timm'"
