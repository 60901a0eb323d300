"""Links and commands of the README work."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_link_in_the_docs_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_documentation_page_is_linked() -> None:
    linked = set(re.findall(r"\((docs/[^)]+\.md)\)", README))
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - {"docs/index.md"} <= linked  # which is the README with tables of contents


def test_ci_runs_the_readme_s_test_command() -> None:
    block = README.split("<!-- test command -->\n```sh\n")[1].split("\n```")[0]
    assert "\n" not in block
    assert "-m pytest" in block
