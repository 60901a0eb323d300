"""The wheel, its dependencies and the pages of its documentation are whole."""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ("asvit", "proxies", "scaling")

#: Module -> distribution, where the names differ.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}

#: Installed with a declared distribution and used with it.
COMES_WITH = {
    "huggingface_hub": "datasets",
    "pydantic_core": "pydantic",
    "typing_extensions": "pydantic",
}

FOR_TYPES = {"_typeshed"}


def imports(package: str) -> Iterator[tuple[str, str, bool]]:
    """Module of a package, a module that it imports, and whether as soon as it is imported."""
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{one.name}" for one in node.names]
            else:
                continue
            yield from ((module, name, node in tree.body) for name in names)


def foreign(package: str) -> set[str]:
    """Distributions, in lower case, that a package imports from."""
    tops = {name.partition(".")[0] for _, name, _ in imports(package)}
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
    """By modules that are loaded with others; those that nothing imports at once may need it."""
    optional = set().union(*declared().values()) - declared()[""]
    at_once = [row[:2] for package in INSTALLED for row in imports(package) if row[2]]
    loaded = {name for _, name in at_once} | {name.rpartition(".")[0] for _, name in at_once}
    early = {
        (module, name)
        for module, name in at_once
        if module in loaded
        and DISTRIBUTIONS.get(name.partition(".")[0], name.partition(".")[0]) in optional
    }
    assert early == set()
    assert "asvit.export.writers" in loaded
    assert "asvit.export.preprocessing" not in loaded  # imports ONNX


def test_the_check_of_lowest_versions_has_each_of_them_as_a_constraint() -> None:
    config = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "lowest").read_text(encoding="utf-8")
    (program,) = re.findall(r"sed -nE '(.*)' setup\.cfg", script)
    command = ["sed", "-nE", program, str(ROOT / "setup.cfg")]
    bounds = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lowest = re.findall(r"^ +([\w-]+)(?:\[\w+\])? >= ([\d.]+)", config, re.MULTILINE)
    assert bounds.splitlines() == [f"{name}=={bound}.*" for name, bound in lowest]


DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix()
    for path in DOCS.rglob("*")
    if path.suffix in (".md", ".rst") and "_build" not in path.relative_to(DOCS).parts
}


@pytest.mark.parametrize("package", ["asvit", "proxies", "scaling"])
def test_every_public_name_is_in_the_reference_once(package: str) -> None:
    page = (DOCS / f"api/{package}.rst").read_text()
    described = re.findall(rf"^\.\. (?!automodule)[\w:]+:: {package}\.(\w+)(?:\(\))?$", page, re.M)
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


def test_the_readme_starts_with_one_line_that_installs_and_designs() -> None:
    opening, _, rest = README.partition("\n## A first design\n")
    assert "**For you**" in opening
    assert "fine-tune a pretrained model" in opening
    assert opening.count("](docs/images/") == 1
    line, output = (rest.split(f"```{kind}\n")[1].split("```")[0] for kind in ("sh", "text"))
    assert line.count("\n") == 1
    assert "pip install" in line
    assert "&& asvit design --data fractal:40 " in line  # nothing to download
    assert "test pictures" in output


def test_ci_runs_the_readme_s_test_command() -> None:
    block = README.split("<!-- test command -->\n```sh\n")[1].split("\n```")[0]
    assert "\n" not in block
    assert "-m pytest" in block
