"""Run folders in which every text is hostile: markup, quotes, formulas, invisible characters."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from asvit.core.results import stored_content
from tests.asvit.report.sample_runs import write_sample

#: Leaves a trace where it runs as a script; closes whatever it may stand in; is no formula that
#: matplotlib could set.
MARKUP = (
    "</script><script>window.ran = 1</script>\"'><img src=x onerror='window.ran = 1'>&lt;b&gt;"
    "</style></title></text></svg>]]>--><svg onload='window.ran = 1'>${title}"
)
FORMULA = "$\\frac{1$ $x^$</text>"
CONTROL = "a\x1b[31mb\x00c\x07d\x7fe\u202ef\u200bg\u2028h\ni"
SURROGATE = "a\ud800b"  # JSON can hold it, UTF-8 cannot
COLOUR = '#fefefe id="m" url(#m)'  # what the figures of a page are searched for

TEXTS = (MARKUP, FORMULA, CONTROL, COLOUR)
NAME = "<b onclick=alert(1)>\"' & ${title}\x1b$x^$"  # of a folder

_KEPT = {
    "schema_version",
    "kind",
    "better",
    "training",
    "budgets",
    "radius",
    "state",
    "pick",
    "init",
    "latency_runtime",
    "grow",
    "balance",
    "fit",
    "ground",
}
_KEPT |= {
    "detector",
    "hand_made",
    "round",
    "network",
    "picture",
    "recipe",
    "optimizer",
    "precision",
    "resizing",
    "distillation",
}
_TEXT_COLUMNS = {"architecture", "reason", "origin", "path"}
_SIZES = {"params", "macs"}  # whose columns are fixed where they are no measures
_FIXED_COLUMNS = _TEXT_COLUMNS | {
    *("number", "generation", "validation", "reward", "entropy", "state", "image_size"),
    *("step", "kind", "depths", "width", "measured_width", "rank_sum", "chosen"),
}


def write_hostile(kind: str, folder: Path, text: str) -> Path:
    """Make the run folder of a sample with ``text`` behind every text in it; returns it."""
    write_sample(kind, folder)
    result = folder / "result.json"
    if result.exists():
        result.write_bytes(json.dumps(_changed(stored_content(result), text)).encode())
    predictions = folder / "predictions.json"
    if predictions.exists():
        predictions.write_text(json.dumps(_changed(json.loads(predictions.read_text()), text)))
    if text == SURROGATE:
        return folder
    for name in ("trials.csv", "steps.csv", "candidates.csv", "values.csv"):
        path = folder / name
        if path.exists():
            fixed = _FIXED_COLUMNS | (set() if name == "values.csv" else _SIZES)
            path.write_text(_changed_table(path.read_text(), fixed, text), encoding="utf-8")
    return folder


def _changed(value: Any, text: str, key: str = "") -> Any:
    if key in _KEPT or value in ("stop", "auto", "16,1", "4,1"):  # choices and tokens
        return value
    if isinstance(value, str):
        return value + text if value or key == "reason" else value
    if isinstance(value, list):
        return [_changed(one, text) for one in value]
    if not isinstance(value, dict):
        return value
    inner = {name: _changed(one, text, name) for name, one in value.items()}
    if key == "values" or (key == "images" and "source" not in value):
        return {name + text: one for name, one in inner.items()}
    if {"rank_sum", "reward"} & value.keys():  # a row, whose other names are measures
        known = _FIXED_COLUMNS | _SIZES | {"candidates", "values"}
        return {name if name in known else name + text: one for name, one in inner.items()}
    if key in ("versions", "excluded"):  # settings are refused with a name that is unknown
        inner[text] = text if key != "excluded" else 3
    return inner


def _changed_table(content: str, fixed: set[str], text: str) -> str:
    header, *rows = csv.reader(io.StringIO(content))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([name if name in fixed else name + text for name in header])
    for row in rows:
        cells = zip(header, row, strict=True)
        writer.writerow([c + text if name in _TEXT_COLUMNS else c for name, c in cells])
    return buffer.getvalue()
