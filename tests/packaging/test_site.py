"""Every page of the site is reachable, and every public name is documented."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix()
    for path in DOCS.rglob("*")
    if path.suffix in (".md", ".rst") and "_build" not in path.relative_to(DOCS).parts
}


def listed_pages() -> list[str]:
    """The pages in the tables of contents of the start page."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.S)
    lines = "\n".join(trees).splitlines()
    return [line for line in lines if line and not line.startswith(":")]


def test_every_page_is_in_the_contents_once() -> None:
    assert sorted(listed_pages()) == sorted(PAGES - {"index"})


@pytest.mark.parametrize("package", ["asvit", "proxies", "scaling"])
def test_every_public_name_is_in_the_reference_once(package: str) -> None:
    page = (DOCS / f"api/{package}.rst").read_text()
    described = re.findall(rf"^\.\. [\w:]+:: {package}\.(\w+)$", page, re.M)
    public = set(import_module(package).__all__) - {"__version__"}
    assert sorted(described) == sorted(public)


@pytest.mark.parametrize("package", ["asvit", "proxies", "scaling"])
def test_every_public_name_says_what_it_is(package: str) -> None:
    module = import_module(package)
    names = set(module.__all__) - {"__version__", "PROXIES"}  # PROXIES: on its page
    assert [name for name in sorted(names) if not getattr(module, name).__doc__] == []


def test_what_pages_include_of_others_is_there() -> None:
    """Sphinx includes the whole file if the text of ``end-before`` is missing."""
    for page in PAGES:
        path = DOCS / f"{page}.md"
        text = path.read_text() if path.exists() else ""
        for name, options in re.findall(r"```\{include\} (\S+)\n(.*?)```", text, re.S):
            included = (path.parent / name).read_text()
            for end in re.findall(r':end-before: "(.*)"', options):
                assert end in included, f"{page} includes {name} up to {end!r}"
