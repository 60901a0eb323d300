"""How far the measures can be trusted, in the reports of searches and scalings."""

from typing import Any

from asvit.core.codec import from_json
from asvit.reference.findings import Reliability
from asvit.report.reliability import trust

FOUND: dict[str, Any] = {
    "measure": "length_distortion", "better": "higher", "n": 99, "dropped": 1, "tau": 0.60312,
    "tau_interval": [0.5, 0.7], "difference": -0.1, "difference_interval": [-0.2, 0.0],
    "reason": "",
}  # fmt: skip
BEST = {**FOUND, "measure": "params", "tau": 0.716, "dropped": 0}
FAILED = {
    **FOUND, "measure": "length_distortion+ntk_condition_number", "tau": None,
    "tau_interval": [None, None], "difference": None, "difference_interval": [None, None],
    "reason": "3 row(s) <only>",
}  # fmt: skip
TOLD = {
    "reference": "my <table>", "digest": "d" * 64, "target": "top1", "description": "made <up>",
    "noise_ceiling": 0.91, "rows": 100, "folder": "correlate-mine-1234", "best_count": BEST,
    "measures": [FOUND, FAILED],
}  # fmt: skip


def test_a_run_that_asked_no_table_says_nothing() -> None:
    assert trust(None) == ""


def test_everything_told_is_there_and_escaped() -> None:
    text = trust(from_json(TOLD, Reliability))
    for words in (
        "the 100 architectures of my &lt;table&gt; by top1 (made &lt;up&gt;)",
        "All of it is in correlate-mine-1234.",
        "Two training seeds agree with tau 0.91.",
        'data-value="0.603"',
        "parameters (count)",
        "length distortion + NTK condition number",
        "3 row(s) &lt;only&gt;",
    ):
        assert words in text
    assert "<only>" not in text
    assert text.count('<tr class="failed">') == 1


def test_without_a_count_or_a_ceiling_there_is_no_word_of_them() -> None:
    text = trust(from_json({**TOLD, "best_count": None, "noise_ceiling": None}, Reliability))
    assert "(count)" not in text
    assert "training seeds" not in text
