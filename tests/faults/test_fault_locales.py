"""A report is the same in every locale: decimal commas, dotless i and ASCII change nothing."""

import locale
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from tests.asvit.report.sample_runs import write_sample
from tests.campaigns import forked


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


def draw_figures_in(name: str) -> None:
    import_module("tests.quick_figures").draw_again()  # not here, where it would have an effect
    locale.setlocale(locale.LC_ALL, name)


def reported(folder: Path, name: str) -> dict[str, bytes]:
    """The files of a search whose report is made in the locale ``name``."""
    run = write_sample("search", folder / "search")
    prepare = partial(draw_figures_in, name)
    words, given = ["report", str(run)], {"LC_ALL": name}
    code = forked.run(forked.command, words, folder, environment=given, prepare=prepare)
    assert code == 0, forked.printed(folder)
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name != "result.json"}


@pytest.mark.parametrize("name", ["de_DE.UTF-8", "tr_TR.UTF-8", "C"])
def test_a_report_does_not_depend_on_the_locale(
    tmp_path: Path, expected: dict[str, bytes], name: str
) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed: Debian's package locales has it")
    assert reported(tmp_path, name) == expected
