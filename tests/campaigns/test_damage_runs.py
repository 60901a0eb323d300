"""The campaign of damages: what it does to files, and that it notices what it is for."""

import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.campaigns import damage_runs, forked
from tests.campaigns.campaign import ANYWHERE, IN_LINES, Damage, outcomes_table
from tests.campaigns.damage_runs import REFUSED, SAME, damage, table
from tests.campaigns.kill_runs import RUN

CONTENT = b"".join(b'{"a":%d}\n' % number for number in range(200))


@pytest.mark.parametrize("how", IN_LINES)
def test_every_damage_changes_something_and_is_the_same_again(how: Damage) -> None:
    damaged = {how(CONTENT, random.Random(seed)) for seed in range(9)}
    assert damaged == {how(CONTENT, random.Random(seed)) for seed in range(9)}
    assert damaged - {CONTENT}
    if how in ANYWHERE and "tail" not in how.__name__:
        assert {len(one) for one in damaged} == {len(CONTENT)}


@pytest.mark.parametrize("differs", [False, True])
@pytest.mark.parametrize(
    ("code", "line"), [(0, ""), (3, "run/a.jsonl, line 2"), (3, "no"), (1, "")]
)
def test_only_refusals_that_name_the_file_and_equal_ends_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, line: str, differs: bool
) -> None:
    (tmp_path / "whole" / RUN).mkdir(parents=True)
    (tmp_path / "whole" / RUN / "a.jsonl").write_bytes(CONTENT)

    def new(_name: str, which: str) -> Path:
        (tmp_path / which).mkdir()
        return tmp_path / which

    def check_same(*_: Any, **__: Any) -> None:
        if differs:
            raise RuntimeError("ended differently")

    campaign: Any = SimpleNamespace(
        reference_folder=lambda _: tmp_path / "whole", new=new, check_same=check_same
    )
    monkeypatch.setattr(damage_runs, "words", lambda name: [name])
    monkeypatch.setattr(forked, "run", lambda *_: code)
    monkeypatch.setattr(forked, "printed", lambda _: f"more\n{line}\n")
    if (code, line) == (3, "run/a.jsonl, line 2") or (code == 0 and not differs):
        found = damage(campaign, "toy", f"{RUN}/a.jsonl", 5, seed=1)
        assert found == {SAME if code == 0 else REFUSED: 5}
        assert "| toy | `a.jsonl` | " in table({("toy", f"{RUN}/a.jsonl"): found})
    else:
        with pytest.raises(RuntimeError, match=r"ended differently|asvit toy ended with \d after"):
            damage(campaign, "toy", f"{RUN}/a.jsonl", 5, seed=1)


def test_the_table_counts_every_outcome_and_their_sum() -> None:
    counts = {("a", "damaged"): Counter({REFUSED: 3, SAME: 1}), ("b", ""): Counter({SAME: 2})}
    *_, first, _, everything = outcomes_table(
        ("file", "how"), (REFUSED, SAME), counts
    ).splitlines()
    assert first == "| a | damaged | 3 | 1 | 4 |"
    assert everything == "| all |  | 3 | 3 | 6 |"
