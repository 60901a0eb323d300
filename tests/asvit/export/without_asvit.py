"""The script beside an ONNX copy, run where there is no asvit."""

import os
import subprocess
import sys
from pathlib import Path

from asvit.core.run_files import PREDICT_SCRIPT


def run_script(folder: Path, model: str, images: list[Path]) -> subprocess.CompletedProcess[str]:
    """The script of a folder, in a process where asvit and PyTorch cannot be imported."""
    program = (
        "import runpy, sys\n"
        "sys.modules |= dict.fromkeys(('asvit', 'proxies', 'torch', 'torchvision', 'timm'))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", program, PREDICT_SCRIPT, model, *map(str, images)],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
