"""The campaign of damaged and forged copies, in small, and that it notices what it is for."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.campaigns import tamper_copies
from tests.campaigns.tamper_copies import BROKEN, FILES, FORGED, REFUSED, SAME, SILENT, outcome


@pytest.mark.nightly
def test_nothing_is_used_unnoticed_and_nothing_ends_in_a_traceback(tmp_path: Path) -> None:
    counts = tamper_copies.campaign(tmp_path, 2, seed=1)
    assert set(counts) == {(f, "damaged") for f in FILES} | {(f, "forged") for f in FORGED}
    for found in counts.values():
        assert found[SILENT] == found[BROKEN] == 0
        assert found[REFUSED] >= 2
    assert counts["model.onnx", "forged"][SAME] == 1  # only the text is of another network


@pytest.mark.parametrize(
    ("code", "out", "err", "expected"),
    [
        (0, "right", "", SAME),
        (0, "wrong", "", SILENT),
        (3, "", "asvit: model.onnx is damaged\n", REFUSED),
        (3, "", "asvit: something is damaged\n", BROKEN),
        (3, "", "asvit: model.onnx is damaged\nasvit: more\n", BROKEN),
        (1, "", "asvit: unexpected error in model.onnx\n", BROKEN),
        (3, "", "Traceback\nasvit: model.onnx is damaged\n", BROKEN),
        (-11, "", "", BROKEN),
    ],
)
def test_only_one_line_that_names_the_file_is_a_refusal(
    code: int, out: str, err: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tamper_copies, "told", lambda *_: (code, out, err))
    assert outcome(tmp_path, "model.onnx", "right") == expected


def test_a_program_is_told_by_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "asvit: model.pt2 is a torch.export program\n"
    monkeypatch.setattr(tamper_copies, "told", lambda *_: (3, "", line))
    (tmp_path / "model.pt2").write_bytes(b"right")
    card = tmp_path / "model.pt2.md"
    card.write_text(f"* SHA-256 of `model.pt2`: `{sha256(b'right').hexdigest()}`\n")
    assert outcome(tmp_path, "model.pt2", "") == SILENT
    (tmp_path / "model.pt2").write_bytes(b"wrong")
    assert outcome(tmp_path, "model.pt2", "") == REFUSED
