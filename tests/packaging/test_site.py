"""Pages of the docs are reachable, their links lead somewhere, and public names are documented."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
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
    described = re.findall(rf"^\.\. (?!automodule)[\w:]+:: {package}\.(\w+)$", page, re.M)
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


def test_every_link_in_the_docs_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_documentation_page_is_linked() -> None:
    linked = set(re.findall(r"\((docs/[^)]+\.md)\)", README))
    pages = {f"docs/{page.name}" for page in DOCS.glob("*.md")}
    assert pages - {"docs/index.md"} <= linked  # which is the README with tables of contents


def test_ci_runs_the_readme_s_test_command() -> None:
    block = README.split("<!-- test command -->\n```sh\n")[1].split("\n```")[0]
    assert "\n" not in block
    assert "-m pytest" in block
