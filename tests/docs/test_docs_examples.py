"""Every example in the documentation runs, or its page says why it does not.

Examples of a page run one after the other in one folder and, those in Python, among the same
names. Commands get options behind those of the page that make them small: what is tested is
that they run, not how long they take. Of ``torchrun`` and the like only what they start is run.
Command lines are also read as they stand by the program's own parser, even those not run.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from doc_examples import (
    LANGUAGES,
    PAGES,
    SHELLS,
    Example,
    arguments,
    calls,
    check_options,
    prepare_shell,
    read,
    read_manual,
    run_python,
)
from doc_readers import SCALED, SEED, give, run, tiny

import asvit
from asvit.cli import manual
from asvit.core.results import RUNS
from asvit.core.settings import Settings
from asvit.search import Measurement, predictor_sampler
from asvit.search.controllers import CONTROLLERS
from asvit.search.settings import SearchSettings
from asvit.spaces import SPACES
from proxies import PROXIES

pytestmark = pytest.mark.usefixtures("forked_modules")

HOW = "an example that cannot run here has <!-- not run: REASON --> in the line above it"
EXAMPLES = [*(example for page in PAGES for example in read(page)), *read_manual()]
# Pages whose examples run always: the first one, and those that take a few seconds at most. The
# others run nightly; what they call is read by the program's own parser always.
ALWAYS = (
    "README.md",
    "docs/data.md",
    "docs/models.md",
    "docs/reference.md",
    "docs/security.md",
    "docs/training_data.md",
)
# Programs whose lines are passed over: what they set up is there in a test.
SET_UP = ("pip", "pip-audit", "python3")
CODE = [example for example in EXAMPLES if example.language in LANGUAGES]


@pytest.fixture(autouse=True)
def _own_registries() -> Iterator[None]:
    """What an example registers is gone after it."""
    registries: list[dict[str, object]] = [PROXIES, SPACES, CONTROLLERS, RUNS]
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture(autouse=True)
def _python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's ``python`` is this one."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvit.report.pictures.Picture.svg", "<svg/>")


@pytest.fixture(autouse=True)
def _few_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few networks are counted before one is drawn."""
    for name, count in {"_SPREAD": 5, "_SAMPLED": 20, "_CHILDREN": 2}.items():
        monkeypatch.setattr(predictor_sampler, name, count)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples in Python take the preset ``quick``, which is for people."""
    smaller: Sequence[tuple[type[Settings], dict[str, Any]]] = [
        (SearchSettings, {"image_size": 32, "images": 2, "points": 3, "repeats": 1}),
    ]
    for settings, small in smaller:
        quick = {**settings.presets["quick"], **small}
        monkeypatch.setitem(settings.presets, "quick", quick)


@pytest.mark.parametrize(
    "page",
    [
        page if page in ALWAYS else pytest.param(page, marks=pytest.mark.nightly)
        for page in dict.fromkeys(example.page for example in CODE)
    ],
)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    give(page, tmp_path)
    prepare_shell(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for example in CODE:
        if example.page == page and example.reason is None:
            if example.language == "python":
                run_python(example, names)
            else:
                run_shell(example, tmp_path)


def run_shell(example: Example, folder: Path) -> None:
    for call in calls(example, folder):
        words = arguments(call)
        if words is not None:
            result = run(tiny(typed(words, folder)))
            said = f"{example.place}: asvit {' '.join(words)}\n{result.output}"
            assert result.exit_code == 0, said
            check_files(words, result.output)
        if call[0] == "python":  # a script that a command has written
            subprocess.run([sys.executable, *call[1:]], cwd=folder, check=True)
            continue
        assert words is not None or call[0] in SET_UP, f"{example.place}: {call[0]}; {HOW}"


def check_files(words: list[str], output: str) -> None:
    """Make sure that a run has written what the help of its command says."""
    folder = re.search(r"^folder: (\S+)", output, re.MULTILINE)
    page = manual.PAGES.get(words[0]) or manual.PAGES.get(" ".join(words[:2]))
    if folder is not None and page is not None:
        always = [(name, what) for name, what in page.files if ", with --" not in what]
        missing = [name for name, _ in always if not (Path(folder[1]) / name).exists()]
        assert not missing, f"{' '.join(words)}: {missing}"


def typed(words: list[str], folder: Path) -> list[str]:
    """``words`` with an architecture in the place of the word for one."""
    result = folder / SCALED / "result.json"
    arch = json.loads(result.read_text())["architecture"] if result.exists() else SEED
    return [arch if word == "ARCH" else word for word in words]


@pytest.mark.parametrize(
    "example", [e for e in CODE if e.language in SHELLS], ids=lambda example: example.place
)
def test_command_lines_are_as_the_program_reads_them(example: Example, tmp_path: Path) -> None:
    prepare_shell(tmp_path)
    for one in CODE:  # the commands of a page's own kinds of runs
        if one.page == example.page and "register_kind(" in one.text:
            run_python(one, {"__name__": "__main__"})
    found = [arguments(call) for call in calls(example, tmp_path)]
    for words in found:
        if words is not None:
            check_options(words)


def test_the_controller_of_a_page_searches_within_limits(tmp_path: Path) -> None:
    for example in CODE:
        if example.page == "docs/extending.md" and re.search(
            "@register_(space|con)", example.text
        ):
            run_python(example, {"__name__": "__main__"})

    def evaluate(text: str) -> Measurement:
        size = asvit.cost(text, image_size=32)
        return Measurement(size.params, size.macs, {"params": float(size.params)}, {})

    search: dict[str, Any] = {"space": "my-convnext", "controller": "climber", "steps": 8}
    limits = {"image_size": 32, "max_params": "250K"}
    result = asvit.run_search(
        **search, **limits, proxies="params", evaluate=evaluate, out=tmp_path
    )
    assert len(result.trials) == 8
    assert all(row.params <= 250_000 for row in result.trials)
