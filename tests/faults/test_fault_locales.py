"""A report is the same in every locale: decimal commas, dotless i and ASCII change nothing."""

import locale
import os
import subprocess
import sys
from pathlib import Path

import pytest

import asvit
from experiments.sample_runs import write_sample


def is_installed(name: str) -> bool:
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)
    return True


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return reported(tmp_path_factory.mktemp("locale"), "C.UTF-8")


def reported(folder: Path, name: str) -> dict[str, bytes]:
    """The files of a search whose report is made in the locale ``name``."""
    run = write_sample("search", folder / "search")
    environment = {key: value for key, value in os.environ.items() if key[:2] not in ("LC", "PY")}
    environment |= {"LC_ALL": name, "PYTHONPATH": str(Path(asvit.__file__).parents[1])}
    begin = "import locale, asvit.cli; locale.setlocale(locale.LC_ALL, ''); asvit.cli.main()"
    ended = subprocess.run(
        [sys.executable, "-c", begin, "report", str(run)],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name != "result.json"}


@pytest.mark.parametrize("name", ["de_DE.UTF-8", "tr_TR.UTF-8", "C", "POSIX"])
def test_a_report_does_not_depend_on_the_locale(
    tmp_path: Path, expected: dict[str, bytes], name: str
) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed: Debian's package locales has it")
    assert reported(tmp_path, name) == expected
