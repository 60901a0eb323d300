"""Markup in what a run holds stays text in its report."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from asvit.report import write_report
from asvit.search.rows import TrialRow, write_trials

MARK = "<script src=x onerror=alert(1)>\"' ]]> <img onload=y> &lt;b&gt;"


class Found(HTMLParser):
    """Every tag and attribute of a page; scripts and styles are read as browsers read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts = 0
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.scripts += tag == "script"
        self.wrong += [f"<{tag}>"] * (tag in ("img", "iframe", "object", "embed", "b64"))
        self.wrong += [name for name, _ in attrs if name.startswith("on") or name == "src"]

    handle_startendtag = handle_starttag


def trial(number: int) -> TrialRow:
    values = {MARK: float(number), "length_distortion": 1.0 + number}
    state = "failed" if number == 3 else "complete"
    return TrialRow(number, MARK, 10, 20, values, 0.1, 1.0, state, MARK)


@pytest.mark.parametrize("finished", [True, False])
def test_search(tmp_path: Path, finished: bool) -> None:
    folder = tmp_path / "<img src=z>"
    folder.mkdir()
    write_trials(folder / "trials.csv", [trial(i) for i in range(5)], [MARK, "length_distortion"])
    if finished:
        settings = {"space": MARK, "proxies": [MARK, "length_distortion"], MARK: MARK}
        result = {
            "kind": "search", "schema_version": 1, "steps": 5, "settings": settings,
            "seed_architecture": MARK, "reason": MARK, "values": {MARK: 1.0}, "params": 1,
            "macs": 1, "failures": 1, "wall_seconds": 1.0, "next_command": MARK, "command": MARK,
            "images": {"source": MARK}, "versions": {MARK: MARK}, "device": MARK,
            "entropy": {"first": 1.0, "last": 0.5}, "front": [],
        }  # fmt: skip
        (folder / "result.json").write_text(json.dumps(result))
    page = write_report(folder)[-1].read_text(encoding="utf-8")
    found = Found(page)
    assert found.wrong == []
    assert found.scripts == 1  # our own
    assert "alert(1)" in page
